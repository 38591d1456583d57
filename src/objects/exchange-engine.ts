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
 * heal, a person and a predecessor's late answer the first one stands. Memory (flights, waiters, settled
 * answers) only spares work.
 */
import { BODY } from "../gateway/content-fingerprint.ts";
import { differingMembers } from "../idempotency/fingerprint.ts";
import {
  type Asking,
  decide,
  type Decision,
  type KeyKnowledge,
} from "../idempotency/key-record.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import {
  BATCH_LIFE_MS,
  BODY_BYTES_MAX,
  EXCHANGE_FLIGHTS_MAX,
  EXCHANGE_REQUEST_BYTES_MAX,
  RETRY_AFTER_DEFAULT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { Durations } from "./durations.ts";
import { Attempts } from "./exchange-attempt.ts";
import type { ExchangeCall, ExchangeReply, Resolution, ResolutionReply } from "./exchange-call.ts";
import { Care } from "./exchange-care.ts";
import { Changes } from "./exchange-change.ts";
import { isUpstreams } from "./exchange-claim.ts";
import { Claiming } from "./exchange-claiming.ts";
import { findEntry } from "./exchange-entry.ts";
import { Erasing } from "./exchange-erasure.ts";
import { ExchangeFlights, type ExchangeNews, type Flight } from "./exchange-flights.ts";
import { Healing, stateIsDue } from "./exchange-heal.ts";
import { Orphans } from "./exchange-orphan.ts";
import { Outcomes } from "./exchange-outcome.ts";
import { Questions } from "./exchange-question.ts";
import { type Exchange, keyRecordOf } from "./exchange-record.ts";
import {
  drain,
  isInFlight,
  linkMember,
  lost,
  problem,
  unavailable,
  unknown,
} from "./exchange-reply.ts";
import { Redriving } from "./exchange-redrive.ts";
import { Resolutions } from "./exchange-resolution.ts";
import { Settling } from "./exchange-settling.ts";
import { Standing } from "./exchange-standing.ts";
import { statusOfExchange } from "./exchange-status.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import { Telling } from "./exchange-telling.ts";
import { Waiters } from "./exchange-waiters.ts";
import { Exchanges } from "./exchanges.ts";
import type { Erasure, KeyStatus, Redrive, RedriveBy } from "./key-call.ts";

/** What this object knows of a key. */
type Known = {
  readonly knowledge: KeyKnowledge;
  readonly flight: Flight | undefined;
  readonly exchange: Exchange | undefined;
};

export class ExchangeEngine {
  readonly #setup: ExchangeSurroundings;
  readonly #exchanges: Exchanges;
  readonly #flights: ExchangeFlights;
  readonly #waiters = new Waiters<ExchangeNews>();
  readonly #settling: Settling;
  readonly #standing: Standing;
  readonly #claiming: Claiming;
  readonly #healing: Healing;
  readonly #care: Care;
  readonly #erasing: Erasing;
  readonly #resolutions: Resolutions;
  readonly #redriving: Redriving;
  readonly #orphans: Orphans;
  /** Of the requests under way. */
  #requestBytes = 0;
  #isAfterRestore = false;

  constructor(setup: ExchangeSurroundings) {
    this.#setup = setup;
    const exchanges = new Exchanges(setup.storage, setup.epoch);
    const table = { ...setup, exchanges, waiters: this.#waiters };
    const flights = new ExchangeFlights(table);
    const settling = new Settling(table);
    const telling = new Telling(table);
    const settled = { ...table, flights, settling, telling };
    const durations = new Durations();
    const standing = new Standing({ ...settled, durations });
    const changes = new Changes({ ...settled, standing });
    const changed = { ...settled, standing, changes };
    const outcomes = new Outcomes(changed);
    const attempts = new Attempts({ ...changed, outcomes, durations });
    const questions = new Questions({ ...changed, outcomes });
    const heal = (exchange: Exchange, now = false): Flight => this.#heal(exchange, now);
    this.#exchanges = exchanges;
    this.#flights = flights;
    this.#settling = settling;
    this.#standing = standing;
    this.#claiming = new Claiming({ ...changed, attempts });
    this.#healing = new Healing({ ...changed, attempts, questions });
    this.#care = new Care({ ...settled, heal });
    this.#erasing = new Erasing(settled);
    this.#resolutions = new Resolutions({ ...settled, questions });
    this.#redriving = new Redriving({ ...changed, questions, heal });
    this.#orphans = new Orphans(settled);
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
    const flight = this.#flights.find(key);
    const exchange = this.#exchanges.findWithAnswer(key);
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
        return exchange === undefined ? lost() : this.#standing.replay(exchange, true);
      case "wait":
      case "in-flight":
        // Promised already, though by another request; so is this one, once it is on the disk.
        if (call.detached && (exchange !== undefined || (await flight?.recorded) === true)) {
          return this.#standing.accepted(call.key);
        }
        if (decision.do === "wait") return this.#wait(call, call.waitMs);
        return flight !== undefined && exchange === undefined
          ? this.#besideClaim(call, flight)
          : this.#standing.inFlight(call.key);
      case "mismatch": {
        if (flight !== undefined && exchange === undefined) {
          // It has no claim yet, so the key is not its own: the request that asks may be whose key it is.
          await flight.recorded;
          return this.#act(call);
        }
        // A tombstone keeps no member hashes: then it can only be said that something differs.
        const comparable = Object.keys(decision.members).length > 0;
        const mismatched = differingMembers(decision.members, call.members);
        return problem("idempotency-key-reused", {
          // No field differs where a form's list is in another order.
          members: comparable ? { mismatched: mismatched.length > 0 ? mismatched : [BODY] } : {},
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
    const flight = this.#flights.begin(call.key, call, (recorded) =>
      this.#claim(call, recorded).finally(() => {
        this.#requestBytes -= size;
      }),
    );
    if (call.detached) {
      if (!(await flight.recorded)) return flight.reply;
      // What nobody takes must still be read, for its size and hash.
      this.#setup.keepAlive(flight.reply.then(drain));
      return this.#standing.accepted(call.key);
    }
    const reply = await flight.reply;
    const restMs = call.waitMs - (this.#setup.clock() - startedAtMs);
    return isInFlight(reply) && restMs > 0 ? this.#wait(call, restMs) : reply;
  }

  async #claim(call: ExchangeCall, recorded: (is: boolean) => void): Promise<ExchangeReply> {
    const claimed = await this.#claiming.claim(call, recorded);
    switch (claimed.do) {
      case "tell":
        return claimed.reply;
      case "tell-if-unused":
        return this.#withoutCall(call, claimed.reply);
      case "recall":
        return this.#recall(call, claimed.entry, recorded, claimed.own);
    }
  }

  /** A request that starts nothing now may still be answered, if its key was used. */
  async #withoutCall(call: ExchangeCall, otherwise: ExchangeReply): Promise<ExchangeReply> {
    const entry = await findEntry(this.#setup.databaseFor, call.tenant, call.key);
    return entry === undefined || entry === "unavailable" ? otherwise : this.#recall(call, entry);
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
      return this.#claiming.takeOver(call, entry, recorded);
    }
    return this.#carryOut(call, decision, {
      knowledge: { kind: "free" },
      flight: undefined,
      exchange,
    });
  }

  /**
   * Beside the same request, which has no claim yet: until then nobody can tell whether the key is in flight, or has had
   * its outcome long ago. That is known soon; if it is not, it is in flight.
   */
  async #besideClaim(call: ExchangeCall, flight: Flight): Promise<ExchangeReply> {
    const calls = await withTimeout(flight.recorded, RETRY_AFTER_DEFAULT_MS).catch(() => true);
    if (calls) return this.#standing.inFlight(call.key);
    const reply = await flight.reply;
    if (reply.kind === "problem" || reply.kind === "accepted") return reply;
    // What is read once is the other's to read.
    return reply.kind === "answer" && reply.body instanceof Uint8Array
      ? { ...reply, replayed: true }
      : this.#act(call);
  }

  async #wait(call: ExchangeCall, waitMs: number): Promise<ExchangeReply> {
    const { knowledge } = this.#known(call.key);
    // It has come to its end since it was decided to wait.
    const isOpen =
      knowledge.kind === "running" ||
      (knowledge.kind === "record" && knowledge.record.state === "in-flight");
    if (!isOpen) return this.#act({ ...call, waitMs: 0 });
    const news = await this.#waiters.wait(call.key, waitMs);
    if (news === undefined) return this.#standing.inFlight(call.key);
    if (news === "look-again") return this.#act({ ...call, waitMs: 0 });
    return news;
  }

  /** A client comes back to an exchange that is open, and that nobody carries on at the moment. */
  async #resume(call: ExchangeCall, exchange: Exchange): Promise<ExchangeReply> {
    const { state } = exchange;
    const isDue = state.kind === "calling" || stateIsDue(state, this.#setup.clock());
    if (isDue) {
      const flight = this.#heal(exchange);
      if (call.detached) return this.#standing.accepted(call.key);
      const reply = await flight.reply;
      if (!isInFlight(reply)) return reply;
    }
    if (call.detached) return this.#standing.accepted(call.key);
    return call.waitMs > 0 ? this.#wait(call, call.waitMs) : this.#standing.inFlight(call.key);
  }

  /**
   * Carries an open exchange on, in the key's one slot.
   * @param now whether its next step is taken now, though it may be due later
   */
  #heal(exchange: Exchange, now = false): Flight {
    return this.#flights.begin(exchange.key, exchange, (recorded) => {
      recorded(true);
      return this.#healing.carryOn(exchange, now);
    });
  }

  /** The alarm's part. Never rejects, and waits for no slow upstream. */
  async care(): Promise<void> {
    try {
      await this.#setup.alarm.load();
      await this.#afterRestore();
    } catch (error) {
      this.#setup.alert("exchange-care-failed", { error: String(error) });
      return;
    }
    await this.#care.now();
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
    return statusOfExchange(exchange, this.#setup.clock(), () => this.#standing.afterMs(key));
  }

  /** Erases the stored answer. Undefined if this object has no such exchange. */
  erase(key: string, by: AuditActor): Promise<Erasure | undefined> {
    return this.#erasing.erase(key, by);
  }

  /** Also called where another object was asked: keys may be spread anew between the claim and the erasure. */
  eraseCopy(key: string): void {
    this.#erasing.eraseCopy(key);
  }

  /** A person's word on an uncertain key. The same word again changes nothing; another one is refused. */
  resolve(tenant: string, key: string, resolution: Resolution): Promise<ResolutionReply> {
    return this.#resolutions.resolve(tenant, key, resolution);
  }

  /**
   * Takes the work of a key up again: what the alarm would do, now. Undefined if this object has no exchange for it. Never a
   * call that the policy does not allow: what is uncertain is at most asked for.
   */
  redrive(key: string, by: RedriveBy): Promise<Redrive["kind"] | undefined> {
    return this.#redriving.redrive(key, by);
  }

  /** Asked by the hourly pass after a claim that has been in flight for long: released if nobody ever called for it. */
  recover(tenant: string, key: string, object: string): Promise<void> {
    return this.#orphans.recover(tenant, key, object);
  }
}
