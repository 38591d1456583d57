/**
 * What a key object does for calls to an upstream: claim, record, call, record, answer. In this order, so that
 *
 * - nobody calls without the journal's claim, and nobody but the object that the row names;
 * - nothing is sent before the intent is on the disk: the runtime holds the call back until the write before it is
 *   flushed, and drops it if that fails (the output gate). So a row in flight that names this object, without an intent
 *   here, was never called for;
 * - no answer is told before it is on the disk, by the same gate.
 *
 * The states and what leads from one to the next are gateway/exchange-decision.ts; here they are loaded, carried out and
 * stored. A change of state is one transaction of the object's storage that decides on what it finds there: of a client, a
 * heal, a person and a predecessor's late answer the first one stands. Memory (flights, waiters) only spares work.
 */
import type { Failure } from "../advisor/failure.ts";
import type { ProblemCode } from "../contract/problems.ts";
import type { ExchangePolicy, HeaderPairs, Upstream } from "../gateway/exchange.ts";
import {
  type ExchangeEvent,
  type ExchangeState,
  firstCall,
  transition,
} from "../gateway/exchange-decision.ts";
import { type Experience, type OriginHealth, upstreamName } from "../gateway/origin-health.ts";
import { findingOn, type Verdict, verdictOn, verdictOnFailure } from "../gateway/outcome-rule.ts";
import { differingMembers } from "../idempotency/fingerprint.ts";
import {
  type Asking,
  decide,
  type Decision,
  isExpired,
  type KeyKnowledge,
  type SettledRecord,
} from "../idempotency/key-record.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import { isNearlyFull } from "../journal/capacity.ts";
import type { Database } from "../journal/database.ts";
import { eraseRecord, findRecords, sweepRecords } from "../journal/journal.ts";
import { ReadFailed } from "../journal/reader.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { findResolution, releaseClaim, takeOver } from "../journal/settlements.ts";
import type { Fate, Submission } from "../journal/submission.ts";
import { type Clock, wholeSeconds } from "../kernel/clock.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { IdSource, type Randomness, timeOrderedId } from "../kernel/ids.ts";
import {
  BATCH_LIFE_MS,
  BODY_BYTES_MAX,
  EXCHANGE_ALARM_MS,
  EXCHANGE_FLIGHTS_MAX,
  GATHER_MOMENT_MS,
  EXCHANGE_GRACE_MS,
  EXCHANGE_REQUEST_BYTES_MAX,
  EXCHANGES_PER_ALARM_MAX,
  ORPHAN_AGE_MS,
  REDRIVE_WAIT_MS,
  RETRY_AFTER_DEFAULT_MS,
  RETRY_FULL_MS,
  SEND_TIMEOUT_MS,
  UPSTREAM_RETRY_AFTER_MS_MAX,
  WEBHOOK_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { Gather } from "../kernel/gather.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Alarm } from "./alarm.ts";
import { passedBody, type Spooled, spool, storedBody } from "./exchange-answer.ts";
import type { ExchangeCall, ExchangeReply, Resolution, ResolutionReply } from "./exchange-call.ts";
import { type Exchange, keyRecordOf, type StepWork } from "./exchange-record.ts";
import { postponedSettling, Settling, toSettle } from "./exchange-settling.ts";
import { callRequest, type SendUpstream, statusRequest } from "./exchange-upstream.ts";
import { Waiters } from "./exchange-waiters.ts";
import { type AfterFate, afterFate, type RunEnd, withoutOutcome } from "./run-decision.ts";
import { claimOfCall, isUpstreams } from "./exchange-claim.ts";
import { statusOfExchange } from "./exchange-status.ts";
import { Telling } from "./exchange-telling.ts";
import { Exchanges, type ExchangeStorage } from "./exchanges.ts";
import { type ExternalSteps, invalid, type StepOutcome } from "./external-steps.ts";
import type { Erasure, KeyStatus, Redrive, RedriveBy } from "./key-call.ts";
import { boundedBy, type UpstreamAdvice } from "./upstream-advice.ts";

export type ExchangeEngineSetup = {
  /** Where the tenant's rows are. Throws if that cannot be found out. */
  readonly databaseFor: (tenant: string) => Promise<Database>;
  /** From which size on, in bytes, a database takes no new keys. */
  readonly databaseBytesMax: number;
  /** How often the database was restored; see `RESTORE_EPOCH`. */
  readonly epoch: number;
  readonly storage: ExchangeStorage;
  /** The object's one alarm. Whoever sets it for good asks `nextDueAtMs`. */
  readonly alarm: Alarm;
  /** Claims go in the groups of all other operations. */
  readonly commit: (db: Database, submission: Submission) => Promise<Fate>;
  readonly send: SendUpstream;
  /** Sends what is no upstream's: webhooks. */
  readonly post: (request: Request) => Promise<Response>;
  /** Asks the object that a row names, where it is not this one. */
  readonly forward: (object: string, call: ExchangeCall) => Promise<ExchangeReply>;
  readonly health: OriginHealth;
  /** Told of every call; says when it should be sent again, where that was learned. */
  readonly upstreams: Pick<UpstreamAdvice, "ended" | "asked">;
  /** How long before the next try, milliseconds; `attempt` is the number of the one that has failed, from 1. */
  readonly pauseBefore: (attempt: number, route: string) => number;
  /** The operations that have an external step. */
  readonly steps: ExternalSteps;
  readonly keptHeaders: (headers: Headers, keepHeaders: readonly string[] | null) => HeaderPairs;
  /** Undefined for a version that this build does not know: 503, never a guess. */
  readonly fingerprintIn: (call: ExchangeCall, version: number) => string | undefined;
  /** The secret of that name, if there is one. */
  readonly secretNamed: (name: string) => string | undefined;
  readonly clock: Clock;
  readonly randomness: Randomness;
  /** Keeps the object alive until the work is done, though its caller may be gone. */
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
};

/** The slot of a key: a client's claim or call, or a heal. One at a time. */
type Flight = {
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  readonly members: ExchangeCall["members"];
  readonly startedAtMs: number;
  /** Resolved with true once the intent is written, with false if it never will be. */
  readonly recorded: Promise<boolean>;
  readonly reply: Promise<ExchangeReply>;
};

/** What this object knows of a key. */
type Known = {
  readonly knowledge: KeyKnowledge;
  readonly flight: Flight | undefined;
  readonly exchange: Exchange | undefined;
};

/** A claim in the journal that is this object's to carry out. */
type Claim = Pick<Exchange, "nonce" | "createdAtMs" | "expiresAtS" | "forgetAtS"> & {
  readonly attempt: number;
  readonly held: JournalEntry["held"];
};

/** Nothing stands in the way of a claim. */
type Ready = {
  readonly policy: ExchangePolicy;
  /** What is claimed, planned anew each time. Throws what reading throws. */
  readonly submission: (db: Database) => Promise<Submission>;
};

export class ExchangeEngine {
  readonly #setup: ExchangeEngineSetup;
  readonly #exchanges: Exchanges;
  readonly #settling: Settling;
  readonly #telling: Telling;
  readonly #flights = new Map<string, Flight>();
  /** Told once an exchange is closed: of a problem if that is all there is to tell. */
  readonly #waiters = new Waiters<ExchangeReply | "look-again">();
  readonly #outcomes = new Gather(() => scheduler.wait(GATHER_MOMENT_MS));
  /** Of the requests under way. */
  #requestBytes = 0;
  /** Ends the question that is under way of a key. */
  readonly #questions = new Map<string, AbortController>();
  #isAfterRestore = false;

  constructor(setup: ExchangeEngineSetup) {
    this.#setup = setup;
    this.#exchanges = new Exchanges(setup.storage, setup.epoch);
    this.#settling = new Settling({ ...setup, exchanges: this.#exchanges });
    this.#telling = new Telling({ ...setup, exchanges: this.#exchanges });
  }

  /** Answers one keyed request: calls the upstream once, replays its answer, or says why not. */
  async exchange(call: ExchangeCall): Promise<ExchangeReply> {
    // Before anything is decided, so that from the decision to the write there is no moment for another request.
    await this.#setup.alarm.load();
    await this.#afterRestore();
    return this.#act(call);
  }

  /** The first time that this life of the object is asked, after `load` of the alarm: what a restored database has lost is due. */
  async #afterRestore(): Promise<void> {
    if (this.#isAfterRestore) return;
    const nowMs = this.#setup.clock();
    if (this.#exchanges.settleAnewIfRestored(nowMs)) await this.#setup.alarm.noLaterThan(nowMs);
    this.#isAfterRestore = true;
  }

  async #act(call: ExchangeCall): Promise<ExchangeReply> {
    let known = this.#known(call.key);
    if (known.exchange?.state.kind === "free") {
      // Not executed, and about to be released: as soon as the journal has forgotten it, the key is anybody's.
      await this.#settling.now(call.key);
      known = this.#known(call.key);
      if (known.exchange?.state.kind === "free") return unavailable("The database did not answer.");
    }
    const decision = decide(known.knowledge, this.#askingOf(call), this.#setup.clock());
    return this.#carryOut(call, decision, known);
  }

  #known(key: string): Known {
    const flight = this.#flights.get(key);
    const exchange = this.#exchanges.find(key);
    const isOpen = exchange?.state.kind === "calling" || exchange?.state.kind === "paused";
    const knowledge: KeyKnowledge =
      flight !== undefined && (exchange === undefined || isOpen)
        ? { kind: "running", ...flight }
        : exchange === undefined
          ? { kind: "free" }
          : { kind: "record", record: keyRecordOf(exchange) };
    return { knowledge, flight, exchange };
  }

  /** The one place that turns a decision into a reply. */
  async #carryOut(
    call: ExchangeCall,
    decision: Decision,
    { flight, exchange }: Known,
  ): Promise<ExchangeReply> {
    switch (decision.do) {
      case "start":
        return this.#start(call);
      case "replay":
        return exchange === undefined ? lost() : this.#replay(exchange, true);
      case "wait":
      case "in-flight":
        // Promised already, though by another request; so is this one, once it is on the disk.
        if (call.detached && (exchange !== undefined || (await flight?.recorded) === true)) {
          return this.#accepted(call.key);
        }
        return decision.do === "wait" ? this.#wait(call, call.waitMs) : this.#inFlight(call.key);
      case "mismatch": {
        if (flight !== undefined && exchange === undefined) {
          // It has no claim yet, so the key is not its own: the request that asks may be whose key it is.
          await flight.recorded;
          return this.#act(call);
        }
        // A tombstone keeps no member hashes: then it can only be said that something differs.
        const comparable = Object.keys(decision.members).length > 0;
        return problem("idempotency-key-reused", {
          members: comparable
            ? { mismatched: differingMembers(decision.members, call.members) }
            : {},
        });
      }
      case "expired":
        return problem("idempotency-key-expired", { members: linkMember(decision.link) });
      case "erased":
        return problem("outcome-erased", { members: linkMember(decision.link) });
      case "uncertain":
        return problem("outcome-uncertain");
      case "recover":
        return exchange === undefined
          ? problem("request-in-flight", { afterMs: BATCH_LIFE_MS })
          : this.#resume(call, exchange);
      case "unreadable":
        return problem("temporarily-unavailable", {
          detail: "This key was stored by a newer version of the service.",
          afterMs: BATCH_LIFE_MS,
        });
    }
  }

  #askingOf(call: ExchangeCall): Asking {
    return {
      fingerprintIn: (version) =>
        version === call.fingerprintVersion
          ? call.fingerprint
          : this.#setup.fingerprintIn(call, version),
      waits: call.waitMs > 0,
    };
  }

  /** Single flight: from here on the key runs in this object. Whoever asked need not stay. */
  async #start(call: ExchangeCall): Promise<ExchangeReply> {
    const size = call.operation === undefined ? call.request.body.byteLength : BODY_BYTES_MAX;
    if (
      this.#flights.size >= EXCHANGE_FLIGHTS_MAX ||
      this.#requestBytes + size > EXCHANGE_REQUEST_BYTES_MAX
    ) {
      return this.#withoutCall(call, unavailable("Too many requests are under way."));
    }
    const startedAtMs = this.#setup.clock();
    this.#requestBytes += size;
    const flight = this.#fly(call.key, call, (recorded) =>
      this.#claim(call, recorded).finally(() => {
        this.#requestBytes -= size;
      }),
    );
    if (call.detached) {
      if (!(await flight.recorded)) return flight.reply;
      // What nobody takes must still be read, for its size and hash.
      this.#setup.keepAlive(flight.reply.then(drain));
      return this.#accepted(call.key);
    }
    const reply = await flight.reply;
    const restMs = call.waitMs - (this.#setup.clock() - startedAtMs);
    return isInFlight(reply) && restMs > 0 ? this.#wait(call, restMs) : reply;
  }

  /** Takes the key's slot for as long as the work lasts; then tells who waits. The work must not reject. */
  #fly(
    key: string,
    asking: Pick<Flight, "fingerprint" | "fingerprintVersion" | "members">,
    work: (recorded: (isRecorded: boolean) => void) => Promise<ExchangeReply>,
  ): Flight {
    const recorded = Promise.withResolvers<boolean>();
    const reply = work(recorded.resolve)
      .catch((error: unknown): ExchangeReply => {
        this.#setup.alert("exchange-defect", { error: String(error) });
        return unknown();
      })
      .then((end) => {
        this.#flights.delete(key);
        recorded.resolve(false);
        if (!isInFlight(end)) {
          this.#waiters.wake(key, end.kind === "problem" ? end : "look-again");
        }
        return end;
      });
    const { fingerprint, fingerprintVersion, members } = asking;
    const startedAtMs = this.#setup.clock();
    const flight = {
      fingerprint,
      fingerprintVersion,
      members,
      startedAtMs,
      recorded: recorded.promise,
      reply,
    };
    this.#flights.set(key, flight);
    this.#setup.keepAlive(reply);
    return flight;
  }

  /** A request that starts nothing now may still be answered, if its key was used. */
  async #withoutCall(call: ExchangeCall, otherwise: ExchangeReply): Promise<ExchangeReply> {
    const entry = await this.#findInJournal(call.tenant, call.key);
    return entry === undefined || entry === "unavailable" ? otherwise : this.#recall(call, entry);
  }

  async #claim(call: ExchangeCall, recorded: (is: boolean) => void): Promise<ExchangeReply> {
    const { databaseFor, databaseBytesMax, clock, alert, health } = this.#setup;
    let db: Database;
    try {
      db = await databaseFor(call.tenant);
    } catch (error) {
      alert("database-unknown", { error: String(error) });
      return unavailable("Where the tenant's records are could not be found out.");
    }
    const ready = this.#readyFor(call);
    if (!("policy" in ready)) return this.#withoutCall(call, ready);
    const { policy } = ready;
    const upstream = upstreamName(policy.upstream);
    const admission = isNearlyFull(db, databaseBytesMax, clock())
      ? ({ admitted: false, afterMs: RETRY_FULL_MS } as const)
      : health.admit(upstream, clock());
    if (!admission.admitted) {
      // Nothing is claimed, so the key stays free.
      const { admitted: _, ...wait } = admission;
      return this.#withoutCall(
        call,
        problem("temporarily-unavailable", {
          detail: "Not sent: the API behind, or the database, takes no new requests right now.",
          ...wait,
        }),
      );
    }
    let end: RunEnd<JournalEntry>;
    try {
      end = await this.#commitClaim(ready, db);
    } catch (error) {
      // Made by what plans, so that nothing was claimed.
      health.observe(upstream, "not-called", clock());
      alert("operation-defect", { route: policy.route, error: String(error) });
      // The key may have had its answer before the operation broke.
      return this.#withoutCall(call, problem("internal-error"));
    }
    if (CRASH_POINTS) await crashPoint("exchange-claimed");
    if (end.do === "recall" && end.own && end.entry.record.state === "in-flight") {
      return this.#call(call, policy, claimOf(end.entry), recorded);
    }
    health.observe(upstream, "not-called", clock());
    switch (end.do) {
      case "recall":
        return this.#recall(call, end.entry, recorded, end.own);
      case "unavailable":
        return unavailable(`${end.reason} Nothing was sent.`);
      case "unknown":
        // A claim that lands late is in flight without an intent: it is taken over by the retry, or released.
        return unknown();
    }
  }

  /** How it is to be called, and of an operation that its input is valid; else why nothing can be claimed. */
  #readyFor(call: ExchangeCall): Ready | ExchangeReply {
    const { clock, randomness, steps } = this.#setup;
    const nowMs = clock();
    if (call.operation === undefined) {
      return { policy: call.policy, submission: () => Promise.resolve(claimOfCall(call, nowMs)) };
    }
    const valid = steps.validate(call.operation);
    if (!valid.ok) return problem("request-invalid", { members: invalid(valid.failure) });
    const policy = this.#policyFor(call);
    if (policy === undefined) return notConfigured();
    // The same ids for every plan of this request.
    const ids = new IdSource(() => timeOrderedId(nowMs, randomness));
    return { policy, submission: (db) => steps.hold(call, valid.value, db, ids, nowMs) };
  }

  /** Undefined: an operation's processor is not configured. */
  #policyFor(call: ExchangeCall): ExchangePolicy | undefined {
    return call.operation === undefined
      ? call.policy
      : this.#setup.steps.policyOf(call.operation.operation);
  }

  /** Claims, with what an operation holds; planned again as long as its facts change meanwhile. */
  async #commitClaim({ submission }: Ready, db: Database): Promise<RunEnd<JournalEntry>> {
    let mayYetCommit = false;
    for (let round = 0; ; round++) {
      let planned: Submission;
      try {
        planned = await submission(db);
      } catch (error) {
        if (!(error instanceof ReadFailed) && !mayYetCommit) throw error;
        return withoutOutcome(mayYetCommit, "The database did not answer.");
      }
      const fate = await this.#setup.commit(db, planned);
      const next: AfterFate<JournalEntry> = afterFate(fate, mayYetCommit, round);
      if (next.do !== "plan-again") return next;
      mayYetCommit = next.mayYetCommit;
    }
  }

  /** Answers from a journal row; of an operation it may be this request's own, refused with the claim. Leads to a call only if it was never called for. */
  async #recall(
    call: ExchangeCall,
    entry: JournalEntry,
    recorded?: (is: boolean) => void,
    own = false,
  ): Promise<ExchangeReply> {
    const { record } = entry;
    const decision = decide({ kind: "record", record }, this.#askingOf(call), this.#setup.clock());
    if (decision.do === "replay" && !isUpstreams(entry.operation)) {
      // The row of an operation has the whole answer.
      const { status, headers, body } = decision.response;
      return {
        kind: "answer",
        status,
        headers: Object.entries(headers),
        body: new TextEncoder().encode(body),
        expiresAtS: decision.expiresAtS,
        replayed: !own,
      };
    }
    const needsObject = decision.do === "replay" || decision.do === "recover";
    if (needsObject && entry.object !== call.object) {
      // Keys were spread over objects anew since the claim: the one that has it answers, and is the only one to call.
      return this.#setup
        .forward(entry.object, { ...call, object: entry.object })
        .catch(() => unknown());
    }
    const exchange = this.#exchanges.find(call.key);
    if (decision.do === "recover" && exchange === undefined && recorded !== undefined) {
      return this.#takeOver(call, entry, recorded);
    }
    return this.#carryOut(call, decision, {
      knowledge: { kind: "free" },
      flight: undefined,
      exchange,
    });
  }

  /** In flight, ours, and without an intent here: the claim was never called for. */
  async #takeOver(
    call: ExchangeCall,
    entry: JournalEntry,
    recorded: (is: boolean) => void,
  ): Promise<ExchangeReply> {
    const { clock, randomness, databaseFor, health } = this.#setup;
    const policy = this.#policyFor(call);
    if (policy === undefined) return notConfigured();
    const upstream = upstreamName(policy.upstream);
    const nonce = timeOrderedId(clock(), randomness);
    try {
      const db = await databaseFor(call.tenant);
      const { tenant, key } = call;
      const claimed = takeOver(db, { ...entry, tenant, key }, nonce);
      if (!(await withTimeout(claimed, SEND_TIMEOUT_MS))) {
        return problem("request-in-flight", { afterMs: RETRY_AFTER_DEFAULT_MS });
      }
    } catch {
      // It may be ours by now, under a nonce that nobody knows: the retry takes it over again.
      return unknown();
    }
    const admission = health.admit(upstream, clock());
    if (!admission.admitted) {
      return problem("request-in-flight", { afterMs: admission.afterMs });
    }
    const claim = { ...claimOf(entry), nonce, attempt: entry.attempt + 1 };
    return this.#call(call, policy, claim, recorded);
  }

  /** The intent, then the call. */
  async #call(
    call: ExchangeCall,
    calledBy: ExchangePolicy,
    claim: Claim,
    recorded: (is: boolean) => void,
  ): Promise<ExchangeReply> {
    const { alarm, clock, health, alert, steps } = this.#setup;
    const { policy, request, work } =
      call.operation === undefined
        ? { ...call, work: null }
        : steps.sending(call, claim.held, calledBy);
    const nowMs = clock();
    const exchange: Exchange = {
      tenant: call.tenant,
      key: call.key,
      object: call.object,
      route: policy.route,
      fingerprint: call.fingerprint,
      fingerprintVersion: call.fingerprintVersion,
      members: call.members,
      nonce: claim.nonce,
      createdAtMs: claim.createdAtMs,
      expiresAtS: claim.expiresAtS,
      forgetAtS: claim.forgetAtS,
      state: firstCall(claim.attempt, nowMs),
      callEndsAtMs: nowMs + policy.timeoutMs + EXCHANGE_GRACE_MS,
      input: {
        policy,
        method: request.method,
        target: request.target,
        headers: request.headers,
        requestId: call.requestId,
        origin: call.origin,
      },
      work,
      answer: null,
      unstored: null,
      link: null,
      resolution: null,
      settling: null,
      hook: policy.webhook,
      telling: null,
      left: "whole",
    };
    try {
      // It may have been forgotten meanwhile; and then the row and its alarm are written in one turn.
      await alarm.load();
      if (!this.#exchanges.add(exchange, request.body)) {
        throw new Error("There is an exchange of another claim.");
      }
      await alarm.noLaterThan(exchange.callEndsAtMs);
    } catch (error) {
      health.observe(upstreamName(policy.upstream), "not-called", clock());
      alert("exchange-not-recorded", { route: policy.route, error: String(error) });
      await this.#giveBack(exchange);
      return unavailable("The request could not be recorded: nothing was sent.");
    }
    recorded(true);
    if (CRASH_POINTS) await crashPoint("exchange-intent");
    return this.#try(exchange, request.body);
  }

  /** Nothing was sent: the claim is released, now or by the hourly pass. */
  async #giveBack(exchange: Exchange): Promise<void> {
    const { tenant, key, nonce, state, work } = exchange;
    const { steps, clock } = this.#setup;
    try {
      const free: ExchangeState = { ...state, kind: "free", afterMs: 0 };
      const effects =
        work === null ? [] : steps.effectsOf({ ...exchange, state: free }, work, clock());
      if (this.#exchanges.find(key)?.nonce === nonce) this.#exchanges.remove(key);
      const db = await this.#setup.databaseFor(tenant);
      const claim = { nonce, attempt: state.attempt };
      const released = releaseClaim(db, { tenant, key }, claim, effects, this.#setup.clock());
      await withTimeout(released, SEND_TIMEOUT_MS);
    } catch (error) {
      this.#setup.alert("claim-not-released", { error: String(error) });
    }
  }

  /** One call that is recorded and admitted, and what comes of it. */
  async #try(exchange: Exchange, body: Uint8Array): Promise<ExchangeReply> {
    const { clock, health, upstreams, send, keptHeaders, pauseBefore } = this.#setup;
    const { input, key, state } = exchange;
    if (input === null) throw new Error("The exchange is closed: its input is gone.");
    const { policy } = input;
    const upstream = upstreamName(policy.upstream);
    const { attempt } = state;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error("time-out")), policy.timeoutMs);
    const startedAtMs = clock();
    let verdict: Verdict;
    let hintMs: number | undefined;
    let failure: Failure | undefined;
    let advisedMs: number | undefined;
    let wasSent = false;
    try {
      // Parts of an answer that a try before has left behind.
      if (state.sends > 1) this.#exchanges.removeChunks(key);
      const answered = send(policy.upstream, callRequest(exchange, body, limit.signal));
      wasSent = true;
      if (CRASH_POINTS) await crashPoint("exchange-sent");
      const response = await answered;
      verdict = verdictOn(response.status, policy, state.doubtful);
      if (verdict !== "final") failure = { status: response.status, code: policy.route };
      hintMs = retryAfterOf(response.headers, clock());
      if (verdict === "final") {
        const spooled = await spool(this.#exchanges, key, response, policy.upstream);
        if (CRASH_POINTS) await crashPoint("exchange-answered");
        const answer = {
          status: response.status,
          headers: keptHeaders(response.headers, policy.keepHeaders),
        };
        return await this.#finish(exchange, answer, spooled, {
          kind: spooled.kind === "whole" ? "judged" : "oversize",
          attempt,
          verdict,
          pauseMs: 0,
        });
      }
      if (CRASH_POINTS) await crashPoint("exchange-answered");
      await response.body?.cancel().catch(() => undefined);
    } catch (error) {
      failure = { status: 0, code: limit.signal.aborted ? "timeout" : "reset" };
      verdict = verdictOnFailure(wasSent);
      this.#setup.alert("upstream-failed", {
        route: policy.route,
        upstream,
        verdict,
        error: String(error),
      });
    } finally {
      clearTimeout(timer);
      health.observe(upstream, experienceOf(failure), clock());
      advisedMs = upstreams.ended({
        tenant: exchange.tenant,
        key,
        upstream,
        startedAtMs,
        failure,
        hintMs,
        leftMs: leftMsOf(exchange, policy, clock()),
        sendsLeft: policy.heal.attemptsMax - state.sends,
      });
    }
    const soonestMs = advisedMs ?? pauseBefore(state.sends, policy.route);
    const pauseMs = Math.max(hintMs ?? 0, soonestMs);
    return this.#step(exchange, { kind: "judged", attempt, verdict, pauseMs });
  }

  /** Stores an outcome, if it is the first, and answers with what stands. */
  async #finish(
    exchange: Exchange,
    answer: NonNullable<Exchange["answer"]>,
    spooled: Spooled,
    event: Extract<ExchangeEvent, { kind: "judged" | "oversize" | "asked" }>,
  ): Promise<ExchangeReply> {
    const { clock, alarm } = this.#setup;
    const { key, work } = exchange;
    await alarm.load();
    // Answers come one by one; each would wait for a disk of its own, and hold up everything else meanwhile.
    await this.#outcomes.end();
    const nowMs = clock();
    if (work !== null) return this.#finishWork(exchange, work, answer.status, spooled, event);
    const link = answer.headers.find(([name]) => name === "location")?.[1] ?? null;
    const stored = this.#exchanges.update(exchange, (now) => {
      const state = this.#next(now, event, nowMs);
      if (state === undefined) return undefined;
      const closed = this.#closed({ ...now, ...lifeOf(now, nowMs), state, answer, link }, nowMs);
      return { exchange: closed, bytes: spooled.kind === "whole" ? spooled.first : null };
    });
    if (stored === undefined) {
      // Somebody has settled it meanwhile; what stands is what everybody gets.
      if (spooled.kind === "oversize") await spooled.rest.cancel();
      return this.#standing(key);
    }
    await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
    if (CRASH_POINTS) await crashPoint("exchange-stored");
    this.#settling.soon(key);
    this.#telling.soon(stored);
    const { status, headers } = answer;
    const { expiresAtS } = stored;
    if (spooled.kind === "whole") {
      const body = spooled.chunks === 0 ? spooled.first : storedBody(this.#exchanges, key);
      return { kind: "answer", status, headers, body, expiresAtS, replayed: false };
    }
    const body = passedBody(this.#exchanges, key, spooled, (unstored) => {
      this.#exchanges.update(stored, (now) => ({ exchange: { ...now, unstored } }));
      this.#exchanges.removeChunks(key);
    });
    return { kind: "stream", status, headers, body, expiresAtS };
  }

  /**
   * The same for an operation's processor: its answer is what the step makes of it. Told once the database has settled
   * what was held, too, so that whoever hears it finds the money moved; or, if the database does not answer, all the
   * same, for it is durable, and settled by the alarm.
   */
  async #finishWork(
    exchange: Exchange,
    work: StepWork,
    status: number,
    spooled: Spooled,
    event: Extract<ExchangeEvent, { kind: "judged" | "oversize" | "asked" }>,
  ): Promise<ExchangeReply> {
    const { clock, alarm, steps, alert } = this.#setup;
    const { key } = exchange;
    const nowMs = clock();
    const isShort = spooled.kind === "whole" && spooled.chunks === 0;
    if (spooled.kind === "oversize") await spooled.rest.cancel();
    if (!isShort) this.#exchanges.removeChunks(key);
    let outcome: StepOutcome;
    try {
      outcome = steps.outcome(exchange, work, status, isShort ? spooled.first : null, nowMs);
    } catch (error) {
      // Something has happened there, and the step cannot say what: as doubtful as no answer.
      alert("step-defect", { operation: work.operation, error: String(error) });
      const { attempt } = exchange.state;
      const pauseMs = this.#setup.pauseBefore(exchange.state.sends, exchange.route);
      return this.#step(
        exchange,
        event.kind === "asked"
          ? { ...event, found: "unknown", pauseMs }
          : { kind: "judged", attempt, verdict: "maybe-executed", pauseMs },
      );
    }
    const { body, link, headers } = outcome;
    const final =
      event.kind === "asked"
        ? { ...event, stored: true }
        : ({ kind: "judged", attempt: event.attempt, verdict: "final", pauseMs: 0 } as const);
    const answer = { status: outcome.status, headers };
    const stored = this.#exchanges.update(exchange, (now) => {
      const state = this.#next(now, final, nowMs);
      if (state === undefined) return undefined;
      const ended = { ...now, ...lifeOf(now, nowMs), state, answer, link, work: outcome.work };
      return { exchange: this.#closed(ended, nowMs), bytes: body };
    });
    if (stored === undefined) return this.#standing(key);
    await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
    if (CRASH_POINTS) await crashPoint("exchange-stored");
    this.#telling.soon(stored);
    await this.#settling.tried(key);
    const { expiresAtS } = stored;
    return { kind: "answer", ...answer, body, expiresAtS, replayed: false };
  }

  /** What is kept once there is nothing more to send: the input goes, but for what a question needs. */
  #closed(exchange: Exchange, nowMs: number): Exchange {
    const { input, state } = exchange;
    const isTold = exchange.hook !== null && state.kind === "final";
    const mayBeAsked = state.kind === "uncertain" && (input?.policy.status ?? null) !== null;
    return {
      ...exchange,
      input: mayBeAsked ? input : null,
      settling: toSettle(nowMs),
      telling: isTold ? { tries: 0, dueAtMs: nowMs + WEBHOOK_TIMEOUT_MS } : null,
    };
  }

  #next(exchange: Exchange, event: ExchangeEvent, nowMs: number): ExchangeState | undefined {
    const { input, createdAtMs } = exchange;
    // Closed, and not to be asked for, so that no policy matters any more; only a person's word may still come.
    const policy = input?.policy ?? CLOSED;
    return transition(exchange.state, event, { policy, createdAtMs }, nowMs);
  }

  /** Carries an exchange on by an event that is no outcome; gives back what its caller hears. */
  async #step(exchange: Exchange, event: ExchangeEvent): Promise<ExchangeReply> {
    const stored = await this.#changed(exchange, event);
    if (stored === undefined) return this.#standing(exchange.key);
    const { state } = stored;
    switch (state.kind) {
      case "calling":
      case "paused":
      case "final":
        return this.#standing(stored.key);
      case "uncertain":
        this.#settling.soon(stored.key);
        this.#setup.alert("exchange-uncertain", { route: stored.route, sends: state.sends });
        return problem("outcome-uncertain");
      case "free":
        // The caller is told when the key is free, or soon will be: its retry waits for the rest.
        await this.#settling.now(stored.key);
        return problem("temporarily-unavailable", {
          detail: "The API behind did not take the request: it was not carried out.",
          afterMs: state.afterMs,
        });
    }
  }

  /** Stores the state that an event leads to, with the alarm that cares for it; undefined if it leads nowhere. */
  async #changed(exchange: Exchange, event: ExchangeEvent): Promise<Exchange | undefined> {
    const { alarm, clock } = this.#setup;
    await alarm.load();
    const nowMs = clock();
    const stored = this.#exchanges.update(exchange, (now) => {
      const state = this.#next(now, event, nowMs);
      if (state === undefined) return undefined;
      if (state.kind === "calling") {
        const callEndsAtMs = nowMs + (now.input?.policy.timeoutMs ?? 0) + EXCHANGE_GRACE_MS;
        return { exchange: { ...now, state, callEndsAtMs } };
      }
      if (state.kind === "paused") return { exchange: { ...now, state } };
      // Uncertain: the input stays no longer than it may be sent. A person decides on what the caller knows.
      return { exchange: this.#closed({ ...now, state }, nowMs), bytes: null };
    });
    if (stored !== undefined) {
      await alarm.noLaterThan(this.#exchanges.nextDueAtMs() ?? nowMs);
    }
    return stored;
  }

  /** What a caller hears of an exchange as it stands now. */
  #standing(key: string): ExchangeReply {
    const exchange = this.#exchanges.find(key);
    if (exchange === undefined) return unavailable("The request was not carried out.");
    switch (exchange.state.kind) {
      case "calling":
      case "paused":
        return this.#inFlight(key);
      case "uncertain":
        return problem("outcome-uncertain");
      case "free":
        return unavailable("The request was not carried out.");
      case "final":
        return this.#replay(exchange, true);
    }
  }

  #replay(exchange: Exchange, replayed: boolean): ExchangeReply {
    const { answer, state, unstored, link, expiresAtS, key, left, settling } = exchange;
    // The journal did not take it, or we died over it: whoever asks need not wait for the alarm's pause.
    const isLate =
      settling !== null && (settling.tries > 0 || settling.dueAtMs < this.#setup.clock());
    if (isLate) this.#settling.soon(key);
    if (left === "expired" || isExpired(exchange, this.#setup.clock())) {
      return problem("idempotency-key-expired", { members: linkMember(link) });
    }
    if (left === "erased") return problem("outcome-erased", { members: linkMember(link) });
    if (answer === null) return lost();
    if (state.kind === "final" && !state.stored) {
      return problem("response-not-stored", {
        members: {
          upstreamStatus: answer.status,
          ...(unstored === null ? {} : { bytes: unstored.bytes, sha256: unstored.sha256 }),
          ...linkMember(link),
        },
      });
    }
    const { status, headers } = answer;
    const body = storedBody(this.#exchanges, key);
    return { kind: "answer", status, headers, body, expiresAtS, replayed };
  }

  async #wait(call: ExchangeCall, waitMs: number): Promise<ExchangeReply> {
    const { knowledge } = this.#known(call.key);
    // It has come to its end since it was decided to wait.
    const isOpen =
      knowledge.kind === "running" ||
      (knowledge.kind === "record" && knowledge.record.state === "in-flight");
    if (!isOpen) return this.#act({ ...call, waitMs: 0 });
    const news = await this.#waiters.wait(call.key, waitMs);
    if (news === undefined) return this.#inFlight(call.key);
    if (news === "look-again") return this.#act({ ...call, waitMs: 0 });
    return news;
  }

  /** When it is worth coming back: at the next try, or at the latest when the call is given up. */
  #afterMs(key: string): number {
    const exchange = this.#exchanges.find(key);
    if (exchange?.state.kind !== "paused") return RETRY_AFTER_DEFAULT_MS;
    return Math.max(exchange.state.dueAtMs - this.#setup.clock(), RETRY_AFTER_DEFAULT_MS);
  }

  #inFlight(key: string): ExchangeReply {
    return problem("request-in-flight", { afterMs: this.#afterMs(key) });
  }

  #accepted(key: string): ExchangeReply {
    return { kind: "accepted", afterMs: this.#afterMs(key) };
  }

  /** A client comes back to an exchange that is open, and that nobody carries on at the moment. */
  async #resume(call: ExchangeCall, exchange: Exchange): Promise<ExchangeReply> {
    const { state } = exchange;
    const isDue = state.kind === "calling" || stateIsDue(state, this.#setup.clock());
    if (isDue) {
      const flight = this.#heal(exchange);
      if (call.detached) return this.#accepted(call.key);
      const reply = await flight.reply;
      if (!isInFlight(reply)) return reply;
    }
    if (call.detached) return this.#accepted(call.key);
    return call.waitMs > 0 ? this.#wait(call, call.waitMs) : this.#inFlight(call.key);
  }

  /**
   * Carries an open exchange on, in the key's one slot.
   * @param now whether its next step is taken now, though it may be due later
   */
  #heal(exchange: Exchange, now = false): Flight {
    return this.#fly(exchange.key, exchange, (recorded) => {
      recorded(true);
      return this.#carryOn(exchange, now);
    });
  }

  async #carryOn(found: Exchange, now: boolean): Promise<ExchangeReply> {
    const { clock, health, pauseBefore } = this.#setup;
    let exchange = found;
    if (exchange.state.kind === "calling") {
      // Whoever sent it is gone, and may have been heard.
      const pauseMs = now ? 0 : pauseBefore(exchange.state.sends, exchange.route);
      const next = await this.#changed(exchange, { kind: "interrupted", pauseMs });
      if (next === undefined) return this.#standing(exchange.key);
      if (next.state.kind === "uncertain") {
        this.#settling.soon(next.key);
        this.#setup.alert("exchange-uncertain", { route: next.route, sends: next.state.sends });
      }
      exchange = next;
    }
    if (now) exchange = (await this.#changed(exchange, { kind: "hastened" })) ?? exchange;
    const { state, input } = exchange;
    if (!stateIsDue(state, clock()) || state.kind !== "paused" || input === null) {
      return this.#standing(exchange.key);
    }
    const upstream = upstreamName(input.policy.upstream);
    const admission = health.admit(upstream, clock());
    if (!admission.admitted) {
      const leftMs = leftMsOf(exchange, input.policy, clock());
      const afterMs = boundedBy(leftMs, admission.afterMs);
      return this.#step(exchange, { kind: "held-back", afterMs });
    }
    let isSent = false;
    try {
      const begun = await this.#changed(exchange, { kind: "due" });
      if (begun === undefined) return this.#standing(exchange.key);
      isSent = true;
      return begun.state.kind === "calling"
        ? await this.#try(begun, this.#exchanges.bytes(begun.key))
        : await this.#ask(begun, input.policy.upstream);
    } finally {
      if (!isSent) health.observe(upstream, "not-called", clock());
    }
  }

  /**
   * Asks what became of the key. A 200 is the outcome: its status, headers and bytes are what is stored and replayed, so
   * a status path should answer as the call would have. Everything but 200 and 404 says nothing.
   */
  async #ask(exchange: Exchange, upstream: Upstream): Promise<ExchangeReply> {
    const { clock, health, upstreams, send, keptHeaders, pauseBefore } = this.#setup;
    const { input, key, state } = exchange;
    const path = input?.policy.status?.path;
    if (input === null || path === undefined) throw new Error("The exchange cannot be asked for.");
    const askedAtMs = clock();
    const limit = new AbortController();
    this.#questions.set(key, limit);
    const timer = setTimeout(() => limit.abort(new Error("time-out")), input.policy.timeoutMs);
    const pauseMs = pauseBefore(state.asks, exchange.route);
    const asked = { kind: "asked", attempt: state.attempt, askedAtMs, pauseMs } as const;
    let found: ReturnType<typeof findingOn> = "unknown";
    let failure: Failure | undefined;
    try {
      const response = await send(upstream, statusRequest(exchange, path, limit.signal));
      const isWell = response.status < 500 && response.status !== 429;
      if (!isWell) failure = { status: response.status, code: exchange.route };
      found = findingOn(response.status);
      if (found === "outcome") {
        this.#exchanges.removeChunks(key);
        const spooled = await spool(this.#exchanges, key, response, upstream);
        const headers = keptHeaders(response.headers, input.policy.keepHeaders);
        return await this.#finish(exchange, { status: response.status, headers }, spooled, {
          ...asked,
          found,
          stored: spooled.kind === "whole",
        });
      }
      await response.body?.cancel().catch(() => undefined);
    } catch (error) {
      // An outcome that broke off on the way is to be asked for again.
      found = "unknown";
      failure = { status: 0, code: limit.signal.aborted ? "timeout" : "reset" };
      this.#setup.alert("upstream-failed", { route: exchange.route, error: String(error) });
    } finally {
      this.#questions.delete(key);
      clearTimeout(timer);
      health.observe(upstreamName(upstream), experienceOf(failure), clock());
      upstreams.asked(upstreamName(upstream), askedAtMs, clock(), failure);
    }
    return this.#step(exchange, { ...asked, found, stored: false });
  }

  /** The alarm's part: heals, settles, tells and sweeps what is due. Never rejects, and waits for no slow upstream. */
  async care(): Promise<void> {
    const { clock, alert } = this.#setup;
    const nowMs = clock();
    try {
      await this.#setup.alarm.load();
      await this.#afterRestore();
      const due = this.#exchanges
        .due(nowMs, EXCHANGES_PER_ALARM_MAX)
        .filter(({ key }) => !this.#flights.has(key));
      const work = Promise.all([
        ...due.map((exchange) => this.#careFor(exchange, nowMs)),
        this.#sweep(due, nowMs),
      ]);
      this.#setup.keepAlive(work.catch(() => undefined));
      await withTimeout(work, EXCHANGE_ALARM_MS);
    } catch (error) {
      alert("exchange-care-failed", { error: String(error) });
    }
  }

  async #careFor(exchange: Exchange, nowMs: number): Promise<void> {
    const { key, state, settling, telling } = exchange;
    if (settling !== null && settling.dueAtMs <= nowMs) {
      // Before it is sent: whatever becomes of it, the alarm comes back later, and not at once.
      this.#exchanges.update(exchange, (now) =>
        now.settling === null
          ? undefined
          : { exchange: { ...now, settling: postponedSettling(now.settling, nowMs) } },
      );
      await this.#settling.now(key);
    }
    if (telling !== null && telling.dueAtMs <= nowMs) await this.#telling.now(exchange);
    if (state.kind === "calling" || state.kind === "paused")
      await drain(await this.#heal(exchange).reply);
  }

  /** What has expired becomes a tombstone, what is past that goes: in the journal first, then here. */
  async #sweep(due: readonly Exchange[], nowMs: number): Promise<void> {
    const nowS = wholeSeconds(nowMs);
    const old = due.filter(
      ({ state, settling, expiresAtS }) =>
        state.kind === "final" && settling === null && expiresAtS <= nowS,
    );
    const [first] = old;
    if (first === undefined) return;
    const db = await this.#setup.databaseFor(first.tenant);
    const keys = old.map(({ key }) => key);
    await withTimeout(sweepRecords(db, first.tenant, keys, nowS), SEND_TIMEOUT_MS);
    if (CRASH_POINTS) await crashPoint("sweep");
    for (const exchange of old) {
      if (exchange.forgetAtS <= nowS) this.#exchanges.remove(exchange.key);
      else this.#strip(exchange, "expired");
    }
  }

  #strip(exchange: Exchange, left: "erased" | "expired"): void {
    this.#exchanges.update(exchange, (now) => ({
      exchange: { ...now, left, members: {}, answer: null, unstored: null, telling: null },
      bytes: null,
    }));
    this.#exchanges.removeChunks(exchange.key);
  }

  /** When the alarm is needed, milliseconds since the epoch; undefined if it is not. */
  nextDueAtMs(): number | undefined {
    const dueAtMs = this.#exchanges.nextDueAtMs();
    if (dueAtMs === undefined) return undefined;
    // What is due and yet was left alone runs at the moment: no use to look again at once.
    const notBeforeMs = this.#flights.size > 0 ? this.#setup.clock() + RETRY_AFTER_DEFAULT_MS : 0;
    return Math.max(dueAtMs, notBeforeMs);
  }

  /** Whether there is anything that storage must be kept for. */
  get isIdle(): boolean {
    return this.#flights.size === 0 && this.#exchanges.isEmpty;
  }

  storageGone(): void {
    this.#exchanges.storageGone();
  }

  /** What a client may know of an exchange of this object; undefined if there is none. Reads only. */
  lookUp(key: string): KeyStatus | undefined {
    const exchange = this.#exchanges.find(key);
    if (exchange === undefined) return undefined;
    return statusOfExchange(exchange, this.#setup.clock(), () => this.#afterMs(key));
  }

  /** Erases the stored answer: the journal first, then here. Undefined if this object has no such exchange. */
  async erase(key: string, by: AuditActor): Promise<Erasure | undefined> {
    const exchange = this.#exchanges.find(key);
    if (exchange === undefined) return undefined;
    if (exchange.state.kind !== "final") return { kind: "in-flight" };
    try {
      // A row that is still in flight would not be erased.
      if (exchange.settling !== null) await this.#settling.now(key);
      const db = await this.#setup.databaseFor(exchange.tenant);
      const erased = eraseRecord(db, exchange.tenant, key, by, this.#setup.clock());
      const entry = await withTimeout(erased, SEND_TIMEOUT_MS);
      if (entry === undefined || entry.record.state === "in-flight") return { kind: "unavailable" };
      if (entry.record.state === "uncertain") return { kind: "in-flight" };
      this.eraseCopy(key);
      return {
        kind: "erased",
        object: entry.object,
        record: entry.record satisfies SettledRecord,
        forgetAtS: entry.forgetAtS,
      };
    } catch {
      return { kind: "unavailable" };
    }
  }

  /** Also called where another object was asked: keys may be spread anew between the claim and the erasure. */
  eraseCopy(key: string): void {
    const exchange = this.#exchanges.find(key);
    if (exchange?.state.kind === "final" && exchange.left === "whole") {
      this.#strip(exchange, "erased");
    }
  }

  /** A person's word on an uncertain key. The same word again changes nothing; another one is refused. */
  async resolve(tenant: string, key: string, resolution: Resolution): Promise<ResolutionReply> {
    const { clock, alarm, databaseFor } = this.#setup;
    await alarm.load();
    const { outcome, record } = resolution;
    if (!(await this.#endQuestion(key))) return { kind: "unavailable" };
    const found = this.#exchanges.find(key);
    if (found?.state.kind === "uncertain") {
      const nowMs = clock();
      let executed: Pick<Exchange, "answer" | "link" | "work"> & { readonly bytes: Uint8Array };
      try {
        executed = this.#resolvedAs(found, outcome, nowMs);
      } catch (error) {
        // What a person says of an operation's processor must be something that the operation can go by.
        this.#setup.alert("resolution-unusable", { route: found.route, error: String(error) });
        return { kind: "refused" };
      }
      const stored = this.#exchanges.update(found, (now) => {
        const isExecuted = outcome.kind === "executed";
        const state = this.#next(now, { kind: "resolved", executed: isExecuted }, nowMs);
        if (state === undefined) return undefined;
        const resolved = {
          ...this.#closed({ ...now, ...lifeOf(now, nowMs), state }, nowMs),
          resolution: record,
        };
        const { bytes, ...told } = executed;
        return isExecuted ? { exchange: { ...resolved, ...told }, bytes } : { exchange: resolved };
      });
      if (stored !== undefined) {
        await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
        this.#waiters.wake(key, "look-again");
        this.#telling.soon(stored);
        await this.#settling.now(key);
        return { kind: "resolved" };
      }
    }
    const now = this.#exchanges.find(key);
    if (now?.resolution?.digest === record.digest) return { kind: "resolved" };
    try {
      const db = await databaseFor(tenant);
      const before = await withTimeout(findResolution(db, tenant, key), SEND_TIMEOUT_MS);
      if (before?.digest === record.digest && now?.state.kind !== "uncertain") {
        return { kind: "resolved" };
      }
      if (now !== undefined || before !== undefined) return { kind: "refused" };
      const entry = await this.#findInJournal(tenant, key);
      if (entry === "unavailable") return { kind: "unavailable" };
      return { kind: entry === undefined ? "unknown-key" : "refused" };
    } catch {
      return { kind: "unavailable" };
    }
  }

  /** A person's word is not kept waiting for an upstream's; nor may the two be written at a time. */
  async #endQuestion(key: string): Promise<boolean> {
    const flight = this.#flights.get(key);
    if (flight === undefined || this.#exchanges.find(key)?.state.kind !== "uncertain") return true;
    this.#questions.get(key)?.abort(new Error("A person has said what happened."));
    return withTimeout(flight.reply, SEND_TIMEOUT_MS).then(
      () => true,
      () => false,
    );
  }

  /** What later retries get: a person's word as it is, or what an operation makes of it as its processor's. */
  #resolvedAs(
    exchange: Exchange,
    outcome: Resolution["outcome"],
    nowMs: number,
  ): Pick<Exchange, "answer" | "link" | "work"> & { readonly bytes: Uint8Array } {
    const { work, answer, link } = exchange;
    if (outcome.kind === "not-executed") return { answer, link, work, bytes: new Uint8Array(0) };
    const { status, headers, body } = outcome;
    if (work === null)
      return { answer: { status, headers }, link: outcome.link, work, bytes: body };
    const step = this.#setup.steps.outcome(exchange, work, status, body, nowMs);
    return {
      answer: { status: step.status, headers: step.headers },
      link: step.link,
      work: step.work,
      bytes: step.body,
    };
  }

  /**
   * Takes the work of a key up again: what the alarm would do, now. Undefined if this object has no exchange for it. Never a
   * call that the policy does not allow: what is uncertain is at most asked for.
   * @param by the reconciliation leaves alone what is to be sent later; an operator may ask for it now
   */
  async redrive(key: string, by: RedriveBy): Promise<Redrive["kind"] | undefined> {
    const { alarm, clock, keepAlive } = this.#setup;
    await alarm.load();
    const exchange = this.#exchanges.find(key);
    if (exchange === undefined) return undefined;
    if (this.#flights.has(key)) return "running";
    const { state, settling, input } = exchange;
    switch (state.kind) {
      case "calling":
        // Whoever sent it may live on, as a zombie: only who asks for it does not wait for the end of its time.
        if (by === "reconciliation" && exchange.callEndsAtMs > clock()) return "running";
        break;
      case "paused":
        if (by === "reconciliation" && state.next === "send" && state.dueAtMs > clock()) {
          // Its alarm may have been lost with a write that failed.
          await alarm.noLaterThan(state.dueAtMs);
          return "running";
        }
        break;
      case "uncertain":
        if (settling !== null) await this.#settling.now(key);
        if (input === null) return "uncertain";
        break;
      case "final":
      case "free":
        if (settling === null) return "nothing-open";
        await this.#settling.now(key);
        return "taken-up";
    }
    if (this.#flights.has(key)) return "running";
    const flight =
      state.kind === "uncertain" ? this.#askAgain(exchange) : this.#heal(exchange, true);
    const done = flight.reply.then(drain);
    keepAlive(done);
    await withTimeout(done, REDRIVE_WAIT_MS).catch(() => undefined);
    return this.#exchanges.find(key)?.state.kind === "uncertain" ? "uncertain" : "taken-up";
  }

  /** Of an uncertain exchange: what the upstream says of it by now, in the key's one slot. */
  #askAgain(exchange: Exchange): Flight {
    const { clock, health } = this.#setup;
    return this.#fly(exchange.key, exchange, async (recorded) => {
      recorded(true);
      const upstream = exchange.input?.policy.upstream;
      // It is not the upstream that is spared: a question that may not be asked leaves it uncertain.
      if (upstream === undefined || !health.admit(upstreamName(upstream), clock()).admitted) {
        return this.#standing(exchange.key);
      }
      const reply = await this.#ask(exchange, upstream);
      // Of an answer that broke off: a person's, which may come next, is no part of it.
      if (this.#exchanges.find(exchange.key)?.state.kind === "uncertain") {
        this.#exchanges.removeChunks(exchange.key);
      }
      return reply;
    });
  }

  /** Asked by the hourly pass after a claim that has been in flight for long: released if nobody ever called for it. */
  async recover(tenant: string, key: string, object: string): Promise<void> {
    const { alarm, clock, databaseFor } = this.#setup;
    await alarm.load();
    if (this.#flights.has(key)) return;
    if (this.#exchanges.find(key) !== undefined) {
      // It is cared for; but the alarm may have been lost with a write that failed, or with a restored database the
      // journal's word that it has the outcome.
      this.#exchanges.settleAnew(key, clock());
      const dueAtMs = this.nextDueAtMs();
      if (dueAtMs !== undefined) await alarm.noLaterThan(dueAtMs);
      return;
    }
    const entry = await this.#findInJournal(tenant, key);
    if (entry === undefined || entry === "unavailable") return;
    const { record, createdAtMs } = entry;
    if (record.state !== "in-flight" || entry.object !== object) return;
    if (clock() - createdAtMs < ORPHAN_AGE_MS) return;
    // A request came meanwhile, and takes it over.
    if (this.#flights.has(key) || this.#exchanges.find(key) !== undefined) return;
    const db = await databaseFor(tenant);
    const effects = this.#setup.steps.releaseOf(entry, clock());
    await withTimeout(releaseClaim(db, { tenant, key }, entry, effects, clock()), SEND_TIMEOUT_MS);
    this.#setup.alert("orphaned-claim-released", { operation: entry.operation });
  }

  async #findInJournal(
    tenant: string,
    key: string,
  ): Promise<JournalEntry | undefined | "unavailable"> {
    try {
      const db = await this.#setup.databaseFor(tenant);
      return (await withTimeout(findRecords(db, tenant, [key]), SEND_TIMEOUT_MS)).get(key);
    } catch {
      return "unavailable";
    }
  }
}

/** Terms that allow nothing: of an exchange whose policy is gone, because it is closed. */
const CLOSED = {
  timeoutMs: 0,
  honoursKey: false,
  status: null,
  heal: { attemptsMax: 0, elapsedMsMax: 0 },
} as const;

/**
 * Until when an outcome is kept. One that comes to an uncertain key after its expiry could be had by nobody: it lives from
 * now on as long as it would have.
 */
const lifeOf = (
  { state, createdAtMs, expiresAtS, forgetAtS }: Exchange,
  nowMs: number,
): Pick<Exchange, "expiresAtS" | "forgetAtS"> => {
  if (state.kind !== "uncertain") return { expiresAtS, forgetAtS };
  const lifeS = expiresAtS - wholeSeconds(createdAtMs);
  const laterS = Math.max(expiresAtS, wholeSeconds(nowMs) + lifeS);
  return { expiresAtS: laterS, forgetAtS: laterS + (forgetAtS - expiresAtS) };
};

const stateIsDue = (state: ExchangeState, nowMs: number): boolean =>
  state.kind === "paused" && state.dueAtMs <= nowMs;

const claimOf = ({
  nonce,
  attempt,
  createdAtMs,
  forgetAtS,
  record,
  held,
}: JournalEntry): Claim => ({
  nonce,
  attempt,
  held,
  createdAtMs,
  expiresAtS: record.expiresAtS,
  forgetAtS,
});

/** Seconds or a date (RFC 9110 section 10.2.3), in milliseconds from now, bounded; undefined if it says nothing. */
const retryAfterOf = (headers: Headers, nowMs: number): number | undefined => {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), UPSTREAM_RETRY_AFTER_MS_MAX) : undefined;
};

const isInFlight = (reply: ExchangeReply): boolean =>
  reply.kind === "problem" && reply.code === "request-in-flight";

/** Reads an answer that nobody takes, so that its size and hash are known and its connection ends. */
const drain = async (reply: ExchangeReply): Promise<void> => {
  if (reply.kind !== "stream") return;
  try {
    await reply.body.pipeTo(new WritableStream());
  } catch {
    // It broke off: then its size stays unknown.
  }
};

/** What the route's `heal` leaves of its time. */
const leftMsOf = ({ createdAtMs }: Exchange, { heal }: ExchangePolicy, nowMs: number): number =>
  createdAtMs + heal.elapsedMsMax - nowMs;

const experienceOf = (failure: Failure | undefined): Experience =>
  failure?.status === 429 ? "throttled" : "ended";

const problem = (
  code: ProblemCode,
  rest: Omit<ExchangeReply & { kind: "problem" }, "kind" | "code"> = {},
): ExchangeReply => ({ kind: "problem", code, ...rest });

const unavailable = (detail: string): ExchangeReply =>
  problem("temporarily-unavailable", { detail, afterMs: RETRY_AFTER_DEFAULT_MS });

const notConfigured = (): ExchangeReply =>
  unavailable("The processor that carries this out is not configured: nothing was sent.");

const unknown = (): ExchangeReply =>
  problem("outcome-unknown-yet", { afterMs: RETRY_AFTER_DEFAULT_MS });

/** The journal says that there is an outcome, and the object that had it has lost it: it cannot be told, nor run again. */
const lost = (): ExchangeReply =>
  problem("response-not-stored", { detail: "The answer of this key is not there any more." });

const linkMember = (link: string | null) => (link === null ? {} : { link });
