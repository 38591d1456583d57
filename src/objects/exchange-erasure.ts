/** Erases the stored answer of a key on request: the journal first, then the object's copy. The key stays used. */
import type { SettledRecord } from "../idempotency/key-record.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import { eraseRecord } from "../journal/journal.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Settling } from "./exchange-settling.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Exchanges } from "./exchanges.ts";
import type { Erasure } from "./key-call.ts";

export type ErasingSetup = Pick<ExchangeSurroundings, "databaseFor" | "clock"> & {
  readonly exchanges: Exchanges;
  readonly settling: Settling;
};

export class Erasing {
  readonly #setup: ErasingSetup;

  constructor(setup: ErasingSetup) {
    this.#setup = setup;
  }

  /** Erases the stored answer: the journal first, then here. Undefined if this object has no such exchange. */
  async erase(key: string, by: AuditActor): Promise<Erasure | undefined> {
    const { exchanges, settling, databaseFor, clock } = this.#setup;
    const exchange = exchanges.find(key);
    if (exchange === undefined) return undefined;
    if (exchange.state.kind !== "final") return { kind: "in-flight" };
    try {
      // A row that is still in flight would not be erased.
      if (exchange.settling !== null) await settling.now(key);
      const db = await databaseFor(exchange.tenant);
      const erased = eraseRecord(db, exchange.tenant, key, by, clock());
      const entry = await withTimeout(erased, SEND_TIMEOUT_MS);
      if (entry === undefined || entry.record.state === "in-flight") return { kind: "unavailable" };
      if (entry.record.state === "uncertain") return { kind: "in-flight" };
      this.eraseCopy(key);
      return {
        kind: "erased",
        object: entry.object,
        record: entry.record satisfies SettledRecord,
        forgetAtS: entry.forgetAtS,
      };
    } catch {
      return { kind: "unavailable" };
    }
  }

  /** Also called where another object was asked: keys may be spread anew between the claim and the erasure. */
  eraseCopy(key: string): void {
    const { exchanges } = this.#setup;
    const exchange = exchanges.find(key);
    if (exchange?.state.kind === "final" && exchange.left === "whole") {
      exchanges.strip(exchange, "erased");
    }
  }
}
