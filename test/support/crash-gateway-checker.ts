/**
 * Judges a crash run of the gateway and of payouts: from the clients' history, the database, the list of uncertain keys
 * that was served, and the upstreams' own record of calls and effects. No line of the product is asked.
 *
 * - No second effect at an upstream that runs keys once, or whose absence is final and is asked about after its quiet
 *   period. At one that does neither, no call after one that may have been carried out: nothing is run blindly.
 * - A key that was told a success has its effect, and the answer is that effect's; one that was told a refusal has none.
 * - Every key is final or uncertain in time, everybody was told the same, and each doubtful key is on the list.
 * - Money: the ledger sums to zero; a payout is paid if its key was told so, back if it was refused, and held exactly as
 *   long as its key is uncertain.
 */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { checkLedger, FINAL_WITHIN_MS } from "./crash-checker.ts";
import { type Answer, type HistoryEntry, isOutcome } from "./crash-history.ts";
import type { UpstreamCall, UpstreamEffect, UpstreamKind } from "./crash-upstream.ts";

/** A run in which most keys are in doubt has shown nothing of the others. */
const SETTLED_SHARE_MIN = 0.5;

export type GatewayResult = {
  readonly seed: number;
  readonly kills: number;
  readonly processor: string;
  readonly operations: number;
  /** Calls that reached an upstream, and effects there. */
  readonly upstreamCalls: number;
  readonly upstreamEffects: number;
  /** Keys that were told a success, and that are uncertain. */
  readonly succeeded: number;
  readonly uncertain: number;
  /** Second effects where none may be, and effects of keys that were refused or that nobody asked for. */
  readonly upstreamDoubles: number;
  /** Calls after one that may have been carried out, at an upstream that neither runs keys once nor can be asked. */
  readonly blindReruns: number;
  /** Keys in doubt that no list names. */
  readonly uncertainUnlisted: number;
  /** Told successes whose effect, or whose money, is missing or another. */
  readonly lost: number;
  readonly differing: number;
  readonly imbalance: number;
  readonly unfinished: number;
  readonly points: { readonly [point: string]: number };
};

export type GatewayRun = {
  readonly history: readonly HistoryEntry[];
  /** Path of the database's file, which nobody writes to any more. */
  readonly database: string;
  readonly calls: readonly UpstreamCall[];
  readonly effects: readonly UpstreamEffect[];
  /** `tenant key` of each that the list of uncertain keys named at the end. */
  readonly listed: ReadonlySet<string>;
  readonly processor: UpstreamKind;
  /** When the last server had been started, and the last call had gone wrong. */
  readonly lastFaultMs: number;
};

export type GatewayVerdict = {
  readonly result: GatewayResult;
  readonly violations: readonly string[];
};

type Findings = Record<
  | "upstreamDoubles"
  | "blindReruns"
  | "uncertainUnlisted"
  | "lost"
  | "differing"
  | "imbalance"
  | "unfinished",
  string[]
>;

export const checkGatewayRun = (run: GatewayRun): GatewayVerdict => {
  const found: Findings = {
    upstreamDoubles: [],
    blindReruns: [],
    uncertainUnlisted: [],
    lost: [],
    differing: [],
    imbalance: checkLedger(run.database),
    unfinished: [],
  };
  const keys = keysOf(run.history);
  const db = new DatabaseSync(run.database);
  let uncertain: number;
  try {
    const states = statesOf(db);
    for (const key of keys.values()) {
      checkTold(key, found);
      checkEnd(key, states.get(key.name), run.lastFaultMs, run.listed, found);
    }
    checkEffects(keys, run.effects, found);
    checkPayouts([...keys.values()], db, found);
    uncertain = [...states.values()].filter((state) => state === "uncertain").length;
  } finally {
    db.close();
  }
  checkCalls(run, found);
  return verdict(run, [...keys.values()], uncertain, found);
};

/* What was told. */

type Key = {
  /** `tenant key` */
  readonly name: string;
  readonly operation: Extract<HistoryEntry, { kind: "operation" }>;
  readonly answers: (Answer & { readonly atMs: number })[];
};

const keysOf = (history: readonly HistoryEntry[]): Map<string, Key> => {
  const keys = new Map<string, Key>();
  for (const entry of history) {
    if (entry.kind === "operation") {
      const name = `${entry.tenant} ${entry.key}`;
      keys.set(name, { name, operation: entry, answers: [] });
    } else if (entry.kind === "answer") {
      keys.get(`${entry.tenant} ${entry.key}`)?.answers.push(entry);
    }
  }
  return keys;
};

const outcomeOf = (key: Key): Key["answers"][number] | undefined => key.answers.find(isOutcome);

const isUncertain = (answer: Answer): boolean =>
  answer.status === 409 && !isOutcome(answer) && answer.body.includes('"outcome-uncertain"');

const wasUncertain = (key: Key): boolean => key.answers.some(isUncertain);

const toldOf = (key: Key): "success" | "refusal" | "nothing" => {
  const outcome = outcomeOf(key);
  if (outcome === undefined) return "nothing";
  return outcome.status < 300 ? "success" : "refusal";
};

/** Of these each answer has its own. */
const OF_THE_ANSWER = new Set(["x-request-id", "idempotent-replayed"]);

const shown = ({ status, headers, body }: Answer): string =>
  JSON.stringify([
    status,
    Object.entries(headers)
      .filter(([name]) => !OF_THE_ANSWER.has(name))
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    body,
  ]);

/** RP: one outcome, told once as new at most; and a key that was in doubt has none without a person. */
const checkTold = (key: Key, found: Findings): void => {
  const outcomes = key.answers.filter(isOutcome);
  if (new Set(outcomes.map(shown)).size > 1) {
    found.differing.push(`${key.name} was told ${outcomes.map(shown).join(" and ")}`);
  }
  if (outcomes.filter(({ headers }) => headers["idempotent-replayed"] !== "true").length > 1) {
    found.differing.push(`${key.name} was told twice to be new`);
  }
  if (outcomes.length > 0 && wasUncertain(key)) {
    found.differing.push(`${key.name} was told to be uncertain, and an outcome`);
  }
};

/** LV, by what the clients heard and by what the journal says. */
const checkEnd = (
  key: Key,
  state: string | undefined,
  lastFaultMs: number,
  listed: ReadonlySet<string>,
  found: Findings,
): void => {
  const end = key.answers.find((answer) => isOutcome(answer) || isUncertain(answer));
  if (end === undefined || end.atMs > lastFaultMs + FINAL_WITHIN_MS) {
    found.unfinished.push(`${key.name} had neither an outcome nor was it uncertain in time`);
  }
  if (state !== "final" && state !== "uncertain") {
    found.unfinished.push(`${key.name} is ${state ?? "not there"} in the journal`);
  }
  if ((wasUncertain(key) || state === "uncertain") && !listed.has(key.name)) {
    found.uncertainUnlisted.push(`${key.name} is in doubt, and not listed`);
  }
};

/* What happened outside. */

const asked = z.object({ reference: z.string().optional(), destination: z.string().optional() });

/** The key that asked for an effect: clients write it into what they send. */
const askedBy = ({ body, upstream }: UpstreamEffect): string => {
  const { reference, destination } = asked.parse(JSON.parse(body));
  return ((upstream === "processor" ? destination : reference) ?? "").replace("/", " ");
};

const checkEffects = (
  keys: ReadonlyMap<string, Key>,
  effects: readonly UpstreamEffect[],
  found: Findings,
): void => {
  const byKey = new Map<string, UpstreamEffect[]>();
  for (const effect of effects) {
    const name = askedBy(effect);
    byKey.set(name, [...(byKey.get(name) ?? []), effect]);
    if (!keys.has(name)) found.upstreamDoubles.push(`${effect.id} was asked for by nobody`);
  }
  for (const key of keys.values()) {
    const { name, operation } = key;
    if (operation.name !== "call" && operation.name !== "payout") continue;
    const own = byKey.get(name) ?? [];
    if (own.length > 1) {
      found.upstreamDoubles.push(`${name} has ${own.length} effects at ${own[0]?.upstream}`);
    }
    const told = toldOf(key);
    if (told === "refusal" && own.length > 0) {
      found.upstreamDoubles.push(`${name} was told a refusal, and has an effect`);
    }
    if (told !== "success") continue;
    const { id, reference } = answerBody.parse(JSON.parse(outcomeOf(key)?.body ?? "{}"));
    const toldId = operation.name === "payout" ? reference : id;
    if (own[0]?.id !== toldId) {
      found.lost.push(`${name} was told ${String(toldId)}, and its effect is ${own[0]?.id}`);
    }
  }
};

const answerBody = z.object({ id: z.string().optional(), reference: z.string().nullish() });

/** A call is blind if one before it may have been carried out, and there was nobody who could know. */
const checkCalls = ({ calls, processor }: GatewayRun, found: Findings): void => {
  const doubtful = new Set<string>();
  for (const { upstream, key, fault } of calls) {
    if ((upstream === "processor" ? processor : upstream) !== "neither") continue;
    const name = `${upstream} ${key}`;
    if (doubtful.has(name)) found.blindReruns.push(`${name} was called again`);
    // Of these alone the upstream said that they were not carried out.
    if (fault !== "too-many") doubtful.add(name);
  }
};

/* The database. */

const statesOf = (db: DatabaseSync): Map<string, string> =>
  new Map(
    db
      .prepare("SELECT tenant, key, state FROM journal")
      .all()
      .map((row) => [`${String(row["tenant"])} ${String(row["key"])}`, String(row["state"])]),
  );

const payoutRow = z.object({
  tenant: z.string(),
  key: z.string(),
  state: z.string(),
  amount: z.number(),
  account: z.string(),
  currency: z.string(),
});

const checkPayouts = (keys: readonly Key[], db: DatabaseSync, found: Findings): void => {
  const rows = db
    .prepare("SELECT tenant, key, state, amount, account, currency FROM payouts")
    .all()
    .map((row) => payoutRow.parse(row));
  const byKey = new Map<string, z.output<typeof payoutRow>[]>();
  for (const row of rows) {
    const name = `${row.tenant} ${row.key}`;
    byKey.set(name, [...(byKey.get(name) ?? []), row]);
  }
  for (const key of keys.filter(({ operation }) => operation.name === "payout")) {
    const own = byKey.get(key.name) ?? [];
    byKey.delete(key.name);
    const live = own.filter(({ state }) => state !== "released").map(({ state }) => state);
    const told = toldOf(key);
    const wanted = told === "success" ? ["paid"] : wasUncertain(key) ? ["held"] : [];
    if (told === "nothing" && !wasUncertain(key)) continue;
    if (JSON.stringify(live) !== JSON.stringify(wanted)) {
      found.lost.push(
        `${key.name} was told ${told}, and its payout is ${live.join(", ") || "not there"}`,
      );
    }
    const { body } = key.operation;
    if (
      own.some(
        ({ amount, account }) => amount !== body["amountMinor"] || account !== body["account"],
      )
    ) {
      found.lost.push(`${key.name} made ${JSON.stringify(own)}`);
    }
  }
  for (const name of byKey.keys()) found.upstreamDoubles.push(`${name} made a payout for nobody`);
  for (const [sentence, sql] of Object.entries(PAYOUT_IMBALANCES)) {
    for (const row of db.prepare(sql).all()) {
      found.imbalance.push(`${sentence}: ${JSON.stringify(row)}`);
    }
  }
};

/** Each finds what should not be there. */
const PAYOUT_IMBALANCES: Readonly<Record<string, string>> = {
  "what is on its way is not what is held": `
    SELECT a.tenant, a.id, a.balance FROM accounts a WHERE a.id LIKE 'system:%:held' AND a.balance <>
      (SELECT COALESCE(SUM(amount), 0) FROM payouts p WHERE p.tenant = a.tenant AND p.currency = a.currency AND p.state = 'held')`,
  "what has left is not what is paid": `
    SELECT a.tenant, a.id, a.balance FROM accounts a WHERE a.id LIKE 'system:%:paid-out' AND a.balance <>
      (SELECT COALESCE(SUM(amount), 0) FROM payouts p WHERE p.tenant = a.tenant AND p.currency = a.currency AND p.state = 'paid')`,
  "a payout has moved otherwise than it says": `
    SELECT p.tenant, p.id, p.state FROM payouts p WHERE
      (SELECT GROUP_CONCAT(SUBSTR(id, 32) || amount, ' ') FROM
        (SELECT id, amount FROM transfers t WHERE t.tenant = p.tenant AND t.id LIKE p.id || '\\_%' ESCAPE '\\' ORDER BY id))
      <> 'held' || amount || CASE state WHEN 'held' THEN '' ELSE ' ' || state || amount END`,
};

const verdict = (
  { history, processor, calls, effects }: GatewayRun,
  keys: readonly Key[],
  uncertain: number,
  found: Findings,
): GatewayVerdict => {
  const kills = history.filter((entry) => entry.kind === "kill");
  const points: Record<string, number> = {};
  for (const { point } of kills) points[point] = (points[point] ?? 0) + 1;
  const succeeded = keys.filter((key) => toldOf(key) === "success").length;
  const result: GatewayResult = {
    seed: history.find((entry) => entry.kind === "run")?.seed ?? 0,
    kills: kills.length,
    processor,
    operations: keys.length,
    upstreamCalls: calls.length,
    upstreamEffects: effects.length,
    succeeded,
    uncertain,
    upstreamDoubles: found.upstreamDoubles.length,
    blindReruns: found.blindReruns.length,
    uncertainUnlisted: found.uncertainUnlisted.length,
    lost: found.lost.length,
    differing: found.differing.length,
    imbalance: found.imbalance.length,
    unfinished: found.unfinished.length,
    points,
  };
  const violations = Object.entries(found).flatMap(([kind, sentences]) =>
    sentences.map((sentence) => `${kind}: ${sentence}`),
  );
  if (succeeded < SETTLED_SHARE_MIN * keys.length || keys.length === 0) {
    violations.push(`Only ${succeeded} of ${keys.length} operations succeeded.`);
  }
  return { result, violations };
};
