/**
 * From a free key to the call, in the order that makes it one: admitted, claimed in the journal, recorded in the object
 * with its alarm, sent. What fails before the intent is on the disk was not sent, and gives the claim back. A claim that
 * somebody else has got, and a key that may have been used before, are for the one who asked to look at.
 */
import type { ExchangePolicy } from "../gateway/exchange.ts";
import { type ExchangeState, firstCall } from "../gateway/exchange-decision.ts";
import { upstreamName } from "../gateway/origin-health.ts";
import { isNearlyFull } from "../journal/capacity.ts";
import type { Database } from "../journal/database.ts";
import { ReadFailed } from "../journal/reader.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { releaseClaim, takeOver } from "../journal/settlements.ts";
import type { Submission } from "../journal/submission.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { IdSource, timeOrderedId } from "../kernel/ids.ts";
import {
  EXCHANGE_GRACE_MS,
  RETRY_AFTER_DEFAULT_MS,
  RETRY_FULL_MS,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Attempts } from "./exchange-attempt.ts";
import type { ExchangeCall, ExchangeReply } from "./exchange-call.ts";
import { claimOfCall } from "./exchange-claim.ts";
import type { Exchange } from "./exchange-record.ts";
import { notConfigured, problem, unavailable, unknown } from "./exchange-reply.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";
import { invalid } from "./external-steps.ts";
import { type AfterFate, afterFate, type RunEnd, withoutOutcome } from "./run-decision.ts";

export type ClaimingSetup = Pick<
  ExchangeSurroundings,
  | "databaseFor"
  | "databaseBytesMax"
  | "alarm"
  | "alert"
  | "clock"
  | "commit"
  | "health"
  | "randomness"
  | "steps"
> & {
  readonly exchanges: Exchanges;
  readonly attempts: Attempts;
};

/** What became of an attempt to claim. */
export type Claimed =
  | { readonly do: "tell"; readonly reply: ExchangeReply }
  /** Nothing was claimed: this is heard, unless the key was used before. */
  | { readonly do: "tell-if-unused"; readonly reply: ExchangeReply }
  /** A row decides: somebody else's, or of an operation this very request's. */
  | { readonly do: "recall"; readonly entry: JournalEntry; readonly own: boolean };

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

const told = (reply: ExchangeReply): Claimed => ({ do: "tell", reply });

const unclaimed = (reply: ExchangeReply): Claimed => ({ do: "tell-if-unused", reply });

export class Claiming {
  readonly #setup: ClaimingSetup;

  constructor(setup: ClaimingSetup) {
    this.#setup = setup;
  }

  /**
   * Claims a free key and calls the upstream.
   * @param recorded told once the intent is written
   */
  async claim(call: ExchangeCall, recorded: (is: boolean) => void): Promise<Claimed> {
    const { databaseFor, databaseBytesMax, clock, alert, health } = this.#setup;
    let db: Database;
    try {
      db = await databaseFor(call.tenant);
    } catch (error) {
      alert("database-unknown", { error: String(error) });
      return told(unavailable("Where the tenant's records are could not be found out."));
    }
    const ready = this.#readyFor(call);
    if (!("policy" in ready)) return unclaimed(ready);
    const { policy } = ready;
    const upstream = upstreamName(policy.upstream);
    const admission = isNearlyFull(db, databaseBytesMax, clock())
      ? ({ admitted: false, afterMs: RETRY_FULL_MS } as const)
      : health.admit(upstream, clock());
    if (!admission.admitted) {
      // Nothing is claimed, so the key stays free.
      const { admitted: _, ...wait } = admission;
      return unclaimed(
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
      return unclaimed(problem("internal-error"));
    }
    if (CRASH_POINTS) await crashPoint("exchange-claimed");
    if (end.do === "recall" && end.own && end.entry.record.state === "in-flight") {
      return told(await this.#call(call, policy, claimOf(end.entry), recorded));
    }
    health.observe(upstream, "not-called", clock());
    switch (end.do) {
      case "recall":
        return { do: "recall", entry: end.entry, own: end.own };
      case "unavailable":
        return told(unavailable(`${end.reason} Nothing was sent.`));
      case "unknown":
        // A claim that lands late is in flight without an intent: it is taken over by the retry, or released.
        return told(unknown());
    }
  }

  /** In flight, ours, and without an intent here: the claim was never called for. */
  async takeOver(
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

  /** The intent, then the call. */
  async #call(
    call: ExchangeCall,
    calledBy: ExchangePolicy,
    claim: Claim,
    recorded: (is: boolean) => void,
  ): Promise<ExchangeReply> {
    const { exchanges, attempts, alarm, clock, health, alert, steps } = this.#setup;
    let sending: ReturnType<typeof steps.sending> | (typeof call & { readonly work: null });
    try {
      sending =
        call.operation === undefined
          ? { ...call, work: null }
          : steps.sending(call, claim.held, calledBy);
    } catch (error) {
      // Its claim stays, and is taken over by the retry, or released by the hourly pass.
      health.observe(upstreamName(calledBy.upstream), "not-called", clock());
      alert("step-defect", { route: calledBy.route, error: String(error) });
      return problem("internal-error");
    }
    const { policy, request, work } = sending;
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
      if (!exchanges.add(exchange, request.body)) {
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
    return attempts.send(exchange, request.body);
  }

  /** Nothing was sent: the claim is released, now or by the hourly pass. */
  async #giveBack(exchange: Exchange): Promise<void> {
    const { tenant, key, nonce, state, work } = exchange;
    const { exchanges, steps, clock, databaseFor, alert } = this.#setup;
    try {
      const free: ExchangeState = { ...state, kind: "free", afterMs: 0 };
      const effects =
        work === null ? [] : steps.effectsOf({ ...exchange, state: free }, work, clock());
      exchanges.remove(exchange);
      const db = await databaseFor(tenant);
      const claim = { nonce, attempt: state.attempt };
      const released = releaseClaim(db, { tenant, key }, claim, effects, clock());
      await withTimeout(released, SEND_TIMEOUT_MS);
    } catch (error) {
      alert("claim-not-released", { error: String(error) });
    }
  }
}

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
