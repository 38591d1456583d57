/**
 * Carries an open exchange on that nobody carries on at the moment: sends it again, or asks what became of it, as its
 * policy says and when the upstream takes it.
 */
import type { ExchangeState } from "../gateway/exchange-decision.ts";
import { upstreamName } from "../gateway/origin-health.ts";
import { type Attempts, leftMsOf } from "./exchange-attempt.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Changes } from "./exchange-change.ts";
import type { Questions } from "./exchange-question.ts";
import type { Exchange } from "./exchange-record.ts";
import type { Settling } from "./exchange-settling.ts";
import type { Standing } from "./exchange-standing.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";
import { boundedBy } from "./upstream-advice.ts";

export type HealingSetup = Pick<
  ExchangeSurroundings,
  "clock" | "alert" | "health" | "pauseBefore"
> & {
  readonly exchanges: Exchanges;
  readonly changes: Changes;
  readonly standing: Standing;
  readonly settling: Settling;
  readonly attempts: Attempts;
  readonly questions: Questions;
};

export class Healing {
  readonly #setup: HealingSetup;

  constructor(setup: HealingSetup) {
    this.#setup = setup;
  }

  /**
   * The next step, if it is due; and what is heard of it.
   * @param now whether it is taken now, though it may be due later
   */
  async carryOn(found: Exchange, now: boolean): Promise<ExchangeReply> {
    const { exchanges, changes, standing, attempts, questions, settling } = this.#setup;
    const { clock, health, pauseBefore, alert } = this.#setup;
    let exchange = found;
    if (exchange.state.kind === "calling") {
      // Whoever sent it is gone, and may have been heard.
      const pauseMs = now ? 0 : pauseBefore(exchange.state.sends, exchange.route);
      const next = await changes.changed(exchange, { kind: "interrupted", pauseMs });
      if (next === undefined) return standing.of(exchange.key);
      if (next.state.kind === "uncertain") {
        settling.soon(next.key);
        alert("exchange-uncertain", { route: next.route, sends: next.state.sends });
      }
      exchange = next;
    }
    if (now) exchange = (await changes.changed(exchange, { kind: "hastened" })) ?? exchange;
    const { state, input } = exchange;
    if (!stateIsDue(state, clock()) || state.kind !== "paused" || input === null) {
      return standing.of(exchange.key);
    }
    const upstream = upstreamName(input.policy.upstream);
    const admission = health.admit(upstream, clock());
    if (!admission.admitted) {
      const leftMs = leftMsOf(exchange, input.policy, clock());
      const afterMs = boundedBy(leftMs, admission.afterMs);
      return changes.step(exchange, { kind: "held-back", afterMs });
    }
    let isSent = false;
    try {
      const begun = await changes.changed(exchange, { kind: "due" });
      if (begun === undefined) return standing.of(exchange.key);
      isSent = true;
      return begun.state.kind === "calling"
        ? await attempts.send(begun, exchanges.bytes(begun.key))
        : await questions.ask(begun, input.policy.upstream);
    } finally {
      if (!isSent) health.observe(upstream, "not-called", clock());
    }
  }
}

/** Whether its next step may be taken now. */
export const stateIsDue = (state: ExchangeState, nowMs: number): boolean =>
  state.kind === "paused" && state.dueAtMs <= nowMs;
