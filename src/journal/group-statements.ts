/**
 * A group of sends as one batch, and what its results say of each. A statement costs a round of work on both sides of
 * the wire, so claims that judge nothing and change nothing but the journal go in one statement together. All others
 * see each other's effects, one after the other, and have statements of their own.
 */
import { keyHash } from "../kernel/hash.ts";
import { type Sql, sql } from "../kernel/sql.ts";
import { heldText } from "./held.ts";
import { type Send, statementsOf, VERDICT } from "./statements.ts";

export type Batch = {
  readonly statements: readonly Sql[];
  /** Sorts the batch's results by send. The claim's row is undefined if the claim returned none: taken, or stale. */
  readonly resultsOf: (results: readonly D1Result[]) => SendResults[];
};

export type SendResults = {
  readonly claimed: unknown;
  /** Of the statements behind the claim: effects, then computed values. */
  readonly rest: readonly D1Result[];
};

export const batchOf = (sends: readonly Send[]): Batch => {
  const plain = sends.filter(isPlainClaim);
  const together = plain.length > 1 ? new Set(plain) : new Set<Send>();
  const own = sends.map((send) => (together.has(send) ? [] : statementsOf(send)));
  const first = together.size > 0 ? [plainClaims([...together])] : [];
  return {
    statements: [...first, ...own.flat()],
    resultsOf: (results) => {
      const rows = first.length === 0 ? [] : (results[0]?.results ?? []);
      const byNonce = new Map(rows.map((row) => [nonceOf(row), row]));
      let at = first.length;
      return sends.map((send, i): SendResults => {
        if (together.has(send)) return { claimed: byNonce.get(send.nonce), rest: [] };
        const mine = results.slice(at, at + (own[i]?.length ?? 0));
        at += mine.length;
        return { claimed: mine[0]?.results[0], rest: mine.slice(1) };
      });
    },
  };
};

const nonceOf = (row: unknown): unknown =>
  typeof row === "object" && row !== null ? Reflect.get(row, "nonce") : undefined;

/** It opens an exchange, and that is all that it does in the database. */
const isPlainClaim = ({ submission: { opens, plan }, forcedRefusal }: Send): boolean =>
  opens === true &&
  forcedRefusal === undefined &&
  plan.guards.length === 0 &&
  plan.effects.length === 0 &&
  (plan.facts ?? []).length === 0;

/** The same claim as `statementsOf` makes, by the same rule for a second delivery, for many keys. */
const plainClaims = (sends: readonly Send[]): Sql => {
  const claims = sends.map(({ submission: s, nonce, attempt }) => [
    s.tenant,
    s.key,
    s.operation,
    s.fingerprintVersion,
    s.fingerprint,
    JSON.stringify(s.members),
    s.object,
    nonce,
    attempt,
    s.createdAtMs,
    s.expiresAtS,
    s.forgetAtS,
    s.plan.answer.status,
    heldText(s.plan),
    s.by.actor,
    s.by.requestId,
    keyHash(s.tenant, s.key),
  ]);
  return sql`
INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, attempt, state,
  created_at_ms, expires_at_s, forget_at_s, status, body, actor, request_id, key_hash)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, 'in-flight',
  value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15, value ->> 16
FROM json_each(${JSON.stringify(claims)}) WHERE true
ON CONFLICT (tenant, key) DO UPDATE SET deliveries = deliveries + 1 WHERE nonce = excluded.nonce
RETURNING nonce, ${VERDICT}`;
};
