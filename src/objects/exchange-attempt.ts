/** One call to the upstream: sent, read into storage, judged, and reported to whoever learns from it. */
import type { Failure } from "../advisor/failure.ts";
import type { ExchangePolicy } from "../gateway/exchange.ts";
import { type Experience, upstreamName } from "../gateway/origin-health.ts";
import { type Verdict, verdictOn, verdictOnFailure } from "../gateway/outcome-rule.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { UPSTREAM_RETRY_AFTER_MS_MAX } from "../kernel/limits.ts";
import type { Durations } from "./durations.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Changes } from "./exchange-change.ts";
import { hear } from "./exchange-hearing.ts";
import type { Outcomes } from "./exchange-outcome.ts";
import type { Exchange } from "./exchange-record.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import { callRequest } from "./exchange-upstream.ts";
import type { Exchanges } from "./exchanges.ts";

export type AttemptsSetup = Pick<
  ExchangeSurroundings,
  "clock" | "alert" | "health" | "upstreams" | "send" | "pauseBefore"
> & {
  readonly exchanges: Exchanges;
  readonly changes: Changes;
  readonly outcomes: Outcomes;
};

type SendingSetup = AttemptsSetup & {
  /** Of calls, by route. */
  readonly durations: Pick<Durations, "record">;
};

export class Attempts {
  readonly #setup: SendingSetup;

  constructor(setup: SendingSetup) {
    this.#setup = setup;
  }

  /** One call that is recorded and admitted, and what comes of it. */
  async send(exchange: Exchange, body: Uint8Array): Promise<ExchangeReply> {
    const { exchanges, outcomes, changes, clock, health, upstreams, send, pauseBefore, alert } =
      this.#setup;
    const { input, key, state } = exchange;
    if (input === null) throw new Error("The exchange is closed: its input is gone.");
    const { policy } = input;
    const upstream = upstreamName(policy.upstream);
    const { attempt } = state;
    const startedAtMs = clock();
    let wasSent = false;
    const heard = await hear(exchanges, {
      key,
      upstream: policy.upstream,
      timeoutMs: policy.timeoutMs,
      call: async (signal) => {
        // Parts of an answer that a try before has left behind.
        if (state.sends > 1) exchanges.removeChunks(key);
        const answered = send(policy.upstream, callRequest(exchange, body, signal));
        wasSent = true;
        if (CRASH_POINTS) await crashPoint("exchange-sent");
        return answered;
      },
      isOutcome: (status) => verdictOn(status, policy, state.doubtful) === "final",
    });
    // What becomes of it from here on is not the upstream's doing.
    const endedAtMs = clock();
    this.#setup.durations.record(policy.route, endedAtMs - startedAtMs);
    let verdict: Verdict;
    let failure: Failure | undefined;
    let hintMs: number | undefined;
    if (heard.kind === "broken") {
      ({ failure } = heard);
      verdict = verdictOnFailure(wasSent);
      const { error } = heard;
      alert("upstream-failed", { route: policy.route, upstream, verdict, error });
    } else {
      const { status, headers } = heard.response;
      verdict = verdictOn(status, policy, state.doubtful);
      if (heard.kind === "answer") failure = { status, code: policy.route };
      hintMs = retryAfterOf(headers, endedAtMs);
    }
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
    if (heard.kind === "outcome") {
      const kind = heard.spooled.kind === "whole" ? "judged" : "oversize";
      const event = { kind, attempt, verdict, pauseMs: 0 } as const;
      const reply = await outcomes.store(exchange, policy, heard, event);
      if (reply !== undefined) return reply;
      // It was executed, and its answer is lost on us.
      verdict = "maybe-executed";
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
