/**
 * How large a database is, as it said with its last answer. A database that is nearly full takes no new keys: an
 * effect that can still be refused is better than an outcome that can no longer be written. An isolate that has had no
 * answer yet takes the first key that comes: the bound leaves room for that.
 */
import { RETRY_FULL_MS } from "../kernel/limits.ts";
import type { Database } from "./database.ts";

/** In production one for each binding and isolate: all objects of an isolate share its bindings. */
const sizes = new WeakMap<Database, number>();

/** @param results what the database has just answered */
export const noteSize = (db: Database, results: readonly D1Result[]): void => {
  const bytes = results.at(-1)?.meta.size_after;
  if (bytes !== undefined) sizes.set(db, bytes);
};

/** When it last refused to grow. */
const refusedAtMs = new WeakMap<Database, number>();

/** @param message of a failed batch */
export const noteFailure = (db: Database, message: string, nowMs: number): void => {
  if (/database or disk is full|SQLITE_FULL|maximum DB size|account storage limit/i.test(message)) {
    refusedAtMs.set(db, nowMs);
  }
};

/** @param bytesMax from which size on no new key is taken; what the database itself has refused counts for a while */
export const isNearlyFull = (db: Database, bytesMax: number, nowMs: number): boolean =>
  (sizes.get(db) ?? 0) >= bytesMax || nowMs < (refusedAtMs.get(db) ?? -Infinity) + RETRY_FULL_MS;
