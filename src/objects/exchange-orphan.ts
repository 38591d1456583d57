/** A claim that has been in flight for long: is it cared for here, or did its object die before it called? */
import { releaseClaim } from "../journal/settlements.ts";
import { ORPHAN_AGE_MS, SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { findEntry } from "./exchange-entry.ts";
import type { ExchangeFlights } from "./exchange-flights.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";

export type OrphansSetup = Pick<
  ExchangeSurroundings,
  "databaseFor" | "alarm" | "alert" | "clock" | "steps"
> & {
  readonly exchanges: Exchanges;
  readonly flights: ExchangeFlights;
};

export class Orphans {
  readonly #setup: OrphansSetup;

  constructor(setup: OrphansSetup) {
    this.#setup = setup;
  }

  /** Asked by the hourly pass after a claim that has been in flight for long: released if nobody ever called for it. */
  async recover(tenant: string, key: string, object: string): Promise<void> {
    const { exchanges, flights, steps, alarm, clock, databaseFor, alert } = this.#setup;
    await alarm.load();
    if (flights.find(key) !== undefined) return;
    if (exchanges.find(key) !== undefined) {
      // It is cared for; but the alarm may have been lost with a write that failed, or with a restored database the
      // journal's word that it has the outcome.
      exchanges.settleAnew(key, clock());
      const dueAtMs = exchanges.nextDueAtMs();
      if (dueAtMs !== undefined) await alarm.noLaterThan(dueAtMs);
      return;
    }
    const entry = await findEntry(databaseFor, tenant, key);
    if (entry === undefined || entry === "unavailable") return;
    const { record, createdAtMs } = entry;
    if (record.state !== "in-flight" || entry.object !== object) return;
    if (clock() - createdAtMs < ORPHAN_AGE_MS) return;
    // A request came meanwhile, and takes it over.
    if (flights.find(key) !== undefined || exchanges.find(key) !== undefined) return;
    const db = await databaseFor(tenant);
    const effects = steps.releaseOf(entry, clock());
    await withTimeout(releaseClaim(db, { tenant, key }, entry, effects, clock()), SEND_TIMEOUT_MS);
    alert("orphaned-claim-released", { operation: entry.operation });
  }
}
