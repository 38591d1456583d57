/**
 * Seals what is new in the audit log, and checks what is sealed: a page at a time, resumed where it stopped. Two that
 * seal at once begin at the same row, and one of them does nothing; one that dies has sealed up to where it came.
 */
import {
  appendSeal,
  lastSeal,
  newestAuditSeq,
  readAudit,
  readSeals,
  sealEndingAt,
} from "../journal/audit-log.ts";
import type { StoredSeal } from "../journal/audit-row.ts";
import type { Database } from "../journal/database.ts";
import { AUDIT_FINDINGS_MAX, SEAL_ROWS, VERIFIED_SEALS_MAX } from "../kernel/limits.ts";
import { type AuditFinding, checkSeal, sealOf } from "./seal.ts";

/**
 * Returns the newest seal, and how many were made.
 * @param seals how many at most
 */
export const sealAudit = async (
  db: Database,
  nowMs: number,
  seals: number,
): Promise<{ readonly head: StoredSeal | undefined; readonly made: number }> => {
  let head = await lastSeal(db);
  let made = 0;
  while (made < seals) {
    const rows = await readAudit(db, { after: head?.seqTo ?? 0, limit: SEAL_ROWS });
    if (rows.length === 0) break;
    const seal = sealOf(head, rows);
    // Another run has sealed from here: it goes on.
    if (!(await appendSeal(db, seal, nowMs))) break;
    head = seal;
    made += 1;
    if (rows.length < SEAL_ROWS) break;
  }
  return { head, made };
};

export type Verification = {
  /** The rows that were checked: behind `after`, up to here. */
  readonly checkedTo: number;
  readonly seals: number;
  readonly findings: readonly AuditFinding[];
  /** The last seal that was checked: to be kept elsewhere, and compared. */
  readonly head: { readonly seq: number; readonly hash: string } | null;
  /** Every seal that was checked, by its last row: an earlier head must be among them. */
  readonly sealed: readonly { readonly seq: number; readonly hash: string }[];
  /** What `after` of the next call must be; null: everything sealed was checked. */
  readonly next: number | null;
  /** The newest row of all: what lies behind the last seal is not sealed yet. */
  readonly newest: number;
};

/** @param after the last row that was checked before; 0 to begin */
export const verifyAudit = async (db: Database, after: number): Promise<Verification> => {
  let previous = after === 0 ? undefined : await sealEndingAt(db, after);
  const findings: AuditFinding[] = [];
  if (after === 0) {
    // The first row is number 1: what lies before it was put there.
    const before = await readAudit(db, {
      after: Number.MIN_SAFE_INTEGER,
      until: 0,
      limit: AUDIT_FINDINGS_MAX,
    });
    findings.push(...before.map(({ seq }): AuditFinding => ({ kind: "row-inserted", seq })));
  } else if (previous === undefined) findings.push({ kind: "seal-missing", seq: after });
  const seals = await readSeals(db, after + 1, VERIFIED_SEALS_MAX);
  for (const seal of seals) {
    const rows = await readAudit(db, {
      after: seal.seqFrom - 1,
      until: seal.seqTo,
      limit: seal.seqTo - seal.seqFrom + 1,
    });
    findings.push(...checkSeal(previous, seal, rows));
    previous = seal;
  }
  const newest = await newestAuditSeq(db);
  const checkedTo = previous?.seqTo ?? after;
  const isLast = seals.length < VERIFIED_SEALS_MAX;
  // Behind the last seal there is nothing to compare with, but what is there has no gap.
  if (isLast && newest > checkedTo) findings.push(...(await gapsBehind(db, checkedTo)));
  // A log that ends before its last seal does.
  return {
    checkedTo,
    seals: seals.length,
    findings: findings.slice(0, AUDIT_FINDINGS_MAX),
    head: previous === undefined ? null : { seq: previous.seqTo, hash: previous.hash },
    sealed: seals.map(({ seqTo, hash }) => ({ seq: seqTo, hash })),
    next: isLast ? null : checkedTo,
    newest,
  };
};

const gapsBehind = async (db: Database, seq: number): Promise<AuditFinding[]> => {
  const rows = await readAudit(db, { after: seq, limit: SEAL_ROWS });
  return rows.flatMap((row, i): AuditFinding[] => {
    const before = i === 0 ? seq : (rows[i - 1]?.seq ?? seq);
    return row.seq === before + 1 ? [] : [{ kind: "row-missing", seq: before + 1 }];
  });
};
