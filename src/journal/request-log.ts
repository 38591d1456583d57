/**
 * Requests as the audit log tells of them, for operators: newest first, or all that concerns one key. The log has no
 * index but its sequence, which is the order of commits and so nearly that of time: places are found by halving, and
 * every statement looks at a bounded number of rows, however long the log is.
 */
import { z } from "zod";
import { CONSOLE_SCAN_ROWS, CONSOLE_TALLIES_MAX, CONSOLE_WINDOW_ROWS } from "../kernel/limits.ts";
import { type Sql, sql, trusted } from "../kernel/sql.ts";
import { AUDIT_COLUMNS, parseAuditRow } from "./audit-log.ts";
import type { AuditKind, AuditRow } from "./audit-row.ts";
import { type Database, statement } from "./database.ts";

export type RequestFilter = {
  readonly kinds: readonly AuditKind[];
  readonly tenant: string | undefined;
  readonly operation: string | undefined;
  /** Milliseconds; before it nothing is shown. */
  readonly fromMs: number;
};

export type RequestPage = {
  readonly rows: readonly AuditRow[];
  /** `before` of the next page; null at the end. */
  readonly next: number | null;
};

const among = (values: readonly string[]): Sql =>
  sql`IN (SELECT value FROM json_each(${JSON.stringify(values)}))`;

/** A page of rows before a number, newest first. Rare rows lie far apart: a page may be short and yet have a next one. */
export const listRequests = async (
  db: Database,
  filter: RequestFilter,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<RequestPage> => {
  const scanned = sql`SELECT * FROM audit WHERE seq < ${before} ORDER BY seq DESC LIMIT ${CONSOLE_SCAN_ROWS}`;
  const wanted = sql`kind ${among(filter.kinds)} AND at_ms >= ${filter.fromMs}
    AND ${filter.tenant === undefined ? sql`true` : sql`tenant = ${filter.tenant}`}
    AND ${filter.operation === undefined ? sql`true` : sql`operation = ${filter.operation}`}`;
  const [found, end] = await db.batch<Record<string, unknown>>([
    statement(
      db,
      sql`SELECT ${AUDIT_COLUMNS} FROM (${scanned}) WHERE ${wanted} ORDER BY seq DESC LIMIT ${limit + 1}`,
    ),
    statement(
      db,
      sql`SELECT MIN(seq) AS seq, MIN(at_ms) AS at_ms FROM (SELECT seq, at_ms FROM (${scanned}) ORDER BY seq LIMIT 1)`,
    ),
  ]);
  const all = (found?.results ?? []).map(parseAuditRow);
  const rows = all.slice(0, limit);
  if (all.length > limit) return { rows, next: rows.at(-1)?.seq ?? null };
  const last = scanEnd.parse(end?.results[0]);
  const isOver = last.seq === null || last.seq <= 1 || (last.at_ms ?? 0) < filter.fromMs;
  return { rows, next: isOver ? null : last.seq };
};

const scanEnd = z.object({ seq: z.number().nullable(), at_ms: z.number().nullable() });

export const findAuditRow = async (db: Database, seq: number): Promise<AuditRow | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT ${AUDIT_COLUMNS} FROM audit WHERE seq = ${seq}`,
  ).all();
  return results[0] === undefined ? undefined : parseAuditRow(results[0]);
};

/** The first row that is not before a time, by halving: at most as many looks as the number of rows has binary digits. */
const placeOf = (timeMs: number): Sql => sql`SELECT lo FROM (
  WITH RECURSIVE half(lo, hi) AS (
    SELECT 1, COALESCE((SELECT MAX(seq) FROM audit), 0) + 1
    UNION ALL
    SELECT CASE WHEN a.at_ms < ${timeMs} THEN a.seq + 1 ELSE lo END, CASE WHEN a.at_ms < ${timeMs} THEN hi ELSE a.seq END
    FROM half JOIN audit AS a ON a.seq = (lo + hi) / 2 WHERE lo < hi)
  SELECT lo FROM half WHERE lo >= hi LIMIT 1)`;

/** `before` of a page that begins at a time. */
export const placeAt = async (db: Database, timeMs: number): Promise<number> => {
  const { results } = await statement(db, placeOf(timeMs)).all();
  return z.object({ lo: z.number() }).parse(results[0] ?? { lo: 1 }).lo;
};

/** The row of a key's claim, near the time that its journal row says. */
export const findClaim = async (
  db: Database,
  keyHash: string,
  createdAtMs: number,
): Promise<AuditRow | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT ${AUDIT_COLUMNS} FROM audit, (${placeOf(createdAtMs)}) AS place
WHERE seq BETWEEN place.lo - ${CONSOLE_WINDOW_ROWS} AND place.lo + ${CONSOLE_WINDOW_ROWS}
  AND key_hash = ${keyHash} AND kind IN ('effect', 'refusal', 'started') ORDER BY seq LIMIT 1`,
  ).all();
  return results[0] === undefined ? undefined : parseAuditRow(results[0]);
};

/** The newest row that a request made, among the newest rows: there is no index by request id. */
export const findByRequestId = async (
  db: Database,
  requestId: string,
): Promise<AuditRow | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT ${AUDIT_COLUMNS} FROM (SELECT * FROM audit ORDER BY seq DESC LIMIT ${CONSOLE_SCAN_ROWS})
WHERE request_id = ${requestId} AND key_hash IS NOT NULL LIMIT 1`,
  ).all();
  return results[0] === undefined ? undefined : parseAuditRow(results[0]);
};

/** What happened to a key after its claim: its other rows, and the grouped rows that count it. */
export const followClaim = async (
  db: Database,
  claim: AuditRow,
): Promise<{ readonly rows: readonly AuditRow[]; readonly isWhole: boolean }> => {
  const hash = claim.keyHash ?? "";
  const until = claim.seq + CONSOLE_SCAN_ROWS;
  const [found, newest] = await db.batch<Record<string, unknown>>([
    statement(
      db,
      sql`SELECT ${AUDIT_COLUMNS} FROM audit WHERE seq > ${claim.seq} AND seq <= ${until}
  AND (key_hash = ${hash} OR (kind = 'tally' AND tenant = ${claim.tenant} AND json_type(detail, ${`$.keys."${hash}"`}) IS NOT NULL))
ORDER BY seq LIMIT 100`,
    ),
    statement(db, sql`SELECT COALESCE(MAX(seq), 0) AS lo FROM audit`),
  ]);
  const last = z.object({ lo: z.number() }).parse(newest?.results[0]).lo;
  return { rows: (found?.results ?? []).map(parseAuditRow), isWhole: last <= until };
};

const barRow = z.object({
  bar: z.number(),
  effects: z.number(),
  refusals: z.number(),
  failed: z.number(),
  p50: z.number().nullable(),
  p95: z.number().nullable(),
});
export type Bar = z.output<typeof barRow>;

const tallyRow = z.object({ at_ms: z.number(), detail: z.string() });

export type Activity = {
  /** By `bar`: whole numbers of `barMs` since the epoch; those without a row are left out. */
  readonly bars: readonly Bar[];
  readonly tallies: readonly { readonly atMs: number; readonly detail: unknown }[];
  /** If there were more rows than are looked at: from when on they were. */
  readonly sinceMs: number | null;
};

/** What went on since a time, of the newest rows, in bars of equal length. A bound number is no integer: hence the cast. */
export const readActivity = async (
  db: Database,
  fromMs: number,
  barMs: number,
): Promise<Activity> => {
  const newest = sql`SELECT * FROM audit ORDER BY seq DESC LIMIT ${CONSOLE_SCAN_ROWS}`;
  const [bars, tallies, start] = await db.batch<Record<string, unknown>>([
    statement(
      db,
      sql`WITH timed AS (SELECT CAST(at_ms / ${barMs} AS INTEGER) AS bar, kind, status, detail ->> 'ms' AS ms FROM (${newest})
  WHERE at_ms >= ${fromMs} AND kind IN ('effect', 'refusal', 'outcome')),
ranked AS (SELECT bar, kind, status, ms, ROW_NUMBER() OVER (PARTITION BY bar ORDER BY ms NULLS LAST) AS place, COUNT(ms) OVER (PARTITION BY bar) AS count FROM timed)
SELECT bar, SUM(kind <> 'refusal') AS effects, SUM(kind = 'refusal') AS refusals, COALESCE(SUM(status >= 500), 0) AS failed,
  MIN(CASE WHEN place * 2 >= count THEN ms END) AS p50, MIN(CASE WHEN place * 20 >= count * 19 THEN ms END) AS p95
FROM ranked GROUP BY bar ORDER BY bar`,
    ),
    statement(
      db,
      sql`SELECT at_ms, detail FROM (${newest}) WHERE kind = 'tally' AND at_ms >= ${fromMs} LIMIT ${CONSOLE_TALLIES_MAX}`,
    ),
    statement(
      db,
      sql`SELECT MIN(seq) AS seq, MIN(at_ms) AS at_ms FROM (SELECT seq, at_ms FROM (${newest}) ORDER BY seq LIMIT 1)`,
    ),
  ]);
  const first = scanEnd.parse(start?.results[0]);
  const isCut = (first.seq ?? 1) > 1 && (first.at_ms ?? 0) > fromMs;
  return {
    bars: (bars?.results ?? []).map((row) => barRow.parse(row)),
    tallies: (tallies?.results ?? []).map((row) => {
      const { at_ms: atMs, detail } = tallyRow.parse(row);
      return { atMs, detail: JSON.parse(detail) as unknown };
    }),
    sinceMs: isCut ? first.at_ms : null,
  };
};

/** The condition of the index `journal_open`, as it must stand in a query that uses it. */
const OPEN = trusted("state IN ('in-flight', 'uncertain')");

const openRow = z.object({
  tenant: z.string(),
  key: z.string(),
  operation: z.string(),
  state: z.enum(["in-flight", "uncertain"]),
  attempt: z.number(),
  created_at_ms: z.number(),
});
export type OpenKey = z.output<typeof openRow>;

/** Where a page of open keys ends: the oldest come first. */
export type OpenPlace = Pick<OpenKey, "created_at_ms" | "tenant" | "key">;

export type OpenFilter = {
  readonly state: OpenKey["state"];
  readonly tenant: string | undefined;
  readonly operation: string | undefined;
};

/** A keyset page of keys whose outcome is open, oldest first. Rare ones lie far apart: a page may be short and yet have a next. */
export const listOpenKeys = async (
  db: Database,
  { state, tenant, operation }: OpenFilter,
  { after, limit }: { readonly after: OpenPlace | undefined; readonly limit: number },
): Promise<{ readonly data: readonly OpenKey[]; readonly next: OpenPlace | null }> => {
  const behind =
    after === undefined
      ? sql`true`
      : sql`(created_at_ms, tenant, key) > (${after.created_at_ms}, ${after.tenant}, ${after.key})`;
  const isFiltered = tenant !== undefined || operation !== undefined;
  const scan = isFiltered ? CONSOLE_SCAN_ROWS : limit + 1;
  const { results } = await statement(
    db,
    sql`SELECT tenant, key, operation, state, attempt, created_at_ms FROM journal WHERE ${OPEN} AND state = ${state} AND ${behind}
ORDER BY created_at_ms, tenant, key LIMIT ${scan}`,
  ).all();
  const scanned = results.map((row) => openRow.parse(row));
  const wanted = scanned.filter(
    (one) =>
      (tenant === undefined || one.tenant === tenant) &&
      (operation === undefined || one.operation === operation),
  );
  const data = wanted.slice(0, limit);
  const last = wanted.length > limit ? data.at(-1) : undefined;
  if (last !== undefined) return { data, next: last };
  return { data, next: scanned.length < scan ? null : (scanned.at(-1) ?? null) };
};

const openCounts = z.object({
  inFlight: z.number(),
  uncertain: z.number(),
  stuck: z.number(),
});

/** How many keys are open; those in flight since before a time are stuck. */
export const countOpenKeys = async (
  db: Database,
  stuckBeforeMs: number,
): Promise<z.output<typeof openCounts>> => {
  const { results } = await statement(
    db,
    sql`SELECT COALESCE(SUM(state = 'in-flight'), 0) AS inFlight, COALESCE(SUM(state = 'uncertain'), 0) AS uncertain,
  COALESCE(SUM(state = 'in-flight' AND created_at_ms < ${stuckBeforeMs}), 0) AS stuck FROM journal WHERE ${OPEN}`,
  ).all();
  return openCounts.parse(results[0]);
};
