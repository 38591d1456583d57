/** The question to an upstream what became of a key: one that changes nothing there, and may be asked again. */
import type { Failure } from "../advisor/failure.ts";
import type { Upstream } from "../gateway/exchange.ts";
import { upstreamName } from "../gateway/origin-health.ts";
import { findingOn } from "../gateway/outcome-rule.ts";
import { type AttemptsSetup, experienceOf } from "./exchange-attempt.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import { hear } from "./exchange-hearing.ts";
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
    const { exchanges, outcomes, changes, clock, health, upstreams, send, pauseBefore, alert } =
      this.#setup;
    const { input, key, state, route } = exchange;
    const path = input?.policy.status?.path;
    if (input === null || path === undefined) throw new Error("The exchange cannot be asked for.");
    const { policy } = input;
    const askedAtMs = clock();
    const pauseMs = pauseBefore(state.asks, route);
    const asked = { kind: "asked", attempt: state.attempt, askedAtMs, pauseMs } as const;
    const limit = new AbortController();
    this.#underWay.set(key, limit);
    const heard = await hear(exchanges, {
      key,
      upstream,
      timeoutMs: policy.timeoutMs,
      limit,
      call: async (signal) => {
        const response = await send(upstream, statusRequest(exchange, path, signal));
        if (findingOn(response.status) === "outcome") exchanges.removeChunks(key);
        return response;
      },
      isOutcome: (status) => findingOn(status) === "outcome",
    });
    this.#underWay.delete(key);
    // What becomes of it from here on is not the upstream's doing.
    const endedAtMs = clock();
    // An outcome that broke off on the way is to be asked for again.
    let found: ReturnType<typeof findingOn> = "unknown";
    let failure: Failure | undefined;
    if (heard.kind === "broken") {
      ({ failure } = heard);
      alert("upstream-failed", { route, error: heard.error });
    } else {
      const { status } = heard.response;
      const isWell = status < 500 && status !== 429;
      if (!isWell) failure = { status, code: route };
      found = findingOn(status);
    }
    health.observe(upstreamName(upstream), experienceOf(failure), endedAtMs);
    upstreams.asked(upstreamName(upstream), askedAtMs, endedAtMs, failure);
    if (heard.kind === "outcome") {
      const event = { ...asked, found: "outcome", stored: heard.spooled.kind === "whole" } as const;
      const reply = await outcomes.store(exchange, policy, heard, event);
      if (reply !== undefined) return reply;
      found = "unknown";
    }
    return changes.step(exchange, { ...asked, found, stored: false });
  }

  /** Ends the question that is under way of a key, if there is one. */
  end(key: string, why: string): void {
    this.#underWay.get(key)?.abort(new Error(why));
  }
}
