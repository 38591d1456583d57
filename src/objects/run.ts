/** One run of an operation in a key object, from its validated request to what is submitted for it. */
import { type Problem, problemDocument, PROBLEMS } from "../contract/problems.ts";
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import { heldText } from "../journal/held.ts";
import type { Submission } from "../journal/submission.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { COMMIT_BUDGET_MS, STORED_RESPONSE_BYTES_MAX } from "../kernel/limits.ts";
import { type Plan, refusedPlan } from "../kernel/plan.ts";
import { utf8Bytes } from "../kernel/utf8.ts";
import type { Operation, ReadyOperation } from "../operations/define-operation.ts";
import { type KeyCall, keyPath, mountPath } from "./key-call.ts";

export type Run = {
  readonly call: KeyCall;
  readonly operation: Operation;
  readonly ready: ReadyOperation;
  readonly members: MemberHashes;
  /** Milliseconds since the epoch; the key's life and the run's budget count from here. */
  readonly startedAtMs: number;
};

/** Bytes of a claim and of an effect, about; values come on top. */
const STATEMENT_BYTES = 1_500;

/** What a run hands to the group commit, once it is planned. */
export const submissionOf = (
  { call, operation, members, startedAtMs }: Run,
  planned: Plan,
): Submission => {
  const plan = linkedFrom(mountPath(call.origin), planned);
  const instance = keyPath(call.origin, call.key);
  const refusalDocument = (code: string, detail?: string) => {
    return problemDocument(code, call.origin, {
      problem: problemOf(operation, code),
      instance,
      ...(detail === undefined ? {} : { detail }),
    });
  };
  const answerBody = JSON.stringify(plan.answer.body);
  // What is held stands in the row until the answer does.
  const answerBytes = utf8Bytes(heldText(plan) ?? answerBody);
  // A plan that refuses has no answer to find fault with.
  const isRefused = plan.guards.some(({ holds }) => holds === "never");
  const flaw =
    answerBytes > STORED_RESPONSE_BYTES_MAX
      ? TOO_LARGE
      : isRefused || operation.external !== null || HEADER_VALUE.test(plan.answer.link)
        ? undefined
        : NO_HEADER_VALUE;
  const expiresAtS = wholeSeconds(startedAtMs) + operation.keyLifetimeSeconds;
  return {
    tenant: call.tenant,
    key: call.key,
    operation: operation.name,
    by: { actor: call.actor, requestId: call.requestId },
    fingerprintVersion: call.fingerprintVersion,
    fingerprint: call.fingerprint,
    members,
    object: call.object,
    opens: operation.external !== null,
    // An answer that cannot be stored, or not be sent, could not be replayed: refused before it happens, and that is stored.
    plan:
      flaw !== undefined
        ? refusedPlan({ facts: plan.facts ?? [], refusal: "operation-failed", detail: flaw })
        : plan,
    answerBody: flaw !== undefined ? "{}" : answerBody,
    bytes: answerBytes + STATEMENT_BYTES * (1 + plan.effects.length),
    createdAtMs: startedAtMs,
    expiresAtS,
    forgetAtS: expiresAtS + operation.tombstoneSeconds,
    deadlineMs: startedAtMs + COMMIT_BUDGET_MS,
    refusalDocument,
    refusalOf: operation.refusalOf,
  };
};

/** An operation writes its link as it writes its path: from where the app is mounted. Stored, it is the whole path. */
const linkedFrom = (mount: string, plan: Plan): Plan =>
  mount === "" ? plan : { ...plan, answer: { ...plan.answer, link: mount + plan.answer.link } };

/** A refusal's entry in the problem table, or of the operation's own. */
export const problemOf = (operation: Operation, code: string): Problem =>
  operation.refusals[code] ?? PROBLEMS["operation-failed"];

/** RFC 9110 section 5.5, without spaces: what `Location` may hold. */
export const HEADER_VALUE = /^[\x21-\x7e]+$/;

const NO_HEADER_VALUE =
  "The answer's link is no header value: encode what it is made of. Nothing was changed.";

const TOO_LARGE = `The answer would be larger than the ${STORED_RESPONSE_BYTES_MAX} bytes that are stored. Nothing was changed.`;
