/** What a fuzz run knows of each key that it sent, and whether answers and database agree with it. */
import type { RawAnswer } from "./raw-http.ts";
import { findImbalances } from "./imbalances.ts";
import type { Server } from "./server.ts";

/** What is known of a key from the answers that it got. */
export type KeyLife = {
  readonly tenant: string;
  readonly key: string;
  /** `refused`: nothing may be stored. `open`: nobody was told. `told`: stored, and this is what. */
  fate: "refused" | "open" | "told";
  outcome?: RawAnswer;
  erased?: true;
  /** Of one scenario alone: what becomes of it is not for others to retry. */
  isOwn?: true;
};

/** A problem's code, or what a success is. */
export const nameOf = (answer: RawAnswer): string => {
  if (answer.status < 300) return answer.headers.has("idempotent-replayed") ? "replayed" : "done";
  try {
    const { code } = JSON.parse(answer.text) as { code?: unknown };
    return String(code);
  } catch {
    return "";
  }
};

const REPLAYED_HEADERS = ["content-type", "location", "etag", "link", "idempotency-expires"];

/** What differs between an outcome and another telling of it. */
export const sameBytes = (first: RawAnswer, answer: RawAnswer): string | undefined => {
  if (answer.status !== first.status || answer.text !== first.text)
    return "a replay with other bytes";
  const header = REPLAYED_HEADERS.find(
    (name) => first.headers.get(name) !== answer.headers.get(name),
  );
  return header === undefined ? undefined : `a replay with another ${header}`;
};

/** What is wrong with the answer to a retry. */
export const sameOutcome = (
  { outcome, erased }: KeyLife,
  answer: RawAnswer,
): string | undefined => {
  if (erased === true)
    return answer.status === 410 ? undefined : `an erased key gets ${answer.status}`;
  if (answer.headers.get("idempotent-replayed") !== "true") {
    return `a retry gets ${answer.status} ${nameOf(answer)}, not marked as a replay`;
  }
  return outcome === undefined ? undefined : sameBytes(outcome, answer);
};

/**
 * Each key that was told an outcome has a row that says the same; once the run is over, none that was only refused has one.
 * @param lives by `tenant key`
 */
export const journalFaults = async (
  server: Server,
  lives: ReadonlyMap<string, KeyLife>,
  isOver: boolean,
): Promise<string[]> => {
  // What was told is stored: so the answers are read first, and the rows after.
  const told = [...lives].filter(([, { fate }]) => fate === "told");
  const rows = await server.sql("SELECT tenant, key, status, state, body FROM journal");
  const byName = new Map(rows.map((row) => [`${row["tenant"]} ${row["key"]}`, row]));
  const faults = told.flatMap(([name, { key, outcome }]) => {
    const row = byName.get(name);
    if (row === undefined) return [`the key ${key} was told an outcome and has no row`];
    const isSame =
      row["status"] === outcome?.status &&
      (row["state"] !== "final" || row["body"] === outcome?.text);
    return isSame ? [] : [`the key ${key} is stored otherwise than told`];
  });
  if (!isOver) return faults;
  for (const name of byName.keys()) {
    const life = lives.get(name);
    if (life?.fate === "refused") faults.push(`the key ${life.key} was refused, and has a row`);
    if (life === undefined && name.includes(" fuzz-")) faults.push(`nobody sent ${name}`);
  }
  return faults;
};

/** One effect for each success, none for anything else, and books that balance. */
export const effectFaults = async (server: Server): Promise<string[]> => {
  const [keys = [], orphans = [], made = []] = await server.sqlBatch([
    [
      `SELECT key, operation, refusal,
         (SELECT count(*) FROM transfers AS t WHERE t.tenant = j.tenant AND t.key = j.key) AS transfers,
         (SELECT count(*) FROM orders AS o WHERE o.tenant = j.tenant AND o.key = j.key) AS orders,
         (SELECT count(DISTINCT id) FROM stock_moves AS m WHERE m.tenant = j.tenant AND m.key = j.key) AS moves
       FROM journal AS j`,
    ],
    [
      `SELECT tenant, key FROM (SELECT tenant, key FROM transfers UNION SELECT tenant, key FROM stock_moves) AS e
       WHERE key <> 'seed' AND NOT EXISTS
         (SELECT 1 FROM journal AS j WHERE j.tenant = e.tenant AND j.key = e.key AND j.refusal IS NULL)`,
    ],
    // What carries no key is counted. Two accounts of each tenant were there before.
    [
      `SELECT 'accounts' AS what, (SELECT count(*) FROM accounts WHERE id NOT LIKE 'system:%')
          - 2 * (SELECT count(DISTINCT tenant) FROM accounts) AS found,
          (SELECT count(*) FROM journal WHERE operation = 'accounts.create' AND refusal IS NULL) AS told
       UNION SELECT 'products', (SELECT count(*) FROM products),
          (SELECT count(*) FROM journal WHERE operation = 'products.create' AND refusal IS NULL)`,
    ],
  ]);
  return [
    ...(await findImbalances(server)).map(
      ([fault, rows]) => `${fault}: ${JSON.stringify(rows.slice(0, 3))}`,
    ),
    ...orphans.map(({ key }) => `an effect of the key ${String(key)}, which has no success`),
    ...made
      .filter(({ found, told }) => found !== told)
      .map(
        ({ what, found, told }) =>
          `${String(what)}: ${String(found)} for ${String(told)} successes`,
      ),
    ...keys.flatMap(({ key, operation, refusal, ...counts }) => {
      const effects = {
        transfers: Number(counts["transfers"]),
        orders: Number(counts["orders"]),
        moves: Number(counts["moves"]),
      };
      const isRight =
        refusal === null
          ? (EFFECTS[String(operation)]?.(effects) ?? true)
          : effects.transfers + effects.orders + effects.moves === 0;
      return isRight
        ? []
        : [`${String(operation)} with the key ${String(key)} made ${JSON.stringify(effects)}`];
    }),
  ];
};

type Made = { readonly transfers: number; readonly orders: number; readonly moves: number };

/** What one success makes, by operation. */
const EFFECTS: Readonly<Record<string, (made: Made) => boolean>> = {
  "accounts.create": ({ transfers, orders, moves }) => transfers + orders + moves === 0,
  "payments.create": ({ transfers, orders, moves }) => transfers === 1 && orders + moves === 0,
  "refunds.create": ({ transfers, orders, moves }) => transfers === 1 && orders + moves === 0,
  "products.create": ({ transfers, orders, moves }) => moves <= 1 && orders + transfers === 0,
  "stock.adjust": ({ transfers, orders, moves }) => moves === 1 && orders + transfers === 0,
  "orders.create": ({ transfers, orders, moves }) => orders === 1 && moves === 1 && transfers <= 1,
  "orders.cancel": ({ transfers, orders, moves }) => orders === 0 && moves === 1 && transfers <= 1,
};
