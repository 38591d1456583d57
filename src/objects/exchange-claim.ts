/** The journal's claim for a call to an upstream: it holds nothing, and has no answer of its own. */
import type { LostClaim } from "../journal/settlements.ts";
import type { Submission } from "../journal/submission.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { COMMIT_BUDGET_MS } from "../kernel/limits.ts";
import type { UpstreamCall } from "./exchange-call.ts";
import type { Exchange } from "./exchange-record.ts";

/** About what a claim adds to a batch, bytes. */
const CLAIM_BYTES = 2_000;

/** What the journal calls an exchange. Operations have no slash in their names. */
const operationOf = (route: string): string => `upstream/${route}`;

/** Whether the row's answer is the upstream's own, whose bytes are in the object. */
export const isUpstreams = (operation: string): boolean => operation.startsWith(operationOf(""));

export const claimOfCall = (call: UpstreamCall, nowMs: number): Submission => {
  const { policy } = call;
  const expiresAtS = wholeSeconds(nowMs) + policy.keyLifetimeSeconds;
  return {
    tenant: call.tenant,
    key: call.key,
    operation: operationOf(policy.route),
    by: { actor: call.actor, requestId: call.requestId },
    fingerprintVersion: call.fingerprintVersion,
    fingerprint: call.fingerprint,
    members: call.members,
    object: call.object,
    opens: true,
    plan: { guards: [], effects: [], answer: { status: 200, body: {}, link: "" } },
    answerBody: "{}",
    bytes: CLAIM_BYTES,
    createdAtMs: nowMs,
    expiresAtS,
    forgetAtS: expiresAtS + policy.tombstoneSeconds,
    deadlineMs: nowMs + COMMIT_BUDGET_MS,
    // It has no guards, and nothing that a constraint could refuse but the row itself.
    refusalDocument: (code, detail) => ({ code, status: 500, detail: detail ?? code }),
    refusalOf: () => "operation-failed",
  };
};

/**
 * The same claim, from what the object keeps of it: for a database that was restored to before it. Undefined for an
 * operation's: what the operation did in the database is gone with its row, and a row that says it was done would be a
 * lie in the books. And for one that is past being remembered.
 */
export const lostClaimOf = (exchange: Exchange, nowMs: number): LostClaim | undefined => {
  const { work, route, fingerprintVersion, fingerprint, members, object } = exchange;
  const { createdAtMs, expiresAtS, forgetAtS } = exchange;
  if (work !== null || forgetAtS <= wholeSeconds(nowMs)) return undefined;
  return {
    operation: operationOf(route),
    fingerprintVersion,
    fingerprint,
    members,
    object,
    createdAtMs,
    expiresAtS,
    forgetAtS,
  };
};
