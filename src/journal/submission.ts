/** One operation on its way to the journal: who asks, for what, and what is to happen. */
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Plan } from "../kernel/plan.ts";
import type { AuditActor } from "./audit-log.ts";
import type { JournalEntry } from "./record-row.ts";

export type Submission = {
  readonly tenant: string;
  readonly key: string;
  readonly operation: string;
  /** For the audit log. */
  readonly by: AuditActor;
  readonly fingerprintVersion: number;
  readonly fingerprint: string;
  readonly members: MemberHashes;
  /** The object that submits, and that will hold the copy. */
  readonly object: string;
  readonly plan: Plan;
  /**
   * Whether it opens an exchange: what it is about happens outside the database, so an accepted claim is in flight and
   * has no outcome yet. Guards and effects (funds that are held) are judged and applied with the claim as ever.
   */
  readonly opens?: boolean;
  /** The plan's answer, rendered once. */
  readonly answerBody: string;
  /** About what it adds to a batch. */
  readonly bytes: number;
  readonly createdAtMs: number;
  readonly expiresAtS: number;
  readonly forgetAtS: number;
  /** Until when the caller's budget lasts, milliseconds since the epoch. */
  readonly deadlineMs: number;
  /** What is stored for a refusal: a problem document, with `code` and `status` among its members. */
  readonly refusalDocument: (code: string, detail?: string) => JsonObject;
  /** The refusal that a violated constraint stands for. */
  readonly refusalOf: (constraint: string) => string;
};

/** What became of a submission. */
export type Fate<Entry = JournalEntry> =
  /** A row of this key is committed: ours (`own`), or one that was there before. */
  | { readonly kind: "recorded"; readonly entry: Entry; readonly own: boolean }
  /** A fact no longer holds; nothing was claimed by the last send. Plan again. */
  | { readonly kind: "stale"; readonly mayYetCommit: boolean }
  /** Nothing was sent, or everything sent was certainly undone. */
  | { readonly kind: "unavailable"; readonly reason: string }
  /** Something was sent and may have been, or may yet be, committed. */
  | { readonly kind: "unknown"; readonly reason: string };
