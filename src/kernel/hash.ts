/** SHA-256 of texts, unambiguous: every part is delimited by JSON, so that `ab`, `c` and `a`, `bc` differ. */
import { createHash } from "node:crypto";

/** 64 hex digits. */
export const sha256 = (...parts: readonly (string | number | null)[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex");

/** 128 bits: enough that two never meet by chance. */
const SHORT_DIGITS = 32;

/**
 * What stands for a key in logs and in the audit log. Not keyed with a secret: whoever has the key can find its rows,
 * also years and rotations later; who has only the hash learns a key from it only by guessing it.
 */
export const keyHash = (tenant: string, key: string): string =>
  sha256("latchkey-key", tenant, key).slice(0, SHORT_DIGITS);

/** What stands for a tenant's caller in the audit log: a subject may be a person, and the log is never edited. */
export const callerHash = (issuer: string, subject: string): string =>
  sha256("latchkey-caller", issuer, subject).slice(0, SHORT_DIGITS);
