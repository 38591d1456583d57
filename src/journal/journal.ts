/** Reads and sweeps of the journal. Claims are made by the group commit alone. */
import { joinSql, sql, trusted } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";
import { type JournalEntry, parseRecordRow } from "./record-row.ts";
import { RECORD_COLUMNS } from "./statements.ts";

/** The rows of some keys, by key, read from the primary. */
export const findRecords = async (
  db: Database,
  tenant: string,
  keys: readonly string[],
): Promise<Map<string, JournalEntry>> => {
  const { results } = await statement(
    db,
    sql`SELECT ${RECORD_COLUMNS} FROM journal WHERE tenant = ${tenant} AND key IN (SELECT value FROM json_each(${JSON.stringify(keys)}))`,
  ).all();
  const entries = results.map(parseRecordRow);
  return new Map(entries.map((entry) => [entry.key, entry]));
};

/**
 * Erases the answers of expired keys and forgets the tombstones that are due. Only what is due by the row's
 * own times is touched, whatever the caller believes, so that running it twice, late or for the wrong keys
 * does no harm. A row in flight or uncertain is left alone.
 */
export const sweepRecords = async (
  db: Database,
  tenant: string,
  keys: readonly string[],
  nowS: number,
): Promise<void> => {
  const mine = sql`tenant = ${tenant} AND key IN (SELECT value FROM json_each(${JSON.stringify(keys)}))`;
  const settled = trusted("state IN ('final', 'expired')");
  await db.batch([
    statement(
      db,
      sql`DELETE FROM journal WHERE ${joinSql([mine, settled, sql`forget_at_s <= ${nowS}`], " AND ")}`,
    ),
    statement(
      db,
      sql`UPDATE journal SET state = 'expired', headers = NULL, body = NULL, members = NULL WHERE ${mine} AND state = 'final' AND expires_at_s <= ${nowS}`,
    ),
  ]);
};
