/** What an object's copy says of a key, beside the journal's row: compared by hashes, so that no answer travels. */
import type { KeyRecord, SettledRecord } from "../idempotency/key-record.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { sha256 } from "../kernel/hash.ts";
import { canonicalJson } from "../kernel/json.ts";

export type CopySeen = {
  readonly state: SettledRecord["state"];
  /** See `outcomeHash`. */
  readonly hash: string;
};

/** Of everything that a replay gives or is decided by. */
export const outcomeHash = (record: KeyRecord): string =>
  sha256(
    record.fingerprintVersion,
    record.fingerprint,
    record.expiresAtS,
    ...(record.state === "final"
      ? [record.response.status, canonicalJson(record.response.headers), record.response.body]
      : []),
  );

/**
 * `erasure`: the row was erased, and the copy still has the answer. A copy that has expired while its row waits for the
 * sweep, or the other way round, is judged by its own expiry, and is the same.
 */
export const differenceOf = (
  { record }: JournalEntry,
  copy: CopySeen,
): "no" | "outcome" | "erasure" => {
  if (record.state === "erased" && copy.state === "final") return "erasure";
  if (record.state !== "final" || copy.state !== "final") return "no";
  return outcomeHash(record) === copy.hash ? "no" : "outcome";
};
