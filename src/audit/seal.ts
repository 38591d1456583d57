/**
 * The hash chain over the audit log. A seal covers the rows behind the one before it; its hash is SHA-256 over that
 * seal's hash and the hash of every row. So a row that is changed, removed or put in afterwards no longer fits its seal,
 * and a seal that is changed no longer fits those behind it. Who rewrites the log and every later seal is found by
 * whoever has kept one newer hash: each is also in the service's own log line `audit-sealed`, and in the answer of every
 * verification.
 *
 * Pure: rows and seals in, seals and findings out. Rows are counted by number, never by time: clocks differ.
 */
import type { AuditRow, StoredSeal } from "../journal/audit-row.ts";
import { sha256 } from "../kernel/hash.ts";

/** What the first seal follows. */
const GENESIS = "0".repeat(64);

/** Of a row's hash, what a seal keeps to name it by: a chance of 1 in 10^19 that a changed row has the same. */
const DIGEST_DIGITS = 16;

/** Every column, in this order, for good: another form would be another version in the first part. */
const rowHash = (row: AuditRow): string =>
  sha256(
    "latchkey-audit-1",
    row.seq,
    row.atMs,
    row.tenant,
    row.kind,
    row.operation,
    row.actor,
    row.requestId,
    row.keyHash,
    row.status,
    row.code,
    row.link,
    row.detail,
  );

/** @param rows at least one, without a gap; behind what `previous` covers */
export const sealOf = (previous: StoredSeal | undefined, rows: readonly AuditRow[]): StoredSeal => {
  const seqFrom = (previous?.seqTo ?? 0) + 1;
  rows.forEach((row, i) => {
    if (row.seq !== seqFrom + i) throw new Error(`Row ${seqFrom + i} of the audit log is missing.`);
  });
  const hashes = rows.map(rowHash);
  return {
    seqFrom,
    seqTo: seqFrom + rows.length - 1,
    hash: sha256(previous?.hash ?? GENESIS, ...hashes),
    digests: hashes.map((hash) => hash.slice(0, DIGEST_DIGITS)).join(""),
  };
};

/** What does not fit, by the row's number; of a seal, by its first row's. */
export type AuditFinding = {
  readonly kind: "row-changed" | "row-missing" | "row-inserted" | "seal-broken" | "seal-missing";
  readonly seq: number;
};

/**
 * What does not fit about one seal.
 * @param previous the seal before it; undefined for the first
 * @param rows what the log has of its range, in order
 */
export const checkSeal = (
  previous: StoredSeal | undefined,
  seal: StoredSeal,
  rows: readonly AuditRow[],
): AuditFinding[] => {
  const findings: AuditFinding[] = [];
  const expectedFrom = (previous?.seqTo ?? 0) + 1;
  if (seal.seqFrom !== expectedFrom) findings.push({ kind: "seal-missing", seq: expectedFrom });
  const bySeq = new Map(rows.map((row) => [row.seq, row]));
  const hashes: string[] = [];
  for (let seq = seal.seqFrom; seq <= seal.seqTo; seq++) {
    const row = bySeq.get(seq);
    if (row === undefined) {
      findings.push({ kind: "row-missing", seq });
      continue;
    }
    const hash = rowHash(row);
    hashes.push(hash);
    const at = (seq - seal.seqFrom) * DIGEST_DIGITS;
    if (seal.digests.slice(at, at + DIGEST_DIGITS) !== hash.slice(0, DIGEST_DIGITS)) {
      findings.push({ kind: "row-changed", seq });
    }
  }
  // Whoever has changed a row and its digest has not changed the hash, or not those behind it.
  const isChained = seal.hash === sha256(previous?.hash ?? GENESIS, ...hashes);
  if (findings.length === 0 && !isChained)
    findings.push({ kind: "seal-broken", seq: seal.seqFrom });
  return findings;
};
