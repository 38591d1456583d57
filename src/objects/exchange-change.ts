/**
 * Carries an exchange from one state to the next, as gateway/exchange-decision.ts decides on what is stored, with the
 * alarm that cares for it from then on. An event that comes too late changes nothing.
 */
import {
  type ExchangeEvent,
  type ExchangeState,
  transition,
} from "../gateway/exchange-decision.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { EXCHANGE_GRACE_MS, WEBHOOK_TIMEOUT_MS } from "../kernel/limits.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Exchange } from "./exchange-record.ts";
import { problem } from "./exchange-reply.ts";
import { type Settling, toSettle } from "./exchange-settling.ts";
import type { Standing } from "./exchange-standing.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";

export type ChangesSetup = Pick<ExchangeSurroundings, "clock" | "alarm" | "alert"> & {
  readonly exchanges: Exchanges;
  readonly settling: Settling;
  readonly standing: Standing;
};

export class Changes {
  readonly #setup: ChangesSetup;

  constructor(setup: ChangesSetup) {
    this.#setup = setup;
  }

  /** Carries an exchange on by an event that is no outcome; gives back what its caller hears. */
  async step(exchange: Exchange, event: ExchangeEvent): Promise<ExchangeReply> {
    const { standing, settling, alert } = this.#setup;
    const stored = await this.changed(exchange, event);
    if (stored === undefined) return standing.of(exchange.key);
    const { state } = stored;
    switch (state.kind) {
      case "calling":
      case "paused":
      case "final":
        return standing.of(stored.key);
      case "uncertain":
        settling.soon(stored.key);
        alert("exchange-uncertain", { route: stored.route, sends: state.sends });
        return problem("outcome-uncertain");
      case "free":
        // The caller is told when the key is free, or soon will be: its retry waits for the rest.
        await settling.now(stored.key);
        return problem("temporarily-unavailable", {
          detail: "The API behind did not take the request: it was not carried out.",
          afterMs: state.afterMs,
        });
    }
  }

  /** Stores the state that an event leads to, with the alarm that cares for it; undefined if it leads nowhere. */
  async changed(exchange: Exchange, event: ExchangeEvent): Promise<Exchange | undefined> {
    const { exchanges, alarm, clock } = this.#setup;
    await alarm.load();
    const nowMs = clock();
    const stored = exchanges.update(exchange, (now) => {
      const state = nextState(now, event, nowMs);
      if (state === undefined) return undefined;
      if (state.kind === "calling") {
        const callEndsAtMs = nowMs + (now.input?.policy.timeoutMs ?? 0) + EXCHANGE_GRACE_MS;
        return { exchange: { ...now, state, callEndsAtMs } };
      }
      if (state.kind === "paused") return { exchange: { ...now, state } };
      // Uncertain: the input stays no longer than it may be sent. A person decides on what the caller knows.
      return { exchange: closed({ ...now, state }, nowMs), bytes: null };
    });
    if (stored !== undefined) {
      // Of an answer that broke off: what a person says next may be empty, and this is no part of it.
      if (stored.state.kind === "uncertain") exchanges.removeChunks(stored.key);
      await alarm.noLaterThan(exchanges.nextDueAtMs() ?? nowMs);
    }
    return stored;
  }
}

/** The state that an event leads to; undefined if it does not apply (any more). */
export const nextState = (
  exchange: Exchange,
  event: ExchangeEvent,
  nowMs: number,
): ExchangeState | undefined => {
  const { input, createdAtMs } = exchange;
  // Closed, and not to be asked for, so that no policy matters any more; only a person's word may still come.
  const policy = input?.policy ?? CLOSED;
  return transition(exchange.state, event, { policy, createdAtMs }, nowMs);
};

/** What is kept once there is nothing more to send: the input goes, but for what a question needs. */
export const closed = (exchange: Exchange, nowMs: number): Exchange => {
  const { input, state } = exchange;
  const isTold = exchange.hook !== null && state.kind === "final";
  const mayBeAsked = state.kind === "uncertain" && (input?.policy.status ?? null) !== null;
  return {
    ...exchange,
    input: mayBeAsked ? input : null,
    settling: toSettle(nowMs),
    telling: isTold ? { tries: 0, dueAtMs: nowMs + WEBHOOK_TIMEOUT_MS } : null,
  };
};

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
export const lifeOf = (
  { state, createdAtMs, expiresAtS, forgetAtS }: Exchange,
  nowMs: number,
): Pick<Exchange, "expiresAtS" | "forgetAtS"> => {
  if (state.kind !== "uncertain") return { expiresAtS, forgetAtS };
  const lifeS = expiresAtS - wholeSeconds(createdAtMs);
  const laterS = Math.max(expiresAtS, wholeSeconds(nowMs) + lifeS);
  return { expiresAtS: laterS, forgetAtS: laterS + (forgetAtS - expiresAtS) };
};
