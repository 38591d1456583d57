/**
 * The audit log's rows, and who writes them. A row is written in the transaction that makes what it tells of, and under
 * the same condition, so there is one row for each, however often a batch is sent or delivered. That of a claim is
 * written by a trigger of the journal (migration 0010). Rows are never changed.
 *
 * No value of a request is in it, no answer and no key: the key's hash, the operation, the outcome, and what was made.
 */
import { z } from "zod";
import type { JsonObject } from "../kernel/json.ts";
import { SEAL_ROWS } from "../kernel/limits.ts";
import { type Sql, sql, trusted } from "../kernel/sql.ts";
import type { AuditKind, AuditRow, StoredSeal } from "./audit-row.ts";
import { type Database, statement } from "./database.ts";

/** Who asks for something that is audited, and under which request. */
export type AuditActor = {
  /** See `audit.actor` in the migration. */
  readonly actor: string;
  readonly requestId: string;
};

/** What the service does by itself. */
export const BY_SERVICE: AuditActor = { actor: "service", requestId: "" };

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
 * A row of its own. To be put into the batch of what it tells of.
 * @param onlyIf what has to hold in the database at that moment; always, unless given
 */
export const auditNote = (note: AuditNote, onlyIf: Sql = sql`true`): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail)
SELECT ${note.atMs}, ${note.tenant}, ${note.kind}, ${note.operation}, ${note.actor}, ${note.requestId}, ${note.keyHash ?? null},
  ${note.status ?? null}, ${note.code ?? null}, ${note.link ?? null}, ${note.detail === undefined ? null : JSON.stringify(note.detail)}
WHERE ${onlyIf}`;

/** What became of a claim whose effect is outside the database, and the open row that it settles. */
export type AuditedSettlement = Pick<
  AuditNote,
  "kind" | "actor" | "atMs" | "keyHash" | "status" | "code" | "link"
> & {
  readonly key: string;
  /** Of the claim. */
  readonly nonce: string;
  /** A row that knows of a later one is not this one's to settle. */
  readonly attempt: number;
  /** The states that it settles the row from. */
  readonly from: readonly string[];
};

/**
 * To be put into the batch before the rows change: a row is written for each claim that is still open, which is when it
 * changes.
 */
export const auditOfSettlements = (
  tenant: string,
  settlements: readonly AuditedSettlement[],
): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link)
SELECT c.value ->> 'atMs', j.tenant, c.value ->> 'kind', j.operation, c.value ->> 'actor', '', c.value ->> 'keyHash', c.value ->> 'status',
  c.value ->> 'code', c.value ->> 'link'
FROM json_each(${JSON.stringify(settlements)}) AS c CROSS JOIN journal AS j
WHERE j.tenant = ${tenant} AND j.key = c.value ->> 'key' AND j.nonce = c.value ->> 'nonce' AND j.attempt <= c.value ->> 'attempt'
  AND j.state IN (SELECT f.value FROM json_each(c.value, '$.from') AS f)`;

/**
 * To be put into the batch before claims that a restored database has lost are written again.
 * @param claims JSON, a list; `c.value` is one of them
 * @param isLost whether it will be written
 */
export const auditOfRowsWrittenAgain = (claims: string, isLost: Sql, nowMs: number): Sql =>
  sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, detail)
SELECT ${nowMs}, c.value ->> 'tenant', 'started', c.value ->> 'operation', ${BY_SERVICE.actor}, '', c.value ->> 'keyHash',
  json_object('writtenAgain', json('true'), 'attempt', c.value ->> 'attempt', 'claimedAtMs', c.value ->> 'createdAtMs')
FROM json_each(${claims}) AS c WHERE ${isLost}`;

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

/** The seals whose last row is one of these, in order. */
export const readSealsEnding = async (
  db: Database,
  fromSeq: number,
  toSeq: number,
): Promise<StoredSeal[]> => {
  const { results } = await statement(
    db,
    sql`SELECT seq_from, seq_to, hash, digests FROM audit_seals
WHERE seq_from > ${fromSeq - SEAL_ROWS} AND seq_from <= ${toSeq} AND seq_to BETWEEN ${fromSeq} AND ${toSeq} ORDER BY seq_from`,
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
