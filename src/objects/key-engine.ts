/**
 * What a key object does, without the runtime around it: loads what is known of a key, decides, runs the
 * operation once, and keeps a copy. Two of these over one database are two incarnations of one object; nothing
 * here is needed for correctness that the journal's claim does not give.
 */
import { type CopySeen, outcomeHash } from "../audit/copy.ts";
import { type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import {
  type Asking,
  decide,
  type Decision,
  type KeyKnowledge,
  isSettled,
  type SettledRecord,
} from "../idempotency/key-record.ts";
import { differingMembers, fingerprint, memberHashes } from "../idempotency/fingerprint.ts";
import { type Clock, wholeSeconds } from "../kernel/clock.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { IdSource, type Randomness, timeOrderedId } from "../kernel/ids.ts";
import {
  BATCH_LIFE_MS,
  COMMIT_BUDGET_MS,
  COPY_IDLE_MS,
  COPY_LAG_MAX,
  FLIGHTS_PER_OBJECT_MAX,
  INTENT_PAUSE_MS,
  INTENTS_PER_OBJECT_MAX,
  RETRY_FULL_MS,
  SWEEP_RETRY_MS,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import type { Plan } from "../kernel/plan.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { isNearlyFull } from "../journal/capacity.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import type { Database } from "../journal/database.ts";
import { GroupCommit } from "../journal/group-commit.ts";
import { eraseRecord, findRecords, sweepRecords } from "../journal/journal.ts";
import { ReadFailed, tenantReader } from "../journal/reader.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import type { Fate, Submission } from "../journal/submission.ts";
import type { Operation, ReadyOperation } from "../operations/define-operation.ts";
import type { Advice } from "../advisor/advice.ts";
import { type RunEnded, toldOf } from "./advice.ts";
import { Absences } from "./absences.ts";
import { AcceptedWork } from "./accepted-work.ts";
import { Alarm, type AlarmStorage } from "./alarm.ts";
import { Copies, type CopyStorage } from "./copies.ts";
import { Durations } from "./durations.ts";
import { Flights } from "./flights.ts";
import { Intents, type IntentStorage } from "./intents.ts";
import type { Erasure, KeyCall, KeyReply, KeyStatus, Redrive, RedriveBy } from "./key-call.ts";
import { statusOf } from "./key-status.ts";
import { Tally } from "./tally.ts";
import { type Run, submissionOf } from "./run.ts";
import {
  type AfterFate,
  afterFate,
  decideAgainstRun,
  decideOnRow,
  type RunEnd,
  withoutOutcome,
} from "./run-decision.ts";

/** The part of an object's storage that the engine needs. */
export type EngineStorage = CopyStorage &
  IntentStorage &
  AlarmStorage &
  Pick<DurableObjectStorage, "deleteAll">;

export type KeyEngineSetup = {
  /** Where the tenant's rows are. Throws if that cannot be found out. */
  readonly databaseFor: (tenant: string) => Promise<Database>;
  /** From which size on, in bytes, a database takes no new keys. */
  readonly databaseBytesMax: number;
  readonly storage: EngineStorage;
  readonly operations: readonly Operation[];
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly pause: (ms: number) => Promise<void>;
  /** Keeps the object alive until the work is done, though its caller may be gone. */
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
  /** Generation of the database; see `RESTORE_EPOCH`. */
  readonly epoch: number;
  /** Between two sweeps; `SWEEP_INTERVAL_MS` unless given. */
  readonly sweepIntervalMs?: number | undefined;
  /** Keys the hashes of members. */
  readonly hashSecret: string;
  /** The object's one alarm, if it is shared. */
  readonly alarm?: Alarm;
  /** Who lives in the same storage, and needs the same alarm. */
  readonly others?: Lodger;
  /** Told how each run ended; of one that may be repeated it says when. Awaits nothing. */
  readonly runEnded?: (run: RunEnded) => Advice | undefined;
};

/** Keeps things of its own in the object's storage. */
export type Lodger = {
  /** When it needs the alarm, milliseconds since the epoch; undefined: it does not. */
  readonly nextDueAtMs: () => number | undefined;
  /** Whether the storage may be given back as far as it is concerned. */
  readonly isIdle: boolean;
  readonly storageGone: () => void;
};

export class KeyEngine {
  readonly #setup: KeyEngineSetup;
  readonly #operations: ReadonlyMap<string, Operation>;
  readonly #alarm: Alarm;
  readonly #copies: Copies;
  readonly #intents: Intents;
  /** One for each database; the tenant of an object has one. */
  readonly #groupCommits = new WeakMap<Database, GroupCommit>();
  readonly #durations = new Durations();
  readonly #flights = new Flights();
  readonly #tally: Tally;
  /** Runs led so far. */
  #led = 0;
  /** Reads of the journal under way: bounded like the queue, which they bypass. */
  #reads = 0;
  readonly #absences: Absences;
  readonly #accepted: AcceptedWork;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(setup: KeyEngineSetup) {
    const { clock } = setup;
    this.#setup = setup;
    this.#operations = new Map(setup.operations.map((operation) => [operation.name, operation]));
    this.#alarm = setup.alarm ?? new Alarm(setup.storage);
    this.#copies = new Copies(setup.storage, this.#alarm, setup.epoch, setup.sweepIntervalMs);
    this.#intents = new Intents(setup.storage, this.#alarm);
    this.#tally = new Tally({
      databaseFor: setup.databaseFor,
      clock,
      mintLife: () => timeOrderedId(clock(), setup.randomness),
      keepAlive: setup.keepAlive,
    });
    this.#absences = new Absences(setup);
    this.#accepted = new AcceptedWork({
      intents: this.#intents,
      operations: this.#operations,
      databaseFor: setup.databaseFor,
      clock,
      keepAlive: setup.keepAlive,
      alert: setup.alert,
      isRunning: (key) => this.#flights.has(key),
      run: (call) => this.#act(call, this.#known(call.key)),
    });
  }

  #groupCommitOf(db: Database): GroupCommit {
    const known = this.#groupCommits.get(db);
    if (known !== undefined) return known;
    const { clock, randomness, pause, alert } = this.#setup;
    const made = new GroupCommit({
      db,
      clock,
      pause,
      alert,
      mintNonce: () => timeOrderedId(clock(), randomness),
      between: () => this.#flushIfBehind(),
      sending: (waitsMs) => this.#tally.sent(waitsMs),
    });
    this.#groupCommits.set(db, made);
    return made;
  }

  /** For claims that are made beside the operations: they share the groups. Never rejects. */
  commit(db: Database, submission: Submission): Promise<Fate> {
    return this.#groupCommitOf(db).commit(submission);
  }

  /** Answers one keyed request: runs it, replays it, or says why not. */
  async submit(call: KeyCall): Promise<KeyReply> {
    if (CRASH_POINTS) await crashPoint("queued");
    // Before anything is decided, so that from the decision to the write there is no moment for another request.
    if (call.detached) await this.#alarm.load();
    const reply = await this.#act(call, this.#known(call.key));
    this.#tally.answered(call, reply);
    return reply;
  }

  #known(key: string): KeyKnowledge {
    const flight = this.#flights.get(key);
    if (flight !== undefined) return { kind: "running", ...flight };
    const copy = this.#copies.find(key);
    if (copy !== undefined) return { kind: "record", record: copy.record };
    const intent = this.#intents.find(key);
    if (intent === undefined) return { kind: "free" };
    return {
      kind: "accepted",
      fingerprint: intent.call.fingerprint,
      fingerprintVersion: intent.call.fingerprintVersion,
      members: memberHashes(intent.call.request, this.#setup.hashSecret),
    };
  }

  async #act(call: KeyCall, known: KeyKnowledge): Promise<KeyReply> {
    const decision = decide(known, askingOf(call), this.#setup.clock());
    return this.#carryOut(call, known, decision, true);
  }

  /** The one place that turns a decision into a reply. */
  async #carryOut(
    call: KeyCall,
    known: KeyKnowledge,
    decision: Decision,
    replayed: boolean,
  ): Promise<KeyReply> {
    switch (decision.do) {
      case "start":
        return this.#start(call);
      case "replay":
        return {
          kind: "outcome",
          response: decision.response,
          expiresAtS: decision.expiresAtS,
          replayed,
        };
      case "wait":
      case "in-flight":
        if (call.detached) return this.#start(call);
        return decision.do === "wait" ? this.#wait(call) : this.#inFlight(call.key);
      case "mismatch": {
        if (known.kind === "running") {
          const entry = await this.#findInJournal(call.tenant, call.key);
          const isPromised = this.#intents.find(call.key) !== undefined;
          const next = decideAgainstRun(entry, isPromised);
          if (next.do === "recall") return this.#recall(call, next.entry);
          if (next.do === "in-flight") return this.#inFlight(call.key);
          if (next.do === "after-run") return this.#actAfterRun(call);
        }
        const mine = memberHashes(call.request, this.#setup.hashSecret);
        // A tombstone keeps no member hashes: then it can only be said that something differs.
        const comparable = Object.keys(decision.members).length > 0;
        return problem("idempotency-key-reused", {
          members: comparable ? { mismatched: differingMembers(decision.members, mine) } : {},
        });
      }
      case "expired":
        return problem("idempotency-key-expired", {
          members: decision.link === null ? {} : { link: decision.link },
        });
      case "erased":
        return problem("outcome-erased", {
          members: decision.link === null ? {} : { link: decision.link },
        });
      case "uncertain":
        return problem("outcome-uncertain");
      case "recover":
        return problem("request-in-flight", { afterMs: BATCH_LIFE_MS });
      case "unreadable":
        return problem("temporarily-unavailable", {
          detail: "This key was stored by a newer version of the service.",
          afterMs: BATCH_LIFE_MS,
        });
    }
  }

  /** Makes the request durable, then runs it if nobody does; whoever asked need not stay. */
  async #accept(call: KeyCall, operation: Operation, ready: ReadyOperation): Promise<KeyReply> {
    if (this.#intents.size >= INTENTS_PER_OBJECT_MAX) {
      return unavailable("Too many accepted requests are waiting.");
    }
    if (!this.#flights.has(call.key) && this.#intents.find(call.key) === undefined) {
      // The key may be known to the journal and not to this object. While D1 is away the request is accepted all the
      // same: what it is worth comes out when it runs.
      const entry = await this.#findInJournal(call.tenant, call.key);
      if (entry !== undefined && entry !== "unavailable") return this.#recall(call, entry);
      // What cannot be stored is not promised either. A database that cannot be found is like one that is away.
      const db = await this.#setup.databaseFor(call.tenant).catch(() => undefined);
      if (db !== undefined && this.#isNearlyFull(db, call.key)) return this.#nearlyFull();
      // So that the alarm is set in the turn of the write: it may have been forgotten meanwhile.
      await this.#alarm.load();
      const known = this.#known(call.key);
      if (known.kind !== "free") return this.#act(call, known);
    }
    const durable = this.#intents.add(call, this.#setup.clock());
    // The run starts in the same turn, so that there is one; its batch leaves only once the intent is on the disk.
    const reply = this.#flights.get(call.key)?.reply ?? this.#lead(call, operation, ready);
    await durable;
    if (CRASH_POINTS) await crashPoint("async-accepted");
    if (call.waitMs > 0) {
      try {
        const early = await withTimeout(reply, call.waitMs);
        if (early.kind === "outcome") return early;
      } catch {
        // It takes longer: accepted.
      }
    }
    const flight = this.#flights.get(call.key);
    return {
      kind: "accepted",
      afterMs: this.#durations.remainingMs(
        operation.name,
        flight === undefined ? 0 : this.#setup.clock() - flight.startedAtMs,
      ),
    };
  }

  /**
   * A request that is not valid runs nothing, and so takes no flight, nor is it accepted: its own correction may come
   * meanwhile.
   */
  async #start(call: KeyCall): Promise<KeyReply> {
    if (this.#flights.size >= FLIGHTS_PER_OBJECT_MAX) {
      return unavailable("Too many requests are under way.");
    }
    const operation = this.#operations.get(call.request.operation);
    if (operation === undefined) {
      return this.#defect(call, new Error(`There is no operation ${call.request.operation}.`));
    }
    const ready = operation.validate(call.request.params, call.request.body);
    if (ready.ok) {
      return call.detached
        ? this.#accept(call, operation, ready.value)
        : this.#lead(call, operation, ready.value);
    }
    // What is decided without the claim must not hide an outcome that this object does not know of.
    const entry = await this.#findInJournal(call.tenant, call.key);
    if (entry === "unavailable") return unavailable("The database did not answer.");
    if (entry !== undefined) return this.#recall(call, entry);
    return problem("request-invalid", { members: { errors: ready.failure } });
  }

  /** Single flight: from here until the reply, the key runs in this object. */
  async #lead(call: KeyCall, operation: Operation, ready: ReadyOperation): Promise<KeyReply> {
    this.#led += 1;
    const startedAtMs = this.#setup.clock();
    const members = memberHashes(call.request, this.#setup.hashSecret);
    const reply = this.#run({ call, operation, ready, members, startedAtMs })
      .catch((error: unknown) => this.#defect(call, error))
      .then(async (ended) => {
        const settled = this.#advised(call, startedAtMs, ended);
        // The outcome stands, whatever becomes of the intent: the alarm will find it done.
        await this.#accepted
          .ended(call.key, settled)
          .catch((error: unknown) =>
            this.#setup.alert("intent-not-settled", { error: String(error) }),
          );
        return settled;
      })
      .finally(() => {
        this.#flights.end(call.key);
        this.#durations.record(call.request.operation, this.#setup.clock() - startedAtMs);
      });
    this.#flights.begin(call.key, {
      operation: call.request.operation,
      fingerprint: call.fingerprint,
      fingerprintVersion: call.fingerprintVersion,
      members,
      startedAtMs,
      reply,
    });
    this.#setup.keepAlive(reply);
    return reply;
  }

  /** With advice when to come back, if the run has no outcome. A hint that is longer than the usual is a floor. */
  #advised({ tenant, key }: KeyCall, startedAtMs: number, reply: KeyReply): KeyReply {
    const isOver = reply.kind !== "problem" || !PROBLEMS[reply.code].shouldRetry;
    const failure =
      reply.kind === "problem" && !isOver
        ? { status: PROBLEMS[reply.code].status, code: reply.code }
        : undefined;
    const hintMs =
      reply.kind === "problem" && reply.afterMs !== RETRY_UNAVAILABLE_MS ? reply.afterMs : 0;
    const advice = this.#setup.runEnded?.({ tenant, key, startedAtMs, failure, hintMs });
    return reply.kind === "problem" && advice !== undefined
      ? { ...reply, ...toldOf(advice) }
      : reply;
  }

  /** An operation that breaks while it plans has claimed nothing: not stored, and the key stays free. */
  #defect({ request, requestId }: KeyCall, error: unknown): KeyReply {
    this.#setup.alert("operation-defect", {
      operation: request.operation,
      requestId,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    return problem("internal-error");
  }

  async #wait(call: KeyCall): Promise<KeyReply> {
    const reply = await this.#flights.replyOf(call.key, call.waitMs);
    if (reply === undefined) return this.#inFlight(call.key);
    return reply.kind === "outcome" ? { ...reply, replayed: true } : reply;
  }

  /** For another request under the key of a run: by the end of that, the key is somebody's, or free. */
  async #actAfterRun(call: KeyCall): Promise<KeyReply> {
    if (this.#flights.has(call.key)) {
      const reply = await this.#flights.replyOf(call.key, RUN_MS_MAX);
      if (reply === undefined) return this.#inFlight(call.key);
    }
    return this.#act(call, this.#known(call.key));
  }

  #inFlight(key: string): KeyReply {
    const flight = this.#flights.get(key);
    if (flight !== undefined) {
      this.#tally.metInFlight(flight.operation, this.#setup.clock() - flight.startedAtMs);
    }
    return problem("request-in-flight", {
      afterMs:
        flight === undefined
          ? 0
          : this.#durations.remainingMs(flight.operation, this.#setup.clock() - flight.startedAtMs),
    });
  }

  async #run(run: Run): Promise<KeyReply> {
    const { call, ready } = run;
    let db: Database;
    try {
      db = await this.#setup.databaseFor(call.tenant);
    } catch (error) {
      return this.#databaseUnknown(error);
    }
    if (ready.reads || this.#isNearlyFull(db, call.key)) {
      // A retry is answered before anything is read for it, and from a full database as well.
      const entry = await this.#findInJournal(call.tenant, call.key);
      if (entry === "unavailable") return unavailable("The database did not answer.");
      if (entry !== undefined) return this.#recall(call, entry);
    }
    // Judged anew: it has just said how large it is.
    return this.#isNearlyFull(db, call.key) ? this.#nearlyFull() : this.#commit(run, db);
  }

  #databaseUnknown(error: unknown): KeyReply {
    this.#setup.alert("database-unknown", { error: String(error) });
    return unavailable("Where the tenant's records are could not be found out.");
  }

  /** @param key what was accepted under it goes on: the bound leaves room for what is under way */
  #isNearlyFull(db: Database, key: string): boolean {
    const isPromised = this.#intents.find(key) !== undefined;
    const bytesMax = isPromised ? Number.POSITIVE_INFINITY : this.#setup.databaseBytesMax;
    return isNearlyFull(db, bytesMax, this.#setup.clock());
  }

  #nearlyFull(): KeyReply {
    this.#setup.alert("database-nearly-full", { bytesMax: this.#setup.databaseBytesMax });
    return problem("temporarily-unavailable", {
      detail:
        "The database is nearly full: keys that were used are answered, new ones are not taken.",
      afterMs: RETRY_FULL_MS,
    });
  }

  /** Plans and submits, again while facts are stale. */
  async #commit(run: Run, db: Database): Promise<KeyReply> {
    const { call, ready, startedAtMs } = run;
    const { randomness } = this.#setup;
    const reader = tenantReader(db, call.tenant);
    const ids = new IdSource(() => timeOrderedId(startedAtMs, randomness));
    let mayYetCommit = false;
    for (let round = 0; ; round++) {
      ids.rewind();
      let plan: Plan;
      try {
        plan = await ready.plan(reader, { ids, nowMs: startedAtMs, key: call.key });
      } catch (error) {
        if (error instanceof ReadFailed) {
          const ended = withoutOutcome(mayYetCommit, "The database did not answer.");
          return this.#endRun(call, ended);
        }
        const reply = this.#defect(call, error);
        // The key may have had its answer before the operation broke: a retry gets that, not the defect.
        const entry = await this.#findInJournal(call.tenant, call.key);
        if (entry !== undefined && entry !== "unavailable") return this.#recall(call, entry);
        // A send of an earlier plan may yet commit: then it cannot be said that nothing ran.
        return mayYetCommit ? this.#unknown(call.key) : reply;
      }
      const fate = await this.#groupCommitOf(db).commit(submissionOf(run, plan));
      const next: AfterFate<JournalEntry> = afterFate(fate, mayYetCommit, round);
      if (next.do !== "plan-again") return this.#endRun(call, next);
      mayYetCommit = next.mayYetCommit;
    }
  }

  async #endRun(call: KeyCall, end: RunEnd<JournalEntry>): Promise<KeyReply> {
    switch (end.do) {
      case "recall":
        return this.#recall(call, end.entry, end.own);
      case "unavailable":
        return unavailable(end.reason);
      case "unknown":
        return this.#unknown(call.key);
    }
  }

  /** A send got no answer: only the same key is safe, and the key is not called free while it may still land. */
  #unknown(key: string): KeyReply {
    this.#absences.unanswered(key);
    return problem("outcome-unknown-yet", { afterMs: RETRY_UNAVAILABLE_MS });
  }

  /**
   * Answers from a journal row. A copy is kept where the row says that it is, and nowhere else, so that an erasure
   * reaches every copy; and never over the tombstone that an erasure has put there since the row was read.
   */
  #recall(call: KeyCall, entry: JournalEntry, own = false): Promise<KeyReply> {
    const { record } = entry;
    if (isSettled(record) && entry.object === call.object && !this.#isTombstone(call.key)) {
      this.#copies.keep(call.key, { tenant: call.tenant, record, forgetAtS: entry.forgetAtS });
      this.#flushSoon();
    }
    const decision = decideOnRow(record, own, askingOf(call), this.#setup.clock());
    return this.#carryOut(call, { kind: "record", record }, decision, !own);
  }

  #isTombstone(key: string): boolean {
    const copy = this.#copies.find(key);
    if (copy === undefined || copy.record.state === "final") return false;
    // Past its tombstone a key may be used anew.
    return copy.forgetAtS > wholeSeconds(this.#setup.clock());
  }

  /** The row of a key, undefined if there is none; `unavailable` if the database does not answer. */
  async #findInJournal(
    tenant: string,
    key: string,
  ): Promise<JournalEntry | undefined | "unavailable"> {
    if (this.#reads >= FLIGHTS_PER_OBJECT_MAX) return "unavailable";
    this.#reads += 1;
    try {
      const db = await this.#setup.databaseFor(tenant);
      return (await withTimeout(findRecords(db, tenant, [key]), SEND_TIMEOUT_MS)).get(key);
    } catch {
      return "unavailable";
    } finally {
      this.#reads -= 1;
    }
  }

  /** What a client may know of a key. Reads only. */
  async lookUp(tenant: string, key: string): Promise<KeyStatus | "unavailable"> {
    const flight = this.#flights.get(key);
    if (flight !== undefined) {
      return { state: "in-flight", operation: flight.operation, createdAtMs: flight.startedAtMs };
    }
    const intent = this.#intents.find(key);
    if (intent !== undefined) {
      const { operation } = intent.call.request;
      return { state: "in-flight", operation, createdAtMs: intent.acceptedAtMs };
    }
    const askedAtMs = this.#setup.clock();
    const entry = await this.#findInJournal(tenant, key);
    if (entry === "unavailable") return "unavailable";
    return entry === undefined
      ? this.#absences.of(key, askedAtMs)
      : statusOf(entry, this.#setup.clock());
  }

  /**
   * Erases the stored answer of a key: the record first, then this object's copy. If we die between the two, the caller
   * hears no answer, and repeats.
   */
  async erase(tenant: string, key: string, by: AuditActor): Promise<Erasure> {
    const { kind } = this.#known(key);
    if (kind === "running" || kind === "accepted") return { kind: "in-flight" };
    const askedAtMs = this.#setup.clock();
    try {
      const db = await this.#setup.databaseFor(tenant);
      const entry = await withTimeout(eraseRecord(db, tenant, key, by, askedAtMs), SEND_TIMEOUT_MS);
      if (entry === undefined) {
        const { afterMs } = this.#absences.of(key, askedAtMs);
        return afterMs === undefined ? { kind: "unknown-key" } : { kind: "unknown-yet", afterMs };
      }
      if (!isSettled(entry.record)) return { kind: "in-flight" };
      await this.eraseCopy(tenant, key, entry.record, entry.forgetAtS);
      return {
        kind: "erased",
        object: entry.object,
        record: entry.record,
        forgetAtS: entry.forgetAtS,
      };
    } catch {
      return { kind: "unavailable" };
    }
  }

  /** Also called where another object holds a copy: keys may be spread anew between the claim and the erasure. */
  async eraseCopy(
    tenant: string,
    key: string,
    record: SettledRecord,
    forgetAtS: number,
  ): Promise<void> {
    // A copy that could not be written leaves the old one behind: the erasure is not done.
    await this.#copies.overwrite(key, { tenant, record, forgetAtS }, this.#setup.clock());
    if (CRASH_POINTS) await crashPoint("copy-written");
  }

  /** For the reconciliation: what this object would answer from. Changes nothing. */
  copySeen(key: string): CopySeen | undefined {
    const record = this.#copies.find(key)?.record;
    return record === undefined ? undefined : { state: record.state, hash: outcomeHash(record) };
  }

  /** The alarm: erases what has expired and forgets what is past its tombstone, a page at a time. */
  async sweep(): Promise<void> {
    if (CRASH_POINTS) await crashPoint("alarm");
    const nowMs = this.#setup.clock();
    const nowS = wholeSeconds(nowMs);
    this.#alarm.forget();
    let sweepNotBeforeMs = nowMs;
    try {
      const page = this.#copies.nextPage(nowMs);
      if (page !== undefined) {
        const [first] = page.due;
        if (first !== undefined) {
          const keys = page.due.map(({ key }) => key);
          // The record first: a copy that outlives its record is judged by its own expiry.
          const db = await this.#setup.databaseFor(first.tenant);
          const swept = sweepRecords(db, first.tenant, keys, nowS);
          // What is to be healed does not wait for it.
          await withTimeout(swept, SEND_TIMEOUT_MS);
          if (CRASH_POINTS) await crashPoint("sweep");
        }
        this.#copies.sweep(page, nowMs);
      }
    } catch (error) {
      this.#setup.alert("sweep-failed", { error: String(error) });
      sweepNotBeforeMs = nowMs + SWEEP_RETRY_MS;
    }
    // An alarm that throws is dropped in the end: what could not be healed now is tried with the next.
    await this.#accepted
      .heal(nowMs)
      .catch((error: unknown) => this.#setup.alert("heal-failed", { error: String(error) }));
    await this.#rearm(sweepNotBeforeMs);
  }

  /** Runs an accepted request now that has no outcome yet, whenever it is due. Undefined if there is none. */
  redrive(key: string, by: RedriveBy): Promise<Redrive["kind"] | undefined> {
    return this.#accepted.redrive(key, by);
  }

  /** The earliest of all that is due. An object that holds nothing gives back its storage. */
  async #rearm(sweepNotBeforeMs: number): Promise<void> {
    const sweepAtMs = this.#copies.nextSweepAtMs(sweepNotBeforeMs);
    const intentAtMs = this.#intents.nextDueAtMs();
    // What is due and yet was left alone runs at the moment: no use to look again at once.
    const intentNotBeforeMs = this.#flights.size > 0 ? this.#setup.clock() + INTENT_PAUSE_MS : 0;
    const othersAtMs = this.#setup.others?.nextDueAtMs();
    const due = [
      ...(othersAtMs === undefined ? [] : [othersAtMs]),
      ...(sweepAtMs === undefined ? [] : [Math.max(sweepAtMs, sweepNotBeforeMs)]),
      ...(intentAtMs === undefined ? [] : [Math.max(intentAtMs, intentNotBeforeMs)]),
    ];
    if (due.length > 0) {
      await this.#alarm.set(Math.min(...due));
    } else if (
      this.#copies.lag === 0 &&
      this.#flights.size === 0 &&
      this.#setup.others?.isIdle !== false
    ) {
      this.#setup.others?.storageGone();
      this.#copies.storageGone();
      this.#alarm.forget();
      await this.#setup.storage.deleteAll();
    }
  }

  /** Writes copies once nothing has come in for a while: a write costs the same for one copy as for many. */
  #flushSoon(): void {
    if (this.#flushTimer !== undefined) return;
    const led = this.#led;
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined;
      if (this.#flights.size === 0 && this.#led === led) this.#setup.keepAlive(this.#flush());
      else this.#flushSoon();
    }, COPY_IDLE_MS);
  }

  /** Under unbroken load nothing is ever quiet: then between two batches, when the lag reaches its bound. */
  #flushIfBehind(): Promise<void> | undefined {
    return this.#copies.lag >= COPY_LAG_MAX ? this.#flush() : undefined;
  }

  async #flush(): Promise<void> {
    await this.#copies.flush(this.#setup.clock());
    if (CRASH_POINTS) await crashPoint("copy-written");
  }
}

/** A run is over by then: its budget, and the last send or read that began within it. */
const RUN_MS_MAX = COMMIT_BUDGET_MS + SEND_TIMEOUT_MS;
/** How long before a request that met an absent database is worth repeating. */
const RETRY_UNAVAILABLE_MS = 1_000;

const problem = (
  code: ProblemCode,
  rest: Omit<KeyReply & { kind: "problem" }, "kind" | "code"> = {},
): KeyReply => ({
  kind: "problem",
  code,
  ...rest,
});

const unavailable = (detail: string): KeyReply =>
  problem("temporarily-unavailable", { detail, afterMs: RETRY_UNAVAILABLE_MS });

const askingOf = (call: KeyCall): Asking => ({
  fingerprintIn: (version) =>
    version === call.fingerprintVersion ? call.fingerprint : fingerprint(call.request, version),
  waits: call.waitMs > 0,
});
