/**
 * What an operator does about issues, once for each key: a form carries one, a client sends one. The key is claimed in the
 * transaction that acts, and only the send that claimed it acts. A form that is sent twice, late or at once changes
 * nothing more, and is told what the first one did. Every issue that changes leaves one row in the audit log.
 */
import { z } from "zod";
import { ACTION_KEPT_MS } from "../kernel/limits.ts";
import { keyHash, sha256 } from "../kernel/hash.ts";
import { sql } from "../kernel/sql.ts";
import type { AuditActor } from "./audit-log.ts";
import { type Database, statement } from "./database.ts";
import { type Issue, type IssueState, parseIssue, stateIs } from "./issues.ts";

export type IssueAction = {
  /** The form's own key, time-ordered: `act_…`. */
  readonly id: string;
  readonly issues: readonly string[];
  readonly state: IssueState;
  readonly reason: string;
};

const actionRow = z.object({
  changed: z.number(),
  action: z.string(),
  actor: z.string(),
  answer: z.string().nullable(),
});

/** How many issues the action has changed, now or when its key was first sent. */
export const changeIssues = async (
  db: Database,
  { id, issues, state, reason }: IssueAction,
  by: AuditActor,
  nonce: string,
  nowMs: number,
): Promise<number> => {
  const operation = `ops.issues-${state}`;
  const changes = sql`state <> ${state} AND id IN (SELECT value FROM json_each(${JSON.stringify(issues)}))`;
  const isMine = sql`EXISTS (SELECT 1 FROM operator_actions AS a WHERE a.id = ${id} AND a.nonce = ${nonce} AND a.done = 0)`;
  const results = await db.batch(
    [
      sql`DELETE FROM operator_actions WHERE at_ms < ${nowMs - ACTION_KEPT_MS}`,
      sql`INSERT INTO operator_actions (id, nonce, actor, action, at_ms, changed)
SELECT ${id}, ${nonce}, ${by.actor}, ${operation}, ${nowMs}, (SELECT COUNT(*) FROM issues WHERE ${changes}) WHERE true ON CONFLICT DO NOTHING`,
      sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail)
SELECT ${nowMs}, tenant, ${state === "resolved" ? "resolution" : "action"}, ${operation}, ${by.actor}, ${by.requestId},
  json_object('issue', id, 'state', ${state}, 'reason', ${reason}, 'action', ${id}) FROM issues WHERE ${changes} AND ${isMine}`,
      sql`UPDATE issues SET ${stateIs(state)}, changed_by = ${by.actor}, changed_at_ms = ${nowMs}, reason = ${reason} WHERE ${changes} AND ${isMine}`,
      sql`UPDATE operator_actions SET done = 1 WHERE id = ${id} AND nonce = ${nonce}`,
      sql`SELECT changed, action, actor, answer FROM operator_actions WHERE id = ${id}`,
    ].map((one) => statement(db, one)),
  );
  return actionRow.parse(results.at(-1)?.results[0]).changed;
};

/** Stuck work that an operator has taken up again. */
export type WorkSubject = {
  readonly tenant: string;
  readonly key: string;
  /** The name of the object that holds it. */
  readonly object: string;
  /** Null if it was found without one. */
  readonly issue: string | null;
};

export type RedriveAction = {
  readonly id: string;
  /** What it is about, as its key may be used for nothing else. */
  readonly about: readonly string[];
  readonly subjects: readonly WorkSubject[];
  readonly reason: string;
};

/** What the audit log calls it. */
const REDRIVE = "ops.redrive";

const redriveRow = z.object({ subjects: z.string(), answer: z.string().nullable() });

const aboutHash = (about: readonly string[]): string =>
  sha256("latchkey-redrive", ...about.toSorted());

/** How an action's key was used. */
export type ActionUse =
  /** It was not, or what it does is not done yet. */
  | { readonly kind: "to-do" }
  | { readonly kind: "done"; readonly answer: string }
  /** For something else. */
  | { readonly kind: "other" };

const useOf = (row: unknown, about: readonly string[]): ActionUse => {
  const { subjects, answer } = redriveRow.parse(row);
  if (subjects !== aboutHash(about)) return { kind: "other" };
  return answer === null ? { kind: "to-do" } : { kind: "done", answer };
};

export const findActionUse = async (
  db: Database,
  { id, about }: Pick<RedriveAction, "id" | "about">,
): Promise<ActionUse> => {
  const { results } = await statement(
    db,
    sql`SELECT subjects, answer FROM operator_actions WHERE id = ${id}`,
  ).all();
  return results[0] === undefined ? { kind: "to-do" } : useOf(results[0], about);
};

/** Notes that work is to be taken up again, before it is: one row of the audit log for each, however often it is sent. */
export const noteRedrive = async (
  db: Database,
  { id, about, subjects, reason }: RedriveAction,
  by: AuditActor,
  nonce: string,
  nowMs: number,
): Promise<ActionUse> => {
  const notes = subjects.map(({ tenant, key, issue }) => ({
    tenant,
    hash: keyHash(tenant, key),
    detail: JSON.stringify({ ...(issue === null ? {} : { issue }), reason, action: id }),
  }));
  const results = await db.batch(
    [
      sql`DELETE FROM operator_actions WHERE at_ms < ${nowMs - ACTION_KEPT_MS}`,
      sql`INSERT INTO operator_actions (id, nonce, actor, action, at_ms, changed, subjects)
VALUES (${id}, ${nonce}, ${by.actor}, ${REDRIVE}, ${nowMs}, ${subjects.length}, ${aboutHash(about)}) ON CONFLICT DO NOTHING`,
      sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, detail)
SELECT ${nowMs}, value ->> 'tenant', 'action', ${REDRIVE}, ${by.actor}, ${by.requestId}, value ->> 'hash', value ->> 'detail' FROM json_each(${JSON.stringify(notes)})
WHERE EXISTS (SELECT 1 FROM operator_actions AS a WHERE a.id = ${id} AND a.nonce = ${nonce} AND a.done = 0)`,
      sql`UPDATE operator_actions SET done = 1 WHERE id = ${id} AND nonce = ${nonce}`,
      sql`SELECT subjects, answer FROM operator_actions WHERE id = ${id}`,
    ].map((one) => statement(db, one)),
  );
  return useOf(results.at(-1)?.results[0], about);
};

/** Keeps what came of it; gives back what is kept, which is what the first has said. */
export const endRedrive = async (db: Database, id: string, answer: string): Promise<string> => {
  const results = await db.batch(
    [
      sql`UPDATE operator_actions SET answer = ${answer} WHERE id = ${id} AND answer IS NULL`,
      sql`SELECT answer FROM operator_actions WHERE id = ${id}`,
    ].map((one) => statement(db, one)),
  );
  const kept = z.object({ answer: z.string() }).safeParse(results.at(-1)?.results[0]);
  return kept.success ? kept.data.answer : answer;
};

/** Of a form's key: what was done; undefined if it has not been sent, or is forgotten. */
export const findAction = async (
  db: Database,
  id: string,
): Promise<z.output<typeof actionRow> | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT changed, action, actor, answer FROM operator_actions WHERE id = ${id}`,
  ).all();
  return results[0] === undefined ? undefined : actionRow.parse(results[0]);
};

/** The issues of that list that there are, in its order. */
export const findIssues = async (db: Database, ids: readonly string[]): Promise<Issue[]> => {
  const { results } = await statement(
    db,
    sql`SELECT i.* FROM json_each(${JSON.stringify(ids)}) AS wanted JOIN issues AS i ON i.id = wanted.value ORDER BY wanted.key`,
  ).all();
  return results.map(parseIssue);
};
