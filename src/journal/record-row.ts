/** A row of the journal, parsed once, as the record that the decision reads. */
import { z } from "zod";
import type { KeyRecord } from "../idempotency/key-record.ts";
import {
  answerHeaders,
  REFUSAL_HEADERS,
  type StoredResponse,
} from "../idempotency/stored-response.ts";
import { heldText } from "./held.ts";
import type { Submission } from "./submission.ts";

const textMap = z
  .string()
  .transform((text): unknown => JSON.parse(text))
  .pipe(z.record(z.string(), z.string()));

const recordRow = z.object({
  key: z.string(),
  operation: z.string(),
  fingerprint_version: z.number(),
  fingerprint: z.string(),
  members: textMap.nullable(),
  nonce: z.string(),
  attempt: z.number(),
  state: z.enum(["in-flight", "final", "uncertain", "erased", "expired"]),
  refusal: z.string().nullable(),
  status: z.number(),
  headers: textMap.nullable(),
  body: z.string().nullable(),
  link: z.string().nullable(),
  object: z.string(),
  created_at_ms: z.number(),
  expires_at_s: z.number(),
  forget_at_s: z.number(),
});

export type JournalEntry = {
  readonly key: string;
  readonly operation: string;
  readonly nonce: string;
  readonly attempt: number;
  readonly refusal: string | null;
  readonly status: number;
  /** The object that holds a copy of the outcome. */
  readonly object: string;
  readonly createdAtMs: number;
  readonly forgetAtS: number;
  readonly record: KeyRecord;
  /** What an external step goes on with, as JSON, while the row is open; null where there is none. */
  readonly held: string | null;
};

/** What a claim gives back of its row: all that SQL decided. */
const verdictRow = z.object({
  refusal: z.string().nullable(),
  status: z.number(),
  body: z.string().nullable(),
});

/** What the last statement gives back if SQL fills in members of the answer. */
const computedRow = z.object({ body: z.string() });

/**
 * The entry of a claim that was returned, so that its row is the very one that was submitted.
 * @param verdict what the claim gave back
 * @param computed what the statement of the computed members gave back, if there is one and it changed the row
 */
export const parseClaimRow = (
  verdict: unknown,
  computed: unknown,
  submission: Submission,
  nonce: string,
  attempt: number,
): JournalEntry => {
  const { refusal, status, body } = verdictRow.parse(verdict);
  const { key, operation, fingerprintVersion, fingerprint, members, expiresAtS } = submission;
  const { answerBody, plan } = submission;
  const accepted = refusal === null;
  const claimed = { fingerprintVersion, fingerprint, members, expiresAtS };
  const claim = {
    key,
    operation,
    nonce,
    attempt,
    refusal,
    status,
    object: submission.object,
    createdAtMs: submission.createdAtMs,
    forgetAtS: submission.forgetAtS,
  };
  if (accepted && submission.opens === true) {
    const held = heldText(plan);
    return { ...claim, held, record: { ...claimed, state: "in-flight", link: null } };
  }
  const response: StoredResponse = accepted
    ? {
        status,
        headers: answerHeaders(plan.answer.status, plan.answer.link),
        body: body ?? (computed === undefined ? answerBody : computedRow.parse(computed).body),
      }
    : stored(status, REFUSAL_HEADERS, body);
  return {
    ...claim,
    held: null,
    record: { ...claimed, state: "final", link: accepted ? plan.answer.link : null, response },
  };
};

/** Throws on a row that the schema's constraints forbid. */
export const parseRecordRow = (row: unknown): JournalEntry => {
  const r = recordRow.parse(row);
  const claimed = {
    fingerprintVersion: r.fingerprint_version,
    fingerprint: r.fingerprint,
    members: r.members ?? {},
    expiresAtS: r.expires_at_s,
    link: r.link,
  };
  const { state } = r;
  const record: KeyRecord =
    state === "final"
      ? { ...claimed, state, response: stored(r.status, r.headers, r.body) }
      : { ...claimed, state };
  return {
    key: r.key,
    operation: r.operation,
    nonce: r.nonce,
    attempt: r.attempt,
    refusal: r.refusal,
    status: r.status,
    object: r.object,
    createdAtMs: r.created_at_ms,
    forgetAtS: r.forget_at_s,
    held: state === "in-flight" || state === "uncertain" ? r.body : null,
    record,
  };
};

const stored = (
  status: number,
  headers: StoredResponse["headers"] | null,
  body: string | null,
): StoredResponse => {
  if (headers === null || body === null) {
    throw new Error(
      "A final journal row has no body: the constraint journal_outcome_kept is gone.",
    );
  }
  return { status, headers, body };
};
