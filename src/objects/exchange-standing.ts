/** What a caller hears of an exchange as it stands. Changes nothing but what is late already: what the journal is to know. */
import { isExpired } from "../idempotency/key-record.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../kernel/limits.ts";
import type { Durations } from "./durations.ts";
import { storedBody } from "./exchange-answer.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import type { Exchange } from "./exchange-record.ts";
import { linkMember, lost, problem, unavailable } from "./exchange-reply.ts";
import type { Settling } from "./exchange-settling.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";

export type StandingSetup = Pick<ExchangeSurroundings, "clock"> & {
  readonly exchanges: Exchanges;
  readonly settling: Settling;
  /** Of calls, by route. */
  readonly durations: Pick<Durations, "remainingMs">;
};

export class Standing {
  readonly #setup: StandingSetup;

  constructor(setup: StandingSetup) {
    this.#setup = setup;
  }

  /** What a caller hears of an exchange as it stands now. */
  of(key: string): ExchangeReply {
    const exchange = this.#setup.exchanges.find(key);
    if (exchange === undefined) return unavailable("The request was not carried out.");
    switch (exchange.state.kind) {
      case "calling":
      case "paused":
        return this.inFlight(key);
      case "uncertain":
        return problem("outcome-uncertain");
      case "free":
        return unavailable("The request was not carried out.");
      case "final":
        return this.replay(exchange, true);
    }
  }

  replay(exchange: Exchange, replayed: boolean): ExchangeReply {
    const { answer, state, unstored, link, expiresAtS, left, settling } = exchange;
    // The journal did not take it, or we died over it: whoever asks need not wait for the alarm's pause.
    const isLate =
      settling !== null && (settling.tries > 0 || settling.dueAtMs < this.#setup.clock());
    if (isLate) this.#setup.settling.soon(exchange.key);
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
    const body = storedBody(this.#setup.exchanges, exchange);
    return { kind: "answer", status, headers, body, expiresAtS, replayed };
  }

  /** When it is worth coming back: at the next try; of a call, when such calls usually end, or at the latest when it is given up. */
  afterMs(key: string): number {
    const { exchanges, durations, clock } = this.#setup;
    const exchange = exchanges.find(key);
    const nowMs = clock();
    if (exchange?.state.kind === "paused") {
      return Math.max(exchange.state.dueAtMs - nowMs, RETRY_AFTER_DEFAULT_MS);
    }
    if (exchange?.state.kind !== "calling") return RETRY_AFTER_DEFAULT_MS;
    const { route, state, callEndsAtMs } = exchange;
    // A clock that was set back meanwhile must not be what a client waits for.
    const usualMs = durations.remainingMs(route, Math.max(nowMs - state.sentAtMs, 0));
    return Math.max(Math.min(usualMs, callEndsAtMs - nowMs), RETRY_AFTER_DEFAULT_MS);
  }

  inFlight(key: string): ExchangeReply {
    return problem("request-in-flight", { afterMs: this.afterMs(key) });
  }

  accepted(key: string): ExchangeReply {
    return { kind: "accepted", afterMs: this.afterMs(key) };
  }
}
