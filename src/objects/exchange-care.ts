/** What the object's alarm does for its exchanges, in bounded pages: heal, settle, tell and sweep what is due. */
import { sweepRecords } from "../journal/journal.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { EXCHANGE_ALARM_MS, EXCHANGES_PER_ALARM_MAX, SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { ExchangeFlights, Flight } from "./exchange-flights.ts";
import type { Exchange } from "./exchange-record.ts";
import { drain } from "./exchange-reply.ts";
import { postponedSettling, type Settling } from "./exchange-settling.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Telling } from "./exchange-telling.ts";
import type { Exchanges } from "./exchanges.ts";

export type CareSetup = Pick<
  ExchangeSurroundings,
  "databaseFor" | "clock" | "keepAlive" | "alert"
> & {
  readonly exchanges: Exchanges;
  readonly flights: ExchangeFlights;
  readonly settling: Settling;
  readonly telling: Telling;
  /** Takes the key's slot. */
  readonly heal: (exchange: Exchange) => Flight;
};

export class Care {
  readonly #setup: CareSetup;

  constructor(setup: CareSetup) {
    this.#setup = setup;
  }

  /** The alarm's part: heals, settles, tells and sweeps what is due. Never rejects, and waits for no slow upstream. */
  async now(): Promise<void> {
    const { exchanges, flights, clock, alert, keepAlive } = this.#setup;
    const nowMs = clock();
    try {
      const due = exchanges
        .due(nowMs, EXCHANGES_PER_ALARM_MAX)
        .filter(({ key }) => flights.find(key) === undefined);
      const work = Promise.all([
        ...due.map((exchange) => this.#careFor(exchange, nowMs)),
        this.#sweep(due, nowMs),
      ]);
      keepAlive(work.catch(() => undefined));
      await withTimeout(work, EXCHANGE_ALARM_MS);
    } catch (error) {
      alert("exchange-care-failed", { error: String(error) });
    }
  }

  async #careFor(exchange: Exchange, nowMs: number): Promise<void> {
    const { key, state, settling, telling } = exchange;
    const { exchanges } = this.#setup;
    if (settling !== null && settling.dueAtMs <= nowMs) {
      // Before it is sent: whatever becomes of it, the alarm comes back later, and not at once.
      exchanges.update(exchange, (now) =>
        now.settling === null
          ? undefined
          : { exchange: { ...now, settling: postponedSettling(now.settling, nowMs) } },
      );
      await this.#setup.settling.now(key);
    }
    if (telling !== null && telling.dueAtMs <= nowMs) await this.#setup.telling.now(exchange);
    if (state.kind === "calling" || state.kind === "paused")
      await drain(await this.#setup.heal(exchange).reply);
  }

  /** What has expired becomes a tombstone, what is past that goes: in the journal first, then here. */
  async #sweep(due: readonly Exchange[], nowMs: number): Promise<void> {
    const nowS = wholeSeconds(nowMs);
    const old = due.filter(
      ({ state, settling, expiresAtS }) =>
        state.kind === "final" && settling === null && expiresAtS <= nowS,
    );
    const [first] = old;
    if (first === undefined) return;
    const { exchanges, databaseFor } = this.#setup;
    const db = await databaseFor(first.tenant);
    const keys = old.map(({ key }) => key);
    await withTimeout(sweepRecords(db, first.tenant, keys, nowS), SEND_TIMEOUT_MS);
    if (CRASH_POINTS) await crashPoint("sweep");
    for (const exchange of old) {
      if (exchange.forgetAtS <= nowS) exchanges.remove(exchange);
      else exchanges.strip(exchange, "expired");
    }
  }
}
