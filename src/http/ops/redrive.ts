/**
 * Stuck work, taken up again by an operator: what its object's alarm would do, now, with the original key. The action has a
 * key of its own; it is noted in the audit log first, then the objects are told. If we die in between, the same key
 * tells them again; if they were told, it changes nothing. What an upstream may have carried out, and would carry out
 * again, is never sent: the object holds to the policy that the work was accepted under.
 */
import { z } from "zod";
import { type Bindings, databasesOf } from "../../env.ts";
import { parseIdempotencyKey } from "../../idempotency/key.ts";
import type { AuditActor } from "../../journal/audit-log.ts";
import type { Database } from "../../journal/database.ts";
import {
  endRedrive,
  findActionUse,
  findIssues,
  noteRedrive,
  type RedriveAction,
  type WorkSubject,
} from "../../journal/issue-actions.ts";
import { changeIssue, type Issue } from "../../journal/issues.ts";
import { sha256 } from "../../kernel/hash.ts";
import { REASON_LENGTH_MAX, SEND_TIMEOUT_MS } from "../../kernel/limits.ts";
import { withTimeout } from "../../kernel/timeout.ts";
import type { Redrive } from "../../objects/key-call.ts";
import { callObject } from "../../objects/object-call.ts";
import { keyObjectNamed } from "../../objects/routing.ts";
import { admit } from "../access.ts";
import { operatorOf } from "../actor.ts";
import type { HttpContext } from "../context.ts";
import { readInput } from "../input.ts";
import { problemResponse } from "../problem-response.ts";

/** The work that an issue is about; undefined if there is none that could be taken up. */
export const workOf = ({ id, tenant, key, object, state }: Issue): WorkSubject | undefined =>
  key === null || object === null || state === "resolved"
    ? undefined
    : { tenant, key, object, issue: id };

/** What came of it, by issue, or by key where there is none. */
const resultSchema = z.object({
  issue: z.string().nullable(),
  result: z.enum(["taken-up", "running", "uncertain", "nothing-open"]),
  state: z.string(),
});

const resultsSchema = z.array(resultSchema);

export type Redriven =
  | {
      readonly kind: "done";
      readonly results: z.output<typeof resultsSchema>;
      /** Whether the same action did it before. */
      readonly replayed: boolean;
    }
  /** The action's key was used for something else. */
  | { readonly kind: "other" }
  /** Some object did not answer: to send the same action again is safe, and tells it again. */
  | { readonly kind: "unknown" };

/** Throws if the database does not answer: the same action may be sent again. */
export const redriveWork = async (
  env: Bindings,
  db: Database,
  action: RedriveAction,
  by: AuditActor,
  nowMs: number,
): Promise<Redriven> => {
  const noted = noteRedrive(db, action, by, crypto.randomUUID(), nowMs);
  const use = await withTimeout(noted, SEND_TIMEOUT_MS);
  if (use.kind === "other") return use;
  if (use.kind === "done") return doneBefore(use.answer);
  const told = await Promise.all(
    action.subjects.map(async (subject) => {
      const { tenant, key, object } = subject;
      const redrive = await callObject(keyObjectNamed(env, object), (stub) =>
        stub.redrive(tenant, key, object, action.id, "operator"),
      ).catch(() => undefined);
      return { subject, redrive };
    }),
  );
  const results: z.output<typeof resultsSchema> = [];
  for (const { subject, redrive } of told) {
    if (redrive === undefined) continue;
    const { kind: result, state } = redrive;
    results.push({ issue: subject.issue, result, state });
    if (subject.issue === null || !isOver(redrive)) continue;
    const reason = `${action.reason} (${state}, after it was taken up again)`;
    const change = { state: "resolved", reason } as const;
    await withTimeout(changeIssue(db, subject.issue, change, by, nowMs), SEND_TIMEOUT_MS);
  }
  if (results.length < told.length) return { kind: "unknown" };
  const kept = endRedrive(db, action.id, JSON.stringify(results));
  return { ...doneBefore(await withTimeout(kept, SEND_TIMEOUT_MS)), replayed: false };
};

const doneBefore = (answer: string): Extract<Redriven, { kind: "done" }> => ({
  kind: "done",
  results: parseRedriven(answer),
  replayed: true,
});

/** As an action keeps it. */
export const parseRedriven = (answer: string): z.output<typeof resultsSchema> =>
  resultsSchema.parse(JSON.parse(answer));

/** Whether the key has an outcome by now, or is free. */
const isOver = ({ state }: Redrive): boolean =>
  state === "completed" || state === "expired" || state === "free";

export const redriveInput = z.strictObject({ reason: z.string().min(1).max(REASON_LENGTH_MAX) });

export const redriveOutput = resultSchema.extend({
  issue: z.string(),
  state: z.string().meta({ description: "How the key stood then; see `KeyState`" }),
});

/** POST /v1/ops/issues/{id}/redrive: the same key again gets what the first one got, for a day. */
export const redriveRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:act"]);
  if (!admitted.ok) return admitted.failure;
  const key = parseIdempotencyKey(c.req.header("Idempotency-Key"));
  if (!key.ok) return problemResponse(c, key.failure.code, key.failure);
  const input = await readInput(c, redriveInput);
  if (!input.ok) return input.failure;
  const by = operatorOf(c, admitted.value);
  const issue = c.req.param("id") ?? "";
  // Whose key it is: two operators may have chosen the same.
  const id = `key_${sha256("latchkey-action", by.actor, key.value)}`;
  try {
    for (const [, db] of databasesOf(c.env)) {
      const answer = await redriveIssue(c, db, issue, { id, ...input.value }, by);
      // An issue's id is a hash: it is in one database at most.
      if (answer !== undefined) return answer;
    }
  } catch {
    return unknown(c);
  }
  return problemResponse(c, "not-found");
};

const unknown = (c: HttpContext): Response =>
  problemResponse(c, "temporarily-unavailable", {
    detail: "Whether the work was taken up is not known: send the same again, with the same key.",
  });

/** Undefined if the issue is not in this database. */
const redriveIssue = async (
  c: HttpContext,
  db: Database,
  issueId: string,
  { id, reason }: Pick<RedriveAction, "id" | "reason">,
  by: AuditActor,
): Promise<Response | undefined> => {
  const about = [issueId];
  // Before the issue is looked at: what was done may have resolved it.
  const use = await withTimeout(findActionUse(db, { id, about }), SEND_TIMEOUT_MS);
  if (use.kind === "other") return problemResponse(c, "idempotency-key-reused");
  if (use.kind === "done") return told(c, issueId, doneBefore(use.answer));
  const [issue] = await withTimeout(findIssues(db, [issueId]), SEND_TIMEOUT_MS);
  if (issue === undefined) return undefined;
  const subject = workOf(issue);
  if (subject === undefined) return problemResponse(c, "nothing-to-redrive");
  const action = { id, about, subjects: [subject], reason };
  const redriven = await redriveWork(c.env, db, action, by, Date.now());
  switch (redriven.kind) {
    case "other":
      return problemResponse(c, "idempotency-key-reused");
    case "unknown":
      return unknown(c);
    case "done":
      return told(c, issueId, redriven);
  }
};

const told = (
  c: HttpContext,
  issue: string,
  { results, replayed }: Extract<Redriven, { kind: "done" }>,
): Response =>
  c.json({ ...results[0], issue }, 200, {
    "Cache-Control": "no-store",
    ...(replayed ? { "Idempotent-Replayed": "true" } : {}),
  });
