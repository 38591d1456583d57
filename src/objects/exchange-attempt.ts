/** One call to the upstream: sent, read into storage, judged, and reported to whoever learns from it. */
import type { Failure } from "../advisor/failure.ts";
import type { ExchangePolicy } from "../gateway/exchange.ts";
import { type Experience, upstreamName } from "../gateway/origin-health.ts";
import { type Verdict, verdictOn, verdictOnFailure } from "../gateway/outcome-rule.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { UPSTREAM_RETRY_AFTER_MS_MAX } from "../kernel/limits.ts";
import { spool, type Spooled } from "./exchange-answer.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Changes } from "./exchange-change.ts";
import type { Outcomes } from "./exchange-outcome.ts";
import type { Exchange } from "./exchange-record.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import { callRequest } from "./exchange-upstream.ts";
import type { Exchanges } from "./exchanges.ts";

export type AttemptsSetup = Pick<
  ExchangeSurroundings,
  "clock" | "alert" | "health" | "upstreams" | "send" | "keptHeaders" | "pauseBefore"
> & {
  readonly exchanges: Exchanges;
  readonly changes: Changes;
  readonly outcomes: Outcomes;
};

export class Attempts {
  readonly #setup: AttemptsSetup;

  constructor(setup: AttemptsSetup) {
    this.#setup = setup;
  }

  /** One call that is recorded and admitted, and what comes of it. */
  async send(exchange: Exchange, body: Uint8Array): Promise<ExchangeReply> {
    const {
      exchanges,
      outcomes,
      changes,
      clock,
      health,
      upstreams,
      send,
      keptHeaders,
      pauseBefore,
      alert,
    } = this.#setup;
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
    let outcome: { readonly response: Response; readonly spooled: Spooled } | undefined;
    let wasSent = false;
    try {
      // Parts of an answer that a try before has left behind.
      if (state.sends > 1) exchanges.removeChunks(key);
      const answered = send(policy.upstream, callRequest(exchange, body, limit.signal));
      wasSent = true;
      if (CRASH_POINTS) await crashPoint("exchange-sent");
      const response = await answered;
      verdict = verdictOn(response.status, policy, state.doubtful);
      if (verdict !== "final") failure = { status: response.status, code: policy.route };
      hintMs = retryAfterOf(response.headers, clock());
      if (verdict === "final") {
        outcome = { response, spooled: await spool(exchanges, key, response, policy.upstream) };
      } else {
        await response.body?.cancel().catch(() => undefined);
      }
    } catch (error) {
      failure = { status: 0, code: limit.signal.aborted ? "timeout" : "reset" };
      verdict = verdictOnFailure(wasSent);
      alert("upstream-failed", { route: policy.route, upstream, verdict, error: String(error) });
    } finally {
      clearTimeout(timer);
    }
    // What becomes of it from here on is not the upstream's doing.
    const endedAtMs = clock();
    health.observe(upstream, experienceOf(failure), endedAtMs);
    const advisedMs = upstreams.ended({
      tenant: exchange.tenant,
      key,
      upstream,
      startedAtMs,
      endedAtMs,
      failure,
      hintMs,
      leftMs: leftMsOf(exchange, policy, endedAtMs),
      sendsLeft: policy.heal.attemptsMax - state.sends,
    });
    if (CRASH_POINTS) await crashPoint("exchange-answered");
    if (outcome !== undefined) {
      const { response, spooled } = outcome;
      const headers = keptHeaders(response.headers, policy.keepHeaders);
      try {
        return await outcomes.store(exchange, { status: response.status, headers }, spooled, {
          kind: spooled.kind === "whole" ? "judged" : "oversize",
          attempt,
          verdict,
          pauseMs: 0,
        });
      } catch (error) {
        // It was executed, and its answer is lost on us.
        verdict = "maybe-executed";
        alert("outcome-not-stored", { route: policy.route, error: String(error) });
      }
    }
    const soonestMs = advisedMs ?? pauseBefore(state.sends, policy.route);
    const pauseMs = Math.max(hintMs ?? 0, soonestMs);
    return changes.step(exchange, { kind: "judged", attempt, verdict, pauseMs });
  }
}

/** Seconds or a date (RFC 9110 section 10.2.3), in milliseconds from now, bounded; undefined if it says nothing. */
const retryAfterOf = (headers: Headers, nowMs: number): number | undefined => {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), UPSTREAM_RETRY_AFTER_MS_MAX) : undefined;
};

/** What the route's `heal` leaves of its time. */
export const leftMsOf = (
  { createdAtMs }: Exchange,
  { heal }: ExchangePolicy,
  nowMs: number,
): number => createdAtMs + heal.elapsedMsMax - nowMs;

/** How an upstream shows itself by a call, or by a question. */
export const experienceOf = (failure: Failure | undefined): Experience =>
  failure?.status === 429 ? "throttled" : "ended";
