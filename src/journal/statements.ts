/**
 * A plan as SQL. For each operation, in this order:
 *
 * 1. the **claim**: inserts the journal row, judging facts and guards on the way. It never aborts: a taken key,
 *    or a stale fact, inserts nothing and returns nothing. A second delivery of the same send finds its own
 *    nonce and is counted, whatever became of its facts.
 * 2. the **effects**, each under the condition that the row in the journal is this very send's, was accepted, and
 *    arrived once;
 * 3. if the answer has computed members, their values.
 *
 * Every value is a parameter; table and column names come from the operations' source.
 */
import { REFUSAL_HEADERS, answerHeaders } from "../idempotency/stored-response.ts";
import { keyHash } from "../kernel/hash.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Computed, Condition, Effect, Row } from "../kernel/plan.ts";
import { joinSql, type Sql, sql, trusted } from "../kernel/sql.ts";
import { heldText } from "./held.ts";
import type { Submission } from "./submission.ts";

/** One try to commit a submission. */
export type Send = {
  readonly submission: Submission;
  readonly nonce: string;
  /** 1 for the first. */
  readonly attempt: number;
  /** Commit this refusal and no effects, whatever the guards say: an effect was found to be impossible. */
  readonly forcedRefusal?: JsonObject;
};

/**
 * What a claim gives back: all that SQL decided. The rest of the row is as it was submitted, and so is the body where
 * it is null here; a second delivery finds the one that the first has completed.
 */
export const VERDICT = trusted(
  "refusal, status, CASE WHEN refusal IS NULL AND deliveries = 1 THEN NULL ELSE body END AS body",
);

/** The columns that a read of the journal selects. */
export const RECORD_COLUMNS = trusted(
  "key, operation, fingerprint_version, fingerprint, members, nonce, attempt, state, refusal, status, headers, body, link, object, created_at_ms, expires_at_s, forget_at_s",
);

/** The statements of one send: claim first, then effects, then computed values. */
export const statementsOf = (send: Send): Sql[] => {
  const { tenant, plan } = send.submission;
  if (send.forcedRefusal) return [claim(send)];
  const accepted = acceptedClaim(send);
  const statements = [
    claim(send),
    ...plan.effects.map((effect) => effectStatement(tenant, effect, accepted)),
  ];
  const computed = Object.entries(plan.answer.computed ?? {});
  if (computed.length > 0) statements.push(computedStatement(send, computed, accepted));
  return statements;
};

/**
 * What a submission adds to a group, in statements, without building them. A statement that inserts fifty rows works
 * as long as fifty statements: it counts as many, so that no neighbour waits for a group of nothing but long orders.
 */
export const statementWeight = ({ plan }: Submission): number =>
  plan.effects.reduce(
    (sum, effect) => sum + (effect.kind === "insert-each" ? effect.each.length : 1),
    1 + (plan.answer.computed === undefined ? 0 : 1),
  );

const claim = (send: Send): Sql => {
  const { submission: s, forcedRefusal } = send;
  const { answer } = s.plan;
  const refusals = forcedRefusal ? [] : s.plan.guards;
  const verdict = forcedRefusal
    ? sql`0`
    : cases(
        refusals.map((guard, i) =>
          guard.holds === "never"
            ? sql`WHEN 1 THEN ${trusted(String(i))}`
            : sql`WHEN NOT ${condition(s.tenant, guard.holds)} THEN ${trusted(String(i))}`,
        ),
        trusted("NULL"),
      );
  // The documents of all refusals, one parameter; the text of the i-th is what is stored, if it comes to that.
  const outcomes = JSON.stringify(
    forcedRefusal
      ? [forcedRefusal]
      : refusals.map((guard) => s.refusalDocument(guard.refusal, guard.detail)),
  );
  const refused = (member: "" | ".code" | ".status"): Sql =>
    sql`json_extract(${outcomes}, '$[' || verdict || ${trusted(`']${member}'`)})`;
  const facts = (s.plan.facts ?? []).map((fact) => condition(s.tenant, fact));
  // A second delivery is counted whatever the facts say by then: the first may have made them untrue.
  const isAgain = sql`EXISTS (SELECT 1 FROM journal WHERE tenant = ${s.tenant} AND key = ${s.key} AND nonce = ${send.nonce})`;
  const accepted =
    s.opens === true
      ? { state: "in-flight", headers: null, body: heldText(s.plan), link: null }
      : {
          state: "final",
          headers: JSON.stringify(answerHeaders(answer.status, answer.link)),
          body: s.answerBody,
          link: answer.link,
        };
  return sql`
WITH judged(verdict) AS MATERIALIZED (SELECT ${verdict})
INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, attempt, state,
  created_at_ms, expires_at_s, forget_at_s, refusal, status, headers, body, link, actor, request_id, key_hash)
SELECT ${s.tenant}, ${s.key}, ${s.operation}, ${s.fingerprintVersion}, ${s.fingerprint}, ${JSON.stringify(s.members)},
  ${s.object}, ${send.nonce}, ${send.attempt},
  CASE WHEN verdict IS NULL THEN ${trusted(`'${accepted.state}'`)} ELSE 'final' END, ${s.createdAtMs}, ${s.expiresAtS}, ${s.forgetAtS},
  CASE WHEN verdict IS NULL THEN NULL ELSE ${refused(".code")} END,
  CASE WHEN verdict IS NULL THEN ${trusted(String(answer.status))} ELSE ${refused(".status")} END,
  CASE WHEN verdict IS NULL THEN ${accepted.headers} ELSE ${trusted(REFUSAL_HEADERS_LITERAL)} END,
  CASE WHEN verdict IS NULL THEN ${accepted.body} ELSE ${refused("")} END,
  CASE WHEN verdict IS NULL THEN ${accepted.link} END, ${s.by.actor}, ${s.by.requestId}, ${keyHash(s.tenant, s.key)}
FROM judged WHERE ${facts.length === 0 ? trusted("true") : sql`(${joinSql(facts, " AND ")}) OR ${isAgain}`}
ON CONFLICT (tenant, key) DO UPDATE SET deliveries = deliveries + 1 WHERE nonce = excluded.nonce
RETURNING ${VERDICT}`;
};

/** A constant of ours without a quote in it: as text it costs nothing to bind. */
const REFUSAL_HEADERS_LITERAL = `'${JSON.stringify(REFUSAL_HEADERS)}'`;

const cases = (whens: readonly Sql[], otherwise: Sql): Sql =>
  whens.length === 0 ? otherwise : sql`CASE ${joinSql(whens, " ")} ELSE ${otherwise} END`;

const condition = (tenant: string, { table, where, matches }: Condition): Sql => {
  const rows = sql`FROM ${trusted(table)} WHERE tenant = ${tenant} AND (${where})`;
  if (matches === "some") return sql`EXISTS (SELECT 1 ${rows})`;
  if (matches === "none") return sql`NOT EXISTS (SELECT 1 ${rows})`;
  return sql`((SELECT COUNT(*) ${rows}) = ${matches})`;
};

/** True only inside the first delivery of this send, and only if no guard failed. */
const acceptedClaim = ({ submission: { tenant, key }, nonce }: Send): Sql =>
  sql`tenant = ${tenant} AND key = ${key} AND nonce = ${nonce} AND deliveries = 1 AND refusal IS NULL`;

/** @param row the condition on the tenant's journal row under which the effect is applied */
export const effectStatement = (tenant: string, effect: Effect, row: Sql): Sql => {
  const onlyIf = sql`EXISTS (SELECT 1 FROM journal WHERE ${row})`;
  const table = trusted(effect.table);
  switch (effect.kind) {
    case "insert":
      return sql`INSERT INTO ${table} (tenant, ${columns(effect.row)}) SELECT ${tenant}, ${values(effect.row)} WHERE ${onlyIf}${trusted(effect.ifAbsent ? " ON CONFLICT DO NOTHING" : "")}`;
    case "insert-each":
      return sql`INSERT INTO ${table} (tenant, ${columns(effect.row)}) SELECT ${tenant}, ${values(effect.row)} FROM json_each(${JSON.stringify(effect.each)}) WHERE ${onlyIf}`;
    case "update":
      return sql`UPDATE ${table} SET ${assignments(effect.set)} WHERE tenant = ${tenant} AND (${effect.where}) AND ${onlyIf}`;
  }
};

const computedStatement = (
  { submission: { tenant } }: Send,
  computed: readonly (readonly [string, Computed])[],
  accepted: Sql,
): Sql => {
  const members = computed.map(
    ([member, { table, value, where }]) =>
      sql`${`$.${member}`}, (SELECT ${value} FROM ${trusted(table)} WHERE tenant = ${tenant} AND (${where}))`,
  );
  return sql`UPDATE journal SET body = json_set(body, ${joinSql(members, ", ")}) WHERE ${accepted} RETURNING body`;
};

const columns = (row: Row): Sql => trusted(Object.keys(row).join(", "));

const values = (row: Row): Sql =>
  joinSql(
    Object.values(row).map((value) => sql`${value}`),
    ", ",
  );

const assignments = (row: Row): Sql =>
  joinSql(
    Object.entries(row).map(([column, value]) => sql`${trusted(column)} = ${value}`),
    ", ",
  );
