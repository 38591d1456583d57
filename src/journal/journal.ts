/** Reads and sweeps of the journal. Claims are made by the group commit alone. */
import { z } from "zod";
import { ORPHAN_AGE_MS, ORPHANS_PER_STEP_MAX, SWEEP_OVERDUE_SECONDS } from "../kernel/limits.ts";
import { type Sql, sql, trusted } from "../kernel/sql.ts";
import { keyHash } from "../kernel/hash.ts";
import { type AuditActor, auditNote } from "./audit-log.ts";
import { noteSize } from "./capacity.ts";
import { type Database, statement } from "./database.ts";
import { type JournalEntry, parseRecordRow } from "./record-row.ts";
import { RECORD_COLUMNS } from "./statements.ts";

const these = (tenant: string, keys: readonly string[]): Sql =>
  sql`tenant = ${tenant} AND key IN (SELECT value FROM json_each(${JSON.stringify(keys)}))`;

const selectRecords = (db: Database, rows: Sql): D1PreparedStatement =>
  statement(db, sql`SELECT ${RECORD_COLUMNS} FROM journal WHERE ${rows}`);

/** The rows of some keys, by key, read from the primary. */
export const findRecords = async (
  db: Database,
  tenant: string,
  keys: readonly string[],
): Promise<Map<string, JournalEntry>> => {
  const found = await selectRecords(db, these(tenant, keys)).all();
  noteSize(db, [found]);
  const entries = found.results.map(parseRecordRow);
  return new Map(entries.map((entry) => [entry.key, entry]));
};

/**
 * Whether there is any row of a tenant, in whatever table: keys are forgotten after a month, and what they made stays.
 * A table is a tenant's if it has a column of that name. What only tells of such rows has no index by tenant, and is not asked.
 */
export const holdsTenant = async (db: Database, tenant: string): Promise<boolean> => {
  const tables = statement(
    db,
    sql`SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 4) <> '_cf_' AND name NOT IN ('audit', 'issues') AND EXISTS (SELECT 1 FROM pragma_table_info(sqlite_schema.name) AS info WHERE info.name = 'tenant')`,
  );
  const { results } = await tables.all<{ name: string }>();
  for (const { name } of results) {
    const table = trusted(`"${name.replaceAll('"', '""')}"`);
    const row = statement(db, sql`SELECT 1 FROM ${table} WHERE tenant = ${tenant} LIMIT 1`);
    if ((await row.all()).results.length > 0) return true;
  }
  return false;
};

/** What expires and is forgotten, by the rows' own times: one rule for the alarms and for the slow pass. */
const sweepStatements = (db: Database, rows: Sql, nowS: number): D1PreparedStatement[] => [
  statement(
    db,
    sql`DELETE FROM journal WHERE ${rows} AND state IN ('final', 'erased', 'expired') AND forget_at_s <= ${nowS}`,
  ),
  statement(
    db,
    sql`UPDATE journal SET state = 'expired', headers = NULL, body = NULL, members = NULL WHERE ${rows} AND state IN ('final', 'erased') AND expires_at_s <= ${nowS}`,
  ),
];

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
  await db.batch(sweepStatements(db, these(tenant, keys), nowS));
};

/** A place in the journal's primary key. */
export type JournalPlace = { readonly tenant: string; readonly key: string };

/** A claim that has been in flight for long, and the object that should care for it. */
export type Orphan = JournalPlace & { readonly object: string };

/**
 * The slow pass: sweeps the next rows after a place, whosever they are. It catches what lost its object, and its copy
 * with it, and says which claims of theirs have been in flight for long. `reached` is where it stopped; undefined at the
 * end of the journal.
 */
export const sweepAfter = async (
  db: Database,
  { tenant, key }: JournalPlace,
  limit: number,
  nowS: number,
): Promise<{
  readonly reached: JournalPlace | undefined;
  readonly orphans: readonly Orphan[];
}> => {
  const { results } = await statement(
    db,
    sql`SELECT tenant, key FROM journal WHERE (tenant, key) > (${tenant}, ${key}) ORDER BY tenant, key LIMIT 1 OFFSET ${limit - 1}`,
  ).all<JournalPlace>();
  const [last] = results;
  const until =
    last === undefined ? sql`true` : sql`(tenant, key) <= (${last.tenant}, ${last.key})`;
  const rows = sql`(tenant, key) > (${tenant}, ${key}) AND ${until}`;
  const swept = await db.batch<Orphan>([
    ...sweepStatements(db, rows, nowS),
    statement(
      db,
      sql`SELECT tenant, key, object FROM journal WHERE ${rows} AND state = 'in-flight' AND created_at_ms < ${nowS * 1000 - ORPHAN_AGE_MS} LIMIT ${ORPHANS_PER_STEP_MAX}`,
    ),
  ]);
  return { reached: last, orphans: z.array(orphanRow).parse(swept.at(-1)?.results) };
};

const orphanRow = z.object({ tenant: z.string(), key: z.string(), object: z.string() });
/**
 * Sweeps what should have been swept long ago, between two places. Returns how many rows that were.
 * @param after the place before the first, `until` is the last
 */
export const sweepOverdue = async (
  db: Database,
  after: JournalPlace,
  until: JournalPlace,
  nowS: number,
): Promise<number> => {
  const rows = sql`(tenant, key) > (${after.tenant}, ${after.key}) AND (tenant, key) <= (${until.tenant}, ${until.key})`;
  const results = await db.batch(sweepStatements(db, rows, nowS - SWEEP_OVERDUE_SECONDS));
  return results.reduce((sum, { meta }) => sum + meta.changes, 0);
};

/** Erases the stored answer of a key, and says what is left. Undefined if there is no such key. Safe to repeat. */
export const eraseRecord = async (
  db: Database,
  tenant: string,
  key: string,
  by: AuditActor,
  nowMs: number,
): Promise<JournalEntry | undefined> => {
  const row = these(tenant, [key]);
  const note = auditNote(
    {
      ...by,
      atMs: nowMs,
      tenant,
      kind: "erasure",
      operation: "idempotency-keys.erase",
      keyHash: keyHash(tenant, key),
    },
    sql`EXISTS (SELECT 1 FROM journal WHERE ${row} AND state = 'final')`,
  );
  // One transaction: a row that commits between the two would be read, and not be erased.
  const [, , left] = await db.batch([
    statement(db, note),
    statement(
      db,
      sql`UPDATE journal SET state = 'erased', headers = NULL, body = NULL, members = NULL WHERE ${row} AND state = 'final'`,
    ),
    selectRecords(db, row),
  ]);
  return left?.results.map(parseRecordRow)[0];
};

/** States that a list can be asked for, and the stored ones behind them. */
export const LISTED_STATES = ["in-flight", "completed", "expired", "uncertain"] as const;
export type ListedState = (typeof LISTED_STATES)[number];

/**
 * A keyset page of a tenant's keys in one state, by key. Rare states lie far apart, and there is no index to find them
 * by: at most `scan` rows are looked at, so a page may be short and yet have a next one.
 */
export const listRecords = async (
  db: Database,
  tenant: string,
  state: ListedState,
  { after, limit, scan, nowS }: { after: string; limit: number; scan: number; nowS: number },
): Promise<{ readonly entries: JournalEntry[]; readonly next: string | null }> => {
  const inState = {
    "in-flight": sql`state = 'in-flight'`,
    uncertain: sql`state = 'uncertain'`,
    completed: sql`state IN ('final', 'erased') AND expires_at_s > ${nowS}`,
    expired: sql`(state = 'expired' OR (state IN ('final', 'erased') AND expires_at_s <= ${nowS}))`,
  }[state];
  const scanned = sql`SELECT * FROM journal WHERE tenant = ${tenant} AND key > ${after} ORDER BY key LIMIT ${scan}`;
  const [found, end] = await db.batch<Record<string, unknown>>([
    statement(
      db,
      sql`SELECT ${RECORD_COLUMNS} FROM (${scanned}) WHERE ${inState} ORDER BY key LIMIT ${limit + 1}`,
    ),
    statement(db, sql`SELECT COUNT(*) AS count, MAX(key) AS last FROM (${scanned})`),
  ]);
  const all = (found?.results ?? []).map(parseRecordRow);
  const entries = all.slice(0, limit);
  const { count, last } = scanEnd.parse(end?.results[0]);
  if (all.length > limit) return { entries, next: entries.at(-1)?.key ?? null };
  return { entries, next: count === scan ? last : null };
};

const scanEnd = z.object({ count: z.number(), last: z.string().nullable() });
