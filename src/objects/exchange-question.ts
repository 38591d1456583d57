/** The question to an upstream what became of a key: one that changes nothing there, and may be asked again. */
import type { Failure } from "../advisor/failure.ts";
import type { Upstream } from "../gateway/exchange.ts";
import { upstreamName } from "../gateway/origin-health.ts";
import { findingOn } from "../gateway/outcome-rule.ts";
import { spool, type Spooled } from "./exchange-answer.ts";
import { type AttemptsSetup, experienceOf } from "./exchange-attempt.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Exchange } from "./exchange-record.ts";
import { statusRequest } from "./exchange-upstream.ts";

export class Questions {
  readonly #setup: AttemptsSetup;
  /** By key: what ends it. */
  readonly #underWay = new Map<string, AbortController>();

  constructor(setup: AttemptsSetup) {
    this.#setup = setup;
  }

  /**
   * Asks what became of the key. A 200 is the outcome: its status, headers and bytes are what is stored and replayed, so
   * a status path should answer as the call would have. Everything but 200 and 404 says nothing.
   */
  async ask(exchange: Exchange, upstream: Upstream): Promise<ExchangeReply> {
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
    const path = input?.policy.status?.path;
    if (input === null || path === undefined) throw new Error("The exchange cannot be asked for.");
    const askedAtMs = clock();
    const limit = new AbortController();
    this.#underWay.set(key, limit);
    const timer = setTimeout(() => limit.abort(new Error("time-out")), input.policy.timeoutMs);
    const pauseMs = pauseBefore(state.asks, exchange.route);
    const asked = { kind: "asked", attempt: state.attempt, askedAtMs, pauseMs } as const;
    let found: ReturnType<typeof findingOn> = "unknown";
    let failure: Failure | undefined;
    let outcome: { readonly response: Response; readonly spooled: Spooled } | undefined;
    try {
      const response = await send(upstream, statusRequest(exchange, path, limit.signal));
      const isWell = response.status < 500 && response.status !== 429;
      if (!isWell) failure = { status: response.status, code: exchange.route };
      found = findingOn(response.status);
      if (found === "outcome") {
        exchanges.removeChunks(key);
        outcome = { response, spooled: await spool(exchanges, key, response, upstream) };
      } else {
        await response.body?.cancel().catch(() => undefined);
      }
    } catch (error) {
      // An outcome that broke off on the way is to be asked for again.
      found = "unknown";
      failure = { status: 0, code: limit.signal.aborted ? "timeout" : "reset" };
      alert("upstream-failed", { route: exchange.route, error: String(error) });
    } finally {
      this.#underWay.delete(key);
      clearTimeout(timer);
    }
    // What becomes of it from here on is not the upstream's doing.
    const endedAtMs = clock();
    health.observe(upstreamName(upstream), experienceOf(failure), endedAtMs);
    upstreams.asked(upstreamName(upstream), askedAtMs, endedAtMs, failure);
    if (outcome !== undefined) {
      const { response, spooled } = outcome;
      const headers = keptHeaders(response.headers, input.policy.keepHeaders);
      try {
        return await outcomes.store(exchange, { status: response.status, headers }, spooled, {
          ...asked,
          found: "outcome",
          stored: spooled.kind === "whole",
        });
      } catch (error) {
        found = "unknown";
        alert("outcome-not-stored", { route: exchange.route, error: String(error) });
      }
    }
    return changes.step(exchange, { ...asked, found, stored: false });
  }

  /** Ends the question that is under way of a key, if there is one. */
  end(key: string, why: string): void {
    this.#underWay.get(key)?.abort(new Error(why));
  }
}
