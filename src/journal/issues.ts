/**
 * Issues: what a person should look at. One row for each thing that is wrong, however often it is found. What is found
 * again after it was resolved is open again; what is acknowledged stays so. Every change of state is a row of the audit
 * log, in the same transaction; asked for twice it is one.
 */
import { z } from "zod";
import { sha256 } from "../kernel/hash.ts";
import { type Sql, sql } from "../kernel/sql.ts";
import { type AuditActor, auditNote, BY_SERVICE } from "./audit-log.ts";
import { type Database, statement } from "./database.ts";

export const ISSUE_STATES = ["open", "acknowledged", "resolved"] as const;
export type IssueState = (typeof ISSUE_STATES)[number];

/** Something that is wrong. */
export type Discrepancy = {
  readonly kind: string;
  /** Empty for what concerns no tenant. */
  readonly tenant: string;
  /** What it is about; with kind and tenant it tells one issue from another. */
  readonly subject: string;
  /** A sentence, with figures. */
  readonly what: string;
  /** Of work that is open: whose it is, and where it can be taken up again. */
  readonly work?: { readonly key: string; readonly object: string };
};

export type Issue = Omit<Discrepancy, "work"> & {
  readonly id: string;
  /** Null where no work is open, or none is known of. */
  readonly key: string | null;
  readonly object: string | null;
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  readonly times: number;
  readonly state: IssueState;
  readonly changedBy: string | null;
  readonly changedAtMs: number | null;
  readonly reason: string | null;
};

/** The assignments of a new state: of what is resolved the key is not kept. */
export const stateIs = (state: IssueState): Sql =>
  state === "resolved" ? sql`state = 'resolved', key = NULL, object = NULL` : sql`state = ${state}`;

const ID_DIGITS = 32;

export const issueId = ({
  kind,
  tenant,
  subject,
}: Pick<Discrepancy, "kind" | "tenant" | "subject">): string =>
  sha256("latchkey-issue", kind, tenant, subject).slice(0, ID_DIGITS);

/** Raises an issue for each, or says of the one that is there that it was seen again. */
export const raiseIssues = async (
  db: Database,
  found: readonly Discrepancy[],
  nowMs: number,
): Promise<void> => {
  if (found.length === 0) return;
  const rows = found.map((one) => ({ id: issueId(one), ...one }));
  await statement(
    db,
    sql`INSERT INTO issues (id, kind, tenant, subject, what, key, object, first_seen_ms, last_seen_ms)
SELECT value ->> 'id', value ->> 'kind', value ->> 'tenant', value ->> 'subject', value ->> 'what', value ->> '$.work.key', value ->> '$.work.object', ${nowMs}, ${nowMs}
FROM json_each(${JSON.stringify(rows)}) WHERE true
ON CONFLICT (id) DO UPDATE SET what = excluded.what, key = excluded.key, object = excluded.object, last_seen_ms = excluded.last_seen_ms, times = times + 1,
  state = CASE state WHEN 'resolved' THEN 'open' ELSE state END`,
  ).run();
};

/**
 * Resolves what a whole pass has not seen any more.
 * @param kinds what the pass looks for
 * @param sinceMs when it began
 */
export const resolveUnseen = async (
  db: Database,
  kinds: readonly string[],
  sinceMs: number,
  nowMs: number,
): Promise<void> => {
  const reason = "Not found any more.";
  const gone = sql`state <> 'resolved' AND last_seen_ms < ${sinceMs} AND kind IN (SELECT value FROM json_each(${JSON.stringify(kinds)}))`;
  await db.batch(
    [
      sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail)
SELECT ${nowMs}, tenant, 'resolution', 'issues.resolve', ${BY_SERVICE.actor}, '', json_object('issue', id, 'kind', kind, 'reason', ${reason})
FROM issues WHERE ${gone}`,
      sql`UPDATE issues SET ${stateIs("resolved")}, changed_by = ${BY_SERVICE.actor}, changed_at_ms = ${nowMs}, reason = ${reason} WHERE ${gone}`,
    ].map((one) => statement(db, one)),
  );
};

const issueRow = z
  .object({
    id: z.string(),
    kind: z.string(),
    tenant: z.string(),
    subject: z.string(),
    what: z.string(),
    key: z.string().nullable(),
    object: z.string().nullable(),
    first_seen_ms: z.number(),
    last_seen_ms: z.number(),
    times: z.number(),
    state: z.enum(ISSUE_STATES),
    changed_by: z.string().nullable(),
    changed_at_ms: z.number().nullable(),
    reason: z.string().nullable(),
  })
  .transform(
    ({
      first_seen_ms: firstSeenMs,
      last_seen_ms: lastSeenMs,
      changed_by: changedBy,
      changed_at_ms: changedAtMs,
      ...issue
    }): Issue => ({ ...issue, firstSeenMs, lastSeenMs, changedBy, changedAtMs }),
  );

export const parseIssue = (row: unknown): Issue => issueRow.parse(row);

/** A keyset page, by id. */
export const listIssues = async (
  db: Database,
  { state, after, limit }: { state: IssueState | undefined; after: string; limit: number },
): Promise<{ readonly data: Issue[]; readonly next: string | null }> => {
  const inState = state === undefined ? sql`true` : sql`state = ${state}`;
  const { results } = await statement(
    db,
    sql`SELECT * FROM issues WHERE id > ${after} AND ${inState} ORDER BY id LIMIT ${limit + 1}`,
  ).all();
  const all = results.map(parseIssue);
  const data = all.slice(0, limit);
  return { data, next: all.length > limit ? (data.at(-1)?.id ?? null) : null };
};

/** How many issues of each kind are not resolved. */
export const countOpenIssues = async (db: Database): Promise<Record<string, number>> => {
  const { results } = await statement(
    db,
    sql`SELECT kind, COUNT(*) AS count FROM issues WHERE state <> 'resolved' GROUP BY kind`,
  ).all();
  const rows = z.array(z.object({ kind: z.string(), count: z.number() })).parse(results);
  return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]));
};

/**
 * Changes an issue's state, and says what it is then; undefined if there is no such issue. What is in that state
 * already is left as it is, with the reason that it has.
 */
export const changeIssue = async (
  db: Database,
  id: string,
  change: { readonly state: IssueState; readonly reason: string | null },
  by: AuditActor,
  nowMs: number,
): Promise<Issue | undefined> => {
  const { state, reason } = change;
  const changes = sql`id = ${id} AND state <> ${state}`;
  const note = auditNote(
    {
      ...by,
      atMs: nowMs,
      tenant: "",
      kind: state === "resolved" ? "resolution" : "action",
      operation: "ops.issue-change",
      detail: { issue: id, state, reason },
    },
    sql`EXISTS (SELECT 1 FROM issues WHERE ${changes})`,
  );
  const [, , left] = await db.batch(
    [
      note,
      sql`UPDATE issues SET ${stateIs(state)}, changed_by = ${by.actor}, changed_at_ms = ${nowMs}, reason = ${reason} WHERE ${changes}`,
      sql`SELECT * FROM issues WHERE id = ${id}`,
    ].map((one) => statement(db, one)),
  );
  const [row] = left?.results ?? [];
  return row === undefined ? undefined : parseIssue(row);
};
