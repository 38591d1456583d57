/**
 * What becomes of a journal row whose effect is outside the database: final, uncertain, or gone. Each is a
 * compare-and-set on the row's claim (its nonce), state and attempt: it changes an open row of that very claim and
 * nothing else, so that it may be sent late, twice, or after another one. The first final state stands.
 */
import { z } from "zod";
import type { StoredResponse } from "../idempotency/stored-response.ts";
import type { Effect } from "../kernel/plan.ts";
import { keyHash } from "../kernel/hash.ts";
import { sql, type Sql, trusted } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";
import { auditOfSettlement, BY_SERVICE } from "./audit-log.ts";
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
};

/** Settles rows of one tenant, in one transaction; gives back how they stand afterwards. */
export const settleRecords = async (
  db: Database,
  settlements: readonly Settlement[],
  nowMs: number,
): Promise<Map<string, JournalEntry>> => {
  const [first] = settlements;
  if (first === undefined) return new Map();
  const keys = JSON.stringify(settlements.map(({ key }) => key));
  const results = await db.batch([
    ...settlements.flatMap((one) => statementsOf(one, nowMs)).map((one) => statement(db, one)),
    statement(
      db,
      sql`SELECT ${RECORD_COLUMNS} FROM journal WHERE tenant = ${first.tenant} AND key IN (SELECT value FROM json_each(${keys}))`,
    ),
  ]);
  const entries = (results.at(-1)?.results ?? []).map(parseRecordRow);
  return new Map(entries.map((entry) => [entry.key, entry]));
};

const statementsOf = (settlement: Settlement, nowMs: number): Sql[] => {
  const { tenant, key, nonce, attempt, to, resolution } = settlement;
  const open = sql`tenant = ${tenant} AND key = ${key} AND nonce = ${nonce} AND attempt <= ${attempt} AND state IN ${trusted(to.state === "uncertain" ? "('in-flight')" : "('in-flight', 'uncertain')")}`;
  // Before the row changes, so that they are applied if, and only if, it is this that changes it.
  const effects = (settlement.effects ?? []).map((effect) => effectStatement(tenant, effect, open));
  // Likewise: it is part of the audit only if it is what settles the row.
  const note = auditOfSettlement(
    {
      kind: resolution === null ? "outcome" : "resolution",
      actor: resolution?.by ?? BY_SERVICE.actor,
      atMs: nowMs,
      keyHash: keyHash(tenant, key),
      status: to.state === "final" ? to.status : null,
      code: codeOf(to),
      link: to.state === "final" ? to.link : null,
    },
    open,
  );
  const audit =
    resolution === null
      ? [note]
      : [
          note,
          sql`INSERT INTO resolutions (tenant, key, nonce, outcome, status, digest, reason, decided_by, decided_at_ms) SELECT ${tenant}, ${key}, ${nonce}, ${resolution.outcome}, ${resolution.status}, ${resolution.digest}, ${resolution.reason}, ${resolution.by}, ${resolution.atMs} WHERE EXISTS (SELECT 1 FROM journal WHERE ${open}) ON CONFLICT DO NOTHING`,
        ];
  switch (to.state) {
    case "final":
      return [
        ...audit,
        ...effects,
        sql`UPDATE journal SET state = 'final', attempt = ${attempt}, status = ${to.status}, refusal = ${to.refusal}, headers = ${JSON.stringify(to.headers)}, body = ${to.body}, link = ${to.link}, expires_at_s = ${to.expiresAtS}, forget_at_s = ${to.forgetAtS} WHERE ${open}`,
      ];
    case "uncertain":
      return [
        ...audit,
        sql`UPDATE journal SET state = 'uncertain', attempt = ${attempt} WHERE ${open}`,
      ];
    case "free":
      return [...audit, ...effects, sql`DELETE FROM journal WHERE ${open}`];
  }
};

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
