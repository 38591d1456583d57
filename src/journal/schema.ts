/** Which schema this build needs, and whether a database has it. */
import { withTimeout } from "../kernel/timeout.ts";
import type { Database } from "./database.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";

/** The newest file of `migrations/`; a test compares. */
export const NEWEST_MIGRATION = "0005_housekeeping.sql";

/** The migration that is not applied yet, undefined if all are. Throws if the database does not answer. */
export const missingMigration = async (db: Database): Promise<string | undefined> => {
  try {
    const applied = db
      .prepare("SELECT 1 FROM d1_migrations WHERE name = ?")
      .bind(NEWEST_MIGRATION)
      .first();
    return (await withTimeout(applied, SEND_TIMEOUT_MS)) === null ? NEWEST_MIGRATION : undefined;
  } catch (error) {
    // Before the first migration, not even the table that counts them is there.
    if (String(error).includes("no such table")) return "0001_journal.sql";
    throw error;
  }
};
