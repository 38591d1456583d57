/** A row of the audit log, and a seal over some of them: plain data, for whoever reads them without the database. */

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

/** As it is read. */
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

/** A seal as it is stored. */
export type StoredSeal = {
  readonly seqFrom: number;
  readonly seqTo: number;
  readonly hash: string;
  readonly digests: string;
};
