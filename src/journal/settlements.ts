/**
 * What becomes of a journal row whose effect is outside the database: final, uncertain, or gone. Each is a
 * compare-and-set on the row's claim (its nonce), state and attempt: it changes an open row of that very claim and
 * nothing else, so that it may be sent late, twice, or after another one. The first final state stands.
 */
import { z } from "zod";
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import type { StoredResponse } from "../idempotency/stored-response.ts";
import type { Effect } from "../kernel/plan.ts";
import { keyHash } from "../kernel/hash.ts";
import { sql, type Sql } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";
import { auditOfRowsWrittenAgain, auditOfSettlements, BY_SERVICE } from "./audit-log.ts";
import type { JournalPlace } from "./journal.ts";
import { type JournalEntry, parseRecordRow } from "./record-row.ts";
import { effectStatement, RECORD_COLUMNS } from "./statements.ts";

/** A person's decision about an uncertain key, as it is kept for the audit. */
export type ResolutionRecord = {
  readonly outcome: "executed" | "not-executed";
  readonly status: number | null;
  /** SHA-256 of all that the outcome says. */
  readonly digest: string;
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
};

export type Settlement = {
  readonly tenant: string;
  readonly key: string;
  /** Of the claim. */
  readonly nonce: string;
  /** The last try that is known of: a row that knows of a later one is not changed. */
  readonly attempt: number;
  readonly to:
    | {
        readonly state: "final";
        readonly status: number;
        readonly refusal: string | null;
        /** Of an operation's own answer. */
        readonly headers: StoredResponse["headers"];
        /** Empty where the bytes are in the object. */
        readonly body: string;
        readonly link: string | null;
        readonly expiresAtS: number;
        readonly forgetAtS: number;
      }
    | { readonly state: "uncertain" }
    /** Nothing was executed: the key is as if it had never been used. */
    | { readonly state: "free" };
  readonly resolution: ResolutionRecord | null;
  /** What happens in the database together with it: what was held is settled, or released. */
  readonly effects?: readonly Effect[];
  /** Set where the row may be gone though nobody set the key free: then it is written again first. */
  readonly lost?: LostClaim | undefined;
};

/** The columns of a claim whose row a restored database does not have any more. */
export type LostClaim = {
  readonly operation: string;
  readonly fingerprintVersion: number;
  readonly fingerprint: string;
  readonly members: MemberHashes;
  readonly object: string;
  readonly createdAtMs: number;
  readonly expiresAtS: number;
  readonly forgetAtS: number;
};

/**
 * Settles rows of one tenant, in one transaction; gives back whose claim each key is afterwards, by nonce. What happens
 * in the database with a settlement asks for the open row, and so does its audit row: both come before the row changes.
 * The changes themselves are one statement for all keys, because each is about its own row alone.
 */
export const settleRecords = async (
  db: Database,
  settlements: readonly Settlement[],
  nowMs: number,
): Promise<Map<string, string>> => {
  const [first] = settlements;
  if (first === undefined) return new Map();
  const { tenant } = first;
  const results = await db.batch(
    settlementStatements(tenant, settlements, nowMs).map((one) => statement(db, one)),
  );
  const rows = (results.at(-1)?.results ?? []).map((row) => claimed.parse(row));
  return new Map(rows.map(({ key, nonce }) => [key, nonce]));
};

/** The last one gives back key and nonce of every row that is there. */
export const settlementStatements = (
  tenant: string,
  settlements: readonly Settlement[],
  nowMs: number,
): Sql[] => {
  const keys = JSON.stringify(settlements.map(({ key }) => key));
  return [
    ...writtenAgain(settlements, nowMs),
    auditOfSettlements(
      tenant,
      settlements.map((one) => auditedAs(one, nowMs)),
    ),
    ...settlements.flatMap(togetherWith),
    ...changes(settlements),
    sql`SELECT key, nonce FROM journal WHERE tenant = ${tenant} AND key IN (SELECT value FROM json_each(${keys}))`,
  ];
};

/**
 * Claims that the database has lost, in flight once more, so that what settles a row settles these like all others. Never
 * over a row that is there, whosever it is; and never of a claim that a person has decided about, because that word may
 * have set the key free since this was sent. Its audit row says that it is no new claim, so the trigger's is left out.
 */
const writtenAgain = (settlements: readonly Settlement[], nowMs: number): Sql[] => {
  const lost = settlements.flatMap(({ tenant, key, nonce, attempt, lost: claim }) =>
    claim === undefined
      ? []
      : [
          {
            ...claim,
            tenant,
            key,
            nonce,
            attempt,
            members: JSON.stringify(claim.members),
            keyHash: keyHash(tenant, key),
          },
        ],
  );
  if (lost.length === 0) return [];
  const isLost = sql`NOT EXISTS (SELECT 1 FROM journal AS j WHERE j.tenant = c.value ->> 'tenant' AND j.key = c.value ->> 'key')
  AND NOT EXISTS (SELECT 1 FROM resolutions AS r WHERE r.tenant = c.value ->> 'tenant' AND r.key = c.value ->> 'key' AND r.nonce = c.value ->> 'nonce')`;
  const claims = JSON.stringify(lost);
  return [
    auditOfRowsWrittenAgain(claims, isLost, nowMs),
    sql`INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, attempt, state,
  created_at_ms, expires_at_s, forget_at_s, status, actor, request_id)
SELECT c.value ->> 'tenant', c.value ->> 'key', c.value ->> 'operation', c.value ->> 'fingerprintVersion', c.value ->> 'fingerprint',
  c.value ->> 'members', c.value ->> 'object', c.value ->> 'nonce', c.value ->> 'attempt', 'in-flight', c.value ->> 'createdAtMs',
  c.value ->> 'expiresAtS', c.value ->> 'forgetAtS', 200, ${BY_SERVICE.actor}, ''
FROM json_each(${claims}) AS c WHERE ${isLost} ON CONFLICT (tenant, key) DO NOTHING`,
  ];
};

const claimed = z.object({ key: z.string(), nonce: z.string() });

const auditedAs = ({ tenant, key, nonce, attempt, to, resolution }: Settlement, nowMs: number) => ({
  key,
  nonce,
  attempt,
  from: settlesFrom(to),
  kind: resolution === null ? ("outcome" as const) : ("resolution" as const),
  actor: resolution?.by ?? BY_SERVICE.actor,
  atMs: nowMs,
  keyHash: keyHash(tenant, key),
  status: to.state === "final" ? to.status : null,
  code: codeOf(to),
  link: to.state === "final" ? to.link : null,
});

/** The states that a row may be settled from. The first final state stands. */
const settlesFrom = (to: Settlement["to"]): readonly string[] =>
  to.state === "uncertain" ? ["in-flight"] : ["in-flight", "uncertain"];

/** The row, as long as it may be settled so. */
const openRow = ({ tenant, key, nonce, attempt, to }: Settlement): Sql =>
  sql`tenant = ${tenant} AND key = ${key} AND nonce = ${nonce} AND attempt <= ${attempt} AND state IN (SELECT value FROM json_each(${JSON.stringify(settlesFrom(to))}))`;

/** What is done together with the change of a row, and before it, so that it is done if, and only if, the row changes. */
const togetherWith = (settlement: Settlement): Sql[] => {
  const { tenant, key, nonce, resolution: r } = settlement;
  const open = openRow(settlement);
  const effects = (settlement.effects ?? []).map((effect) => effectStatement(tenant, effect, open));
  if (r === null) return effects;
  return [
    sql`INSERT INTO resolutions (tenant, key, nonce, outcome, status, digest, reason, decided_by, decided_at_ms) SELECT ${tenant}, ${key}, ${nonce}, ${r.outcome}, ${r.status}, ${r.digest}, ${r.reason}, ${r.by}, ${r.atMs} WHERE EXISTS (SELECT 1 FROM journal WHERE ${open}) ON CONFLICT DO NOTHING`,
    ...effects,
  ];
};

const changes = (settlements: readonly Settlement[]): Sql[] => {
  const kept = settlements.flatMap((one) =>
    one.to.state === "free" ? [] : [changeOf(one, one.to)],
  );
  const freed = settlements.filter(({ to }) => to.state === "free");
  return [
    ...inPortions(kept).map(
      (portion) =>
        sql`UPDATE journal SET state = c.value ->> 's', attempt = c.value ->> 'a', status = COALESCE(c.value ->> 'status', status),
  refusal = c.value ->> 'refusal', headers = c.value ->> 'headers', body = COALESCE(c.value ->> 'body', body), link = c.value ->> 'link',
  expires_at_s = COALESCE(c.value ->> 'expires', expires_at_s), forget_at_s = COALESCE(c.value ->> 'forget', forget_at_s)
FROM json_each(${JSON.stringify(portion)}) AS c
WHERE tenant = c.value ->> 't' AND journal.key = c.value ->> 'k' AND nonce = c.value ->> 'n' AND attempt <= c.value ->> 'a'
  AND state IN (SELECT f.value FROM json_each(c.value, '$.from') AS f)`,
    ),
    ...freed.map((one) => sql`DELETE FROM journal WHERE ${openRow(one)}`),
  ];
};

/** Mostly one. D1 takes two million bytes as one value, and answers of operations are told in full. */
const inPortions = <One extends { readonly body?: string }>(all: readonly One[]): One[][] => {
  const portions: One[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const one of all) {
    const length = one.body?.length ?? 0;
    if (characters + length > PORTION_CHARACTERS) {
      portions.push([]);
      characters = 0;
    }
    portions.at(-1)?.push(one);
    characters += length;
  }
  return portions;
};

/** Also where every one of them takes three bytes, or is escaped. */
const PORTION_CHARACTERS = 250_000;

/** An uncertain row keeps what it has: only its state changes. */
const changeOf = (
  { tenant, key, nonce, attempt }: Settlement,
  to: Exclude<Settlement["to"], { state: "free" }>,
) => ({
  // The tenant, too, is told by the list: else SQLite walks the tenant's rows, and looks for each in the list.
  t: tenant,
  k: key,
  n: nonce,
  a: attempt,
  s: to.state,
  from: settlesFrom(to),
  ...(to.state === "final"
    ? {
        status: to.status,
        refusal: to.refusal,
        headers: JSON.stringify(to.headers),
        body: to.body,
        link: to.link,
        expires: to.expiresAtS,
        forget: to.forgetAtS,
      }
    : {}),
});

/** What the audit log calls an end that is no success. */
const codeOf = (to: Settlement["to"]): string | null => {
  switch (to.state) {
    case "final":
      return to.refusal;
    case "uncertain":
      return "outcome-uncertain";
    case "free":
      return "not-executed";
  }
};

/**
 * Takes over a claim that was never called for: its object died, or the batch came late. Gives back whether the row was
 * still as it was read; from then on it is the new nonce's.
 */
export const takeOver = async (
  db: Database,
  { tenant, key, nonce, attempt }: JournalPlace & Pick<JournalEntry, "nonce" | "attempt">,
  freshNonce: string,
): Promise<boolean> => {
  const { results } = await statement(
    db,
    sql`UPDATE journal SET nonce = ${freshNonce}, attempt = attempt + 1 WHERE tenant = ${tenant} AND key = ${key} AND nonce = ${nonce} AND attempt = ${attempt} AND state = 'in-flight' RETURNING key`,
  ).all();
  return results.length > 0;
};

/** A row that is open, and where. */
export type OpenKey = JournalPlace & { readonly entry: JournalEntry };

const placed = z.object({ tenant: z.string(), key: z.string() });

/** A keyset page of uncertain keys, whosever they are, by tenant and key. */
export const listUncertain = async (
  db: Database,
  after: JournalPlace,
  limit: number,
): Promise<OpenKey[]> => {
  const { results } = await statement(
    db,
    // The index holds these rows alone; said as text, so that SQLite sees that it does.
    sql`SELECT tenant, ${RECORD_COLUMNS} FROM journal WHERE state = 'uncertain' AND (tenant, key) > (${after.tenant}, ${after.key}) ORDER BY tenant, key LIMIT ${limit}`,
  ).all();
  return results.map((row) => ({ ...placed.parse(row), entry: parseRecordRow(row) }));
};

/** What was decided last about a key, undefined if nothing was. */
export const findResolution = async (
  db: Database,
  tenant: string,
  key: string,
): Promise<Pick<ResolutionRecord, "digest" | "outcome"> | undefined> => {
  const { results } = await statement(
    db,
    sql`SELECT digest, outcome FROM resolutions WHERE tenant = ${tenant} AND key = ${key} ORDER BY decided_at_ms DESC LIMIT 1`,
  ).all();
  return results[0] === undefined ? undefined : resolutionRow.parse(results[0]);
};

const resolutionRow = z.object({
  digest: z.string(),
  outcome: z.enum(["executed", "not-executed"]),
});

/**
 * Releases a claim that nobody called for: deleted if it is still as it was read.
 * @param effects give back what was held with it
 */
export const releaseClaim = async (
  db: Database,
  { tenant, key }: JournalPlace,
  { nonce, attempt }: Pick<JournalEntry, "nonce" | "attempt">,
  effects: readonly Effect[],
  nowMs: number,
): Promise<void> => {
  const free = { tenant, key, nonce, attempt, to: { state: "free" }, resolution: null } as const;
  await settleRecords(db, [{ ...free, effects }], nowMs);
};
