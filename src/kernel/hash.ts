/** SHA-256 in one call: an object for each hash would cost more than the hash. */
import { hash } from "node:crypto";

/** Of text as UTF-8, or of bytes: 64 hex digits. */
export const sha256Of = (data: string | Uint8Array): string => hash("sha256", data, "hex");

/** Of several texts, unambiguous: every part is delimited by JSON, so that `ab`, `c` and `a`, `bc` differ. */
export const sha256 = (...parts: readonly (string | number | null)[]): string =>
  sha256Of(JSON.stringify(parts));

/**
 * 48 bits of what only the secret's owner can compute: a chance of 1 in 10^14 to call two values one. The secret stands
 * first, and of the digest less is told than would be needed to go on hashing from it.
 */
export const keyedHash = (secret: string, value: string): string =>
  hash("sha256", `${secret}\n${value}`, "base64url").slice(0, 8);

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
