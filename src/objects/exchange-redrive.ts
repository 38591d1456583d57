/** Open work of a key, taken up again now: by the reconciliation, or because a person asks for it. */
import { upstreamName } from "../gateway/origin-health.ts";
import { REDRIVE_WAIT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { ExchangeFlights, Flight } from "./exchange-flights.ts";
import type { Questions } from "./exchange-question.ts";
import type { Exchange } from "./exchange-record.ts";
import { drain } from "./exchange-reply.ts";
import type { Settling } from "./exchange-settling.ts";
import type { Standing } from "./exchange-standing.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";
import type { Redrive, RedriveBy } from "./key-call.ts";

export type RedrivingSetup = Pick<
  ExchangeSurroundings,
  "alarm" | "clock" | "health" | "keepAlive"
> & {
  readonly exchanges: Exchanges;
  readonly flights: ExchangeFlights;
  readonly settling: Settling;
  readonly standing: Standing;
  readonly questions: Questions;
  /** Takes the key's slot; `now`: its next step is taken, though it may be due later. */
  readonly heal: (exchange: Exchange, now: boolean) => Flight;
};

export class Redriving {
  readonly #setup: RedrivingSetup;

  constructor(setup: RedrivingSetup) {
    this.#setup = setup;
  }

  /**
   * Takes the work of a key up again: what the alarm would do, now. Undefined if this object has no exchange for it. Never a
   * call that the policy does not allow: what is uncertain is at most asked for.
   * @param by the reconciliation leaves alone what is to be sent later; an operator may ask for it now
   */
  async redrive(key: string, by: RedriveBy): Promise<Redrive["kind"] | undefined> {
    const { exchanges, flights, settling: settler, heal, alarm, clock, keepAlive } = this.#setup;
    await alarm.load();
    const exchange = exchanges.find(key);
    if (exchange === undefined) return undefined;
    if (flights.find(key) !== undefined) return "running";
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
        if (settling !== null) await settler.now(key);
        if (input === null) return "uncertain";
        break;
      case "final":
      case "free":
        if (settling === null) return "nothing-open";
        await settler.now(key);
        return "taken-up";
    }
    if (flights.find(key) !== undefined) return "running";
    const flight = state.kind === "uncertain" ? this.#askAgain(exchange) : heal(exchange, true);
    const done = flight.reply.then(drain);
    keepAlive(done);
    await withTimeout(done, REDRIVE_WAIT_MS).catch(() => undefined);
    return exchanges.find(key)?.state.kind === "uncertain" ? "uncertain" : "taken-up";
  }

  /** Of an uncertain exchange: what the upstream says of it by now, in the key's one slot. */
  #askAgain(exchange: Exchange): Flight {
    const { exchanges, flights, standing, questions, clock, health } = this.#setup;
    return flights.begin(exchange.key, exchange, async (recorded) => {
      recorded(true);
      const upstream = exchange.input?.policy.upstream;
      // It is not the upstream that is spared: a question that may not be asked leaves it uncertain.
      if (upstream === undefined || !health.admit(upstreamName(upstream), clock()).admitted) {
        return standing.of(exchange.key);
      }
      const reply = await questions.ask(exchange, upstream);
      // Of an answer that broke off: a person's, which may come next, is no part of it.
      if (exchanges.find(exchange.key)?.state.kind === "uncertain") {
        exchanges.removeChunks(exchange.key);
      }
      return reply;
    });
  }
}
