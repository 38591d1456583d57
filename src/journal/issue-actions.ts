/**
 * What an operator does about issues, once for each form that was shown: the form carries a key, the key is claimed in the
 * transaction that acts, and only the send that claimed it acts. A form that is sent twice, late or at once changes
 * nothing more, and is told what the first one did. Every issue that changes leaves one row in the audit log.
 */
import { z } from "zod";
import { ACTION_KEPT_MS } from "../kernel/limits.ts";
import { timeOrderedId } from "../kernel/ids.ts";
import { sql } from "../kernel/sql.ts";
import type { AuditActor } from "./audit-log.ts";
import { type Database, statement } from "./database.ts";
import { type Issue, type IssueState, parseIssue } from "./issues.ts";

export type IssueAction = {
  /** The form's own key, time-ordered: `act_…`. */
  readonly id: string;
  readonly issues: readonly string[];
  readonly state: IssueState;
  readonly reason: string;
};

const actionRow = z.object({ changed: z.number(), action: z.string(), actor: z.string() });

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
  const forgotten = `act_${timeOrderedId(nowMs - ACTION_KEPT_MS, () => undefined)}`;
  const results = await db.batch(
    [
      sql`DELETE FROM operator_actions WHERE id < ${forgotten}`,
      sql`INSERT INTO operator_actions (id, nonce, actor, action, at_ms, changed)
SELECT ${id}, ${nonce}, ${by.actor}, ${operation}, ${nowMs}, (SELECT COUNT(*) FROM issues WHERE ${changes}) WHERE true ON CONFLICT DO NOTHING`,
      sql`INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail)
SELECT ${nowMs}, tenant, ${state === "resolved" ? "resolution" : "action"}, ${operation}, ${by.actor}, ${by.requestId},
  json_object('issue', id, 'state', ${state}, 'reason', ${reason}, 'action', ${id}) FROM issues WHERE ${changes} AND ${isMine}`,
      sql`UPDATE issues SET state = ${state}, changed_by = ${by.actor}, changed_at_ms = ${nowMs}, reason = ${reason} WHERE ${changes} AND ${isMine}`,
      sql`UPDATE operator_actions SET done = 1 WHERE id = ${id} AND nonce = ${nonce}`,
      sql`SELECT changed, action, actor FROM operator_actions WHERE id = ${id}`,
    ].map((one) => statement(db, one)),
  );
  return actionRow.parse(results.at(-1)?.results[0]).changed;
};

/** Of a form's key: what was done; undefined if it has not been sent, or is forgotten. */
export const findAction = async (
  db: Database,
  id: string,
): Promise<z.output<typeof actionRow> | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT changed, action, actor FROM operator_actions WHERE id = ${id}`,
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
