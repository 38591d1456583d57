/** The journal's row of a key, for an exchange that is not in the object that was asked. */
import { findRecords } from "../journal/journal.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";

export const findEntry = async (
  databaseFor: ExchangeSurroundings["databaseFor"],
  tenant: string,
  key: string,
): Promise<JournalEntry | undefined | "unavailable"> => {
  try {
    const db = await databaseFor(tenant);
    return (await withTimeout(findRecords(db, tenant, [key]), SEND_TIMEOUT_MS)).get(key);
  } catch {
    return "unavailable";
  }
};
