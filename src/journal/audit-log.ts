/**
 * The audit log's rows, and who writes them. A row is written in the transaction that makes what it tells of, and under
 * the same condition, so there is one row for each, however often a batch is sent or delivered. Rows are never changed.
 *
 * No value of a request is in it, no answer and no key: the key's hash, the operation, the outcome, and what was made.
 */
import { z } from "zod";
import type { JsonObject } from "../kernel/json.ts";
import { keyHash } from "../kernel/hash.ts";
import { type Sql, sql, trusted } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";
import type { Send } from "./statements.ts";

export const AUDIT_KINDS = [
  "effect",
  "refusal",
  "started",
  "outcome",
  "resolution",
  "erasure",
  "action",
  "read",
  "tally",
] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

/** Who asks for something that is audited, and under which request. */
export type AuditActor = {
  /** See `audit.actor` in the migration. */
  readonly actor: string;
  readonly requestId: string;
};

/** What the service does by itself. */
export const BY_SERVICE: AuditActor = { actor: "service", requestId: "" };

export type AuditRow = {
  readonly seq: number;
  readonly atMs: number;
  readonly tenant: string;
  readonly kind: AuditKind;
  readonly operation: string;
  readonly actor: string;
  readonly requestId: string;
  readonly keyHash: string | null;
  readonly status: number | null;
  readonly code: string | null;
  readonly link: string | null;
  /** JSON, as it was written. */
  readonly detail: string | null;
};

/** A row that is about no claim of a key. */
export type AuditNote = AuditActor & {
  readonly atMs: number;
  readonly tenant: string;
  readonly kind: AuditKind;
  readonly operation: string;
  readonly keyHash?: string | null;
  readonly status?: number | null;
  readonly code?: string | null;
  readonly link?: string | null;
  readonly detail?: JsonObject;
};

/**
 * The last statement of a group's batch: a row for each of its claims. It asks for each send's own nonce and its first
 * delivery, like the effects do, so what comes late or twice adds nothing; and a claim that was not made has no row.
 * `ms` is from the request's start by the Worker's clock to the commit by the database's: to see how it goes, not to
 * decide anything by.
 */
export const auditOfGroup = (sends: readonly Send[]): Sql => {
  const claims = sends.map(({ submission, nonce }) => ({
    t: submission.tenant,
    k: submission.key,
    n: nonce,
    h: keyHash(submission.tenant, submission.key),
    a: submission.by.actor,
    r: submission.by.requestId,
  }));
  return sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail)
SELECT j.created_at_ms, j.tenant, CASE WHEN j.state = 'in-flight' THEN 'started' WHEN j.refusal IS NULL THEN 'effect' ELSE 'refusal' END,
  j.operation, c.value ->> 'a', c.value ->> 'r', c.value ->> 'h', j.status, j.refusal, j.link,
  json_object('attempt', j.attempt, 'ms', MAX(0, CAST(unixepoch('subsec') * 1000 AS INTEGER) - j.created_at_ms))
FROM json_each(${JSON.stringify(claims)}) AS c CROSS JOIN journal AS j
WHERE j.tenant = c.value ->> 't' AND j.key = c.value ->> 'k' AND j.nonce = c.value ->> 'n' AND j.deliveries = 1`;
};

/**
 * A row of its own. To be put into the batch of what it tells of.
 * @param onlyIf what has to hold in the database at that moment; always, unless given
 */
export const auditNote = (note: AuditNote, onlyIf: Sql = sql`true`): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail)
SELECT ${note.atMs}, ${note.tenant}, ${note.kind}, ${note.operation}, ${note.actor}, ${note.requestId}, ${note.keyHash ?? null},
  ${note.status ?? null}, ${note.code ?? null}, ${note.link ?? null}, ${note.detail === undefined ? null : JSON.stringify(note.detail)}
WHERE ${onlyIf}`;

/**
 * What became of a claim whose effect is outside the database. To be put into the batch before the row changes: it is
 * written if the row is still open, which is when it changes.
 * @param open the row, as long as it may be settled
 */
export const auditOfSettlement = (
  settled: Pick<AuditNote, "kind" | "actor" | "atMs" | "keyHash" | "status" | "code" | "link">,
  open: Sql,
): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link)
SELECT ${settled.atMs}, tenant, ${settled.kind}, operation, ${settled.actor}, '', ${settled.keyHash ?? null}, ${settled.status ?? null},
  ${settled.code ?? null}, ${settled.link ?? null} FROM journal WHERE ${open}`;

/** A grouped row of what changed nothing. */
export const tallyNote = (tenant: string, atMs: number, detail: JsonObject): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail)
VALUES (${atMs}, ${tenant}, 'tally', 'keys.tally', ${BY_SERVICE.actor}, '', ${JSON.stringify(detail)})`;

/** Writes one row by itself: of a read, or of something that no database has part in. */
export const writeAuditNote = async (db: Database, note: AuditNote): Promise<void> => {
  await statement(db, auditNote(note)).run();
};

/** Every column of a row, in order. */
export const AUDIT_COLUMNS = trusted(
  "seq, at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail",
);

const auditRow = z
  .object({
    seq: z.number(),
    at_ms: z.number(),
    tenant: z.string(),
    kind: z.string(),
    operation: z.string(),
    actor: z.string(),
    request_id: z.string(),
    key_hash: z.string().nullable(),
    status: z.number().nullable(),
    code: z.string().nullable(),
    link: z.string().nullable(),
    detail: z.string().nullable(),
  })
  .transform(
    // The kind is not judged: a row that somebody has changed is shown as it is.
    ({ at_ms: atMs, request_id: requestId, key_hash, kind, ...row }): AuditRow => ({
      ...row,
      atMs,
      requestId,
      keyHash: key_hash,
      kind: kind as AuditKind,
    }),
  );

export const parseAuditRow = (row: unknown): AuditRow => auditRow.parse(row);

/** The rows behind a number, in order. */
export const readAudit = async (
  db: Database,
  { after, until, limit }: { after: number; until?: number; limit: number },
): Promise<AuditRow[]> => {
  const { results } = await statement(
    db,
    sql`SELECT ${AUDIT_COLUMNS} FROM audit WHERE seq > ${after} AND seq <= ${until ?? Number.MAX_SAFE_INTEGER} ORDER BY seq LIMIT ${limit}`,
  ).all();
  return results.map(parseAuditRow);
};

/** The number of the newest row; 0 if there is none. */
export const newestAuditSeq = async (db: Database): Promise<number> => {
  const { results } = await statement(
    db,
    sql`SELECT COALESCE(MAX(seq), 0) AS seq FROM audit`,
  ).all();
  return z.object({ seq: z.number() }).parse(results[0]).seq;
};

/** A seal as it is stored. */
export type StoredSeal = {
  readonly seqFrom: number;
  readonly seqTo: number;
  readonly hash: string;
  readonly digests: string;
};

const sealRow = z
  .object({ seq_from: z.number(), seq_to: z.number(), hash: z.string(), digests: z.string() })
  .transform(({ seq_from: seqFrom, seq_to: seqTo, hash, digests }): StoredSeal => ({
    seqFrom,
    seqTo,
    hash,
    digests,
  }));

/** The newest seal. */
export const lastSeal = async (db: Database): Promise<StoredSeal | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT seq_from, seq_to, hash, digests FROM audit_seals ORDER BY seq_from DESC LIMIT 1`,
  ).all();
  return results[0] === undefined ? undefined : sealRow.parse(results[0]);
};

/** The seals that begin at a row or behind it, in order. */
export const readSeals = async (
  db: Database,
  fromSeq: number,
  limit: number,
): Promise<StoredSeal[]> => {
  const { results } = await statement(
    db,
    sql`SELECT seq_from, seq_to, hash, digests FROM audit_seals WHERE seq_from >= ${fromSeq} ORDER BY seq_from LIMIT ${limit}`,
  ).all();
  return results.map((row) => sealRow.parse(row));
};

/** The seal that ends with a row. */
export const sealEndingAt = async (db: Database, seq: number): Promise<StoredSeal | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT seq_from, seq_to, hash, digests FROM audit_seals WHERE seq_from <= ${seq} ORDER BY seq_from DESC LIMIT 1`,
  ).all();
  const found = results[0] === undefined ? undefined : sealRow.parse(results[0]);
  return found?.seqTo === seq ? found : undefined;
};

/** Appends a seal behind the newest. Whether it was appended: if not, somebody else has sealed from there. */
export const appendSeal = async (
  db: Database,
  { seqFrom, seqTo, hash, digests }: StoredSeal,
  nowMs: number,
): Promise<boolean> => {
  const { meta } = await statement(
    db,
    sql`INSERT INTO audit_seals (seq_from, seq_to, hash, digests, sealed_at_ms)
SELECT ${seqFrom}, ${seqTo}, ${hash}, ${digests}, ${nowMs}
WHERE ${seqFrom - 1} = (SELECT COALESCE(MAX(seq_to), 0) FROM audit_seals) ON CONFLICT DO NOTHING`,
  ).run();
  return meta.changes > 0;
};
