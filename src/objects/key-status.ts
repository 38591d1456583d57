/** What a client may know of a key, from its journal row. */
import { isExpired, isSettled } from "../idempotency/key-record.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import type { KeyStatus } from "./key-call.ts";

export const statusOf = (entry: JournalEntry, nowMs: number): KeyStatus => {
  const { record } = entry;
  const settled = isSettled(record);
  const expired = record.state === "expired" || (settled && isExpired(record, nowMs));
  return {
    state:
      record.state === "in-flight" || record.state === "uncertain"
        ? record.state
        : expired
          ? "expired"
          : "completed",
    operation: entry.operation,
    attempts: entry.attempt,
    ...(settled ? { outcome: { status: entry.status, refusal: entry.refusal } } : {}),
    link: record.link,
    createdAtMs: entry.createdAtMs,
    expiresAtS: record.expiresAtS,
  };
};
