/**
 * Judges a crash run from its history and its database alone. Written against the contract and the schema, without
 * a line of the product: what the product believes of itself is not asked.
 *
 * - E1: a key told a success has its effect, once, as asked for; a key told a refusal has none; a key told
 *   nothing has at most one; nothing was done that nobody asked for.
 * - RP: all outcomes told for a key are the same status, bytes and headers, and one at most is not marked as a
 *   replay. After 410 the key never answers again.
 * - L: the ledger is balanced, in sum and link by link; no stock is negative.
 * - LV: every key was final ten seconds after the last restart.
 */
import { DatabaseSync } from "node:sqlite";
import { type Answer, type HistoryEntry, isExpired, isOutcome } from "./crash-history.ts";

/** After the last restart; the server's own budget for a request is half of it. */
export const FINAL_WITHIN_MS = 10_000;
/** A run in which operations went nowhere, or were all refused, has shown nothing. */
const FINAL_SHARE_MIN = 0.9;
const SUCCEEDED_SHARE_MIN = 0.5;

/** What the contract has replayed, and the expiry that is fixed with it. */
const REPLAYED_HEADERS = ["content-type", "location", "etag", "link", "idempotency-expires"];

export type CrashResult = {
  readonly seed: number;
  readonly kills: number;
  readonly operations: number;
  /** Operations whose client was told a success; deliberate refusals are not among them. */
  readonly succeeded: number;
  /** Effects beyond the one that was told: a second one, one of a refused key, one that nobody asked for. */
  readonly duplicates: number;
  /** Told successes whose effect is missing, or is another than was asked for. */
  readonly lost: number;
  /** Keys with two different outcomes. */
  readonly differing: number;
  /** Accounts, transfers, products that do not add up. */
  readonly imbalance: number;
  /** Keys that were not final in time. */
  readonly unfinished: number;
  /** Kills by the point at which they came. */
  readonly points: { readonly [point: string]: number };
};

export type Verdict = {
  readonly result: CrashResult;
  /** A sentence for each thing that is wrong; empty for a run that held. */
  readonly violations: readonly string[];
};

/** @param database path of the database's file, which nobody writes to any more */
export const checkRun = (history: readonly HistoryEntry[], database: string): Verdict => {
  const db = new DatabaseSync(database);
  try {
    const keys = keysOf(history);
    const found: Findings = {
      duplicates: [],
      lost: [],
      differing: [],
      imbalance: [],
      unfinished: [],
    };
    for (const key of keys.values()) {
      checkReplays(key, found);
      checkFinal(key, lastStartMs(history), found);
    }
    checkMoves(keys, db, found);
    checkOrders(keys, db, found);
    checkAccounts([...keys.values()], db, found);
    checkProducts([...keys.values()], db, found);
    checkJournal(db, found);
    found.imbalance.push(...findImbalances(db));
    return verdict(history, [...keys.values()], found);
  } finally {
    db.close();
  }
};

/** What holds at every moment, also in the middle of a run; a sentence for each thing that does not add up. */
export const checkLedger = (database: string): string[] => {
  const db = new DatabaseSync(database);
  try {
    return findImbalances(db);
  } finally {
    db.close();
  }
};

type Findings = Record<"duplicates" | "lost" | "differing" | "imbalance" | "unfinished", string[]>;

const verdict = (
  history: readonly HistoryEntry[],
  keys: readonly Key[],
  found: Findings,
): Verdict => {
  const kills = history.filter((entry) => entry.kind === "kill");
  const points: Record<string, number> = {};
  for (const { point } of kills) points[point] = (points[point] ?? 0) + 1;
  const succeeded = keys.filter((key) => toldOf(key) === "success").length;
  const result: CrashResult = {
    seed: history.find((entry) => entry.kind === "run")?.seed ?? 0,
    kills: kills.length,
    operations: keys.length,
    succeeded,
    duplicates: found.duplicates.length,
    lost: found.lost.length,
    differing: found.differing.length,
    imbalance: found.imbalance.length,
    unfinished: found.unfinished.length,
    points,
  };
  const violations = Object.entries(found).flatMap(([kind, sentences]) =>
    sentences.map((sentence) => `${kind}: ${sentence}`),
  );
  const final = keys.filter(({ answers }) => answers.some(isFinal)).length;
  if (final === 0 || final < FINAL_SHARE_MIN * keys.length) {
    violations.push(`Only ${final} of ${keys.length} operations had a final outcome.`);
  } else if (succeeded < SUCCEEDED_SHARE_MIN * keys.length) {
    violations.push(`Only ${succeeded} of ${keys.length} operations succeeded.`);
  }
  return { result, violations };
};

/* The history, by key. */

type Key = {
  readonly operation: Extract<HistoryEntry, { kind: "operation" }>;
  /** Place of each request in the history. */
  readonly requests: Map<number, number>;
  readonly answers: (Answer & {
    readonly atMs: number;
    readonly send: number;
    readonly place: number;
  })[];
};

const nameOf = ({ tenant, key }: { readonly tenant: string; readonly key: string }): string =>
  `${tenant} ${key}`;

const keysOf = (history: readonly HistoryEntry[]): Map<string, Key> => {
  const keys = new Map<string, Key>();
  history.forEach((entry, place) => {
    switch (entry.kind) {
      case "operation":
        if (keys.has(nameOf(entry))) throw new Error(`${nameOf(entry)} is two operations.`);
        keys.set(nameOf(entry), { operation: entry, requests: new Map(), answers: [] });
        return;
      case "request":
        keys.get(nameOf(entry))?.requests.set(entry.send, place);
        return;
      case "answer":
        keys.get(nameOf(entry))?.answers.push({ ...entry, place });
        return;
      case "run":
      case "start":
      case "kill":
      case "no-answer":
        return;
    }
  });
  return keys;
};

const lastStartMs = (history: readonly HistoryEntry[]): number =>
  history.findLast((entry) => entry.kind === "start")?.atMs ?? 0;

const isFinal = (answer: Answer): boolean => isOutcome(answer) || isExpired(answer);

const outcomesOf = (key: Key) => key.answers.filter(isOutcome);

/** What the client was told first; replays are compared with it elsewhere. */
const toldOf = (key: Key): "success" | "refusal" | "nothing" => {
  const first = outcomesOf(key)[0];
  if (first === undefined) return "nothing";
  return first.status < 300 ? "success" : "refusal";
};

/** The body that was told for a success. */
const toldBody = (key: Key): Readonly<Record<string, unknown>> => {
  const body: unknown = JSON.parse(outcomesOf(key)[0]?.body ?? "{}");
  return typeof body === "object" && body !== null ? { ...body } : {};
};

/* RP and LV. */

const checkReplays = (key: Key, found: Findings): void => {
  const outcomes = outcomesOf(key);
  const name = nameOf(key.operation);
  const told = new Set(outcomes.map(comparable));
  if (told.size > 1) found.differing.push(`${name} was told ${[...told].join(" and ")}`);
  const originals = outcomes.filter(({ headers }) => headers["idempotent-replayed"] !== "true");
  if (originals.length > 1) {
    found.differing.push(`${name} was answered ${originals.length} times as if for the first time`);
  }
  const expired = key.answers.find(isExpired);
  if (expired === undefined) return;
  const revived = outcomes.some(({ send }) => (key.requests.get(send) ?? 0) > expired.place);
  if (revived) found.differing.push(`${name} had an outcome again after it had expired`);
  const location = outcomes[0]?.headers["location"];
  const { link } = JSON.parse(expired.body) as { link?: string };
  if (location !== undefined && link !== location) {
    found.differing.push(`${name} made ${location}, and as an expired key links to ${link}`);
  }
};

const comparable = ({ status, headers, body }: Answer): string =>
  JSON.stringify([status, ...REPLAYED_HEADERS.map((header) => headers[header] ?? null), body]);

const checkFinal = (key: Key, lastRestartMs: number, found: Findings): void => {
  const final = key.answers.find(isFinal);
  if (final !== undefined && final.atMs <= lastRestartMs + FINAL_WITHIN_MS) return;
  const last = key.answers.at(-1)?.status ?? "nothing";
  found.unfinished.push(
    final === undefined
      ? `${nameOf(key.operation)} never got an outcome; the last answer was ${last}`
      : `${nameOf(key.operation)} got its outcome too late`,
  );
};

/* E1. */

type Row = Readonly<Record<string, unknown>>;

const textOf = (member: unknown): string => (typeof member === "string" ? member : "");

const byKey = (rows: readonly Row[]): Map<string, Row[]> =>
  Map.groupBy(rows, (row) => `${String(row["tenant"])} ${String(row["key"])}`);

/** Transfers and stock moves carry the key that made them. */
const checkMoves = (keys: ReadonlyMap<string, Key>, db: DatabaseSync, found: Findings): void => {
  const transfers = byKey(db.prepare("SELECT * FROM transfers").all());
  const moves = byKey(db.prepare("SELECT * FROM stock_moves").all());
  for (const name of new Set([...transfers.keys(), ...moves.keys()])) {
    if (!keys.has(name)) found.duplicates.push(`${name} has an effect, and no client used it`);
  }
  for (const [name, key] of keys) {
    const made = [...(transfers.get(name) ?? []), ...(moves.get(name) ?? [])];
    const kind = key.operation.name;
    const expected = effectsOf(key, db);
    const told = toldOf(key);
    const allowed = told === "refusal" ? 0 : expected;
    for (let i = allowed; i < made.length; i++) {
      found.duplicates.push(
        `${name}, a ${kind} told ${told}, has ${made.length} effects instead of ${allowed}`,
      );
    }
    // Told nothing, it may have happened or not; told a success, it has.
    const isHalf = made.length > 0 && made.length < expected;
    if (told !== "refusal" && made.length < expected && (told === "success" || isHalf)) {
      found.lost.push(
        `${name}, a ${kind}, was told ${told} and has ${made.length} effects of ${expected}`,
      );
    }
    // Of too many it cannot be said which one is meant.
    const judged = told === "success" && made.length <= expected ? made : [];
    const wrong = judged.find((row) => !isAsAsked(key, row, db));
    if (wrong !== undefined) {
      found.lost.push(`${name}, a ${kind}, has the effect ${JSON.stringify(wrong)}`);
    }
  }
};

/** How many transfers and stock moves an operation makes, if it is not refused. */
const effectsOf = ({ operation: { name, body, path, tenant } }: Key, db: DatabaseSync): number => {
  switch (name) {
    // What is outside has a checker of its own.
    case "payout":
    case "call":
    case "account":
      return 0;
    case "payment":
    case "refund":
    case "stock":
      return 1;
    case "product":
      return body["quantity"] === 0 ? 0 : 1;
    case "order":
      return 1 + linesAsked(body).length;
    case "cancellation":
      return 1 + linesSold(db, tenant, path.split("/")[3] ?? "").length;
  }
};

type Line = { readonly sku: string; readonly quantity: number };

const linesAsked = (body: Key["operation"]["body"]): Line[] => (body["lines"] ?? []) as Line[];

/** In the order of the request. */
const linesSold = (db: DatabaseSync, tenant: string, order: string): Line[] =>
  db
    .prepare(
      "SELECT sku, quantity FROM order_lines WHERE tenant = ? AND order_id = ? ORDER BY line",
    )
    .all(tenant, order) as Line[];

/** Whether a row is what the client asked for and was told of. */
const isAsAsked = (key: Key, row: Row, db: DatabaseSync): boolean => {
  const { name, body, path, tenant } = key.operation;
  const told = toldBody(key);
  const isMove = "sku" in row;
  switch (name) {
    case "payment":
      return (
        row["refund_of"] === null &&
        row["id"] === told["id"] &&
        row["source"] === body["source"] &&
        row["destination"] === body["destination"] &&
        row["currency"] === body["currency"] &&
        row["amount"] === body["amountMinor"]
      );
    case "refund":
      return (
        reverses(row, path.split("/")[3] ?? "", tenant, db) &&
        row["id"] === told["id"] &&
        row["amount"] === told["amountMinor"] &&
        row["amount"] === (body["amountMinor"] ?? row["amount"])
      );
    case "stock":
      return (
        row["id"] === told["id"] &&
        row["sku"] === path.split("/")[3] &&
        row["delta"] === body["delta"]
      );
    case "product":
      return row["sku"] === body["sku"] && row["delta"] === body["quantity"];
    case "order":
      if (isMove) {
        const asked = linesAsked(body).find(({ sku }) => sku === row["sku"]);
        return asked !== undefined && row["delta"] === -asked.quantity;
      }
      return (
        row["refund_of"] === null &&
        row["source"] === body["buyer"] &&
        row["destination"] === body["merchant"] &&
        row["currency"] === body["currency"] &&
        row["amount"] === told["totalMinor"]
      );
    case "cancellation": {
      const id = path.split("/")[3] ?? "";
      if (isMove) {
        const sold = linesSold(db, tenant, id).find(({ sku }) => sku === row["sku"]);
        return row["delta"] === sold?.quantity;
      }
      const order = db.prepare("SELECT * FROM orders WHERE tenant = ? AND id = ?").get(tenant, id);
      return (
        reverses(row, String(order?.["payment"]), tenant, db) && row["amount"] === order?.["total"]
      );
    }
    case "payout":
    case "call":
    case "account":
      return false;
  }
};

/** Whether a transfer is a refund of that payment. */
const reverses = (row: Row, id: string, tenant: string, db: DatabaseSync): boolean => {
  const payment = db.prepare("SELECT * FROM transfers WHERE tenant = ? AND id = ?").get(tenant, id);
  return (
    payment !== undefined &&
    row["refund_of"] === payment["id"] &&
    row["source"] === payment["destination"] &&
    row["destination"] === payment["source"] &&
    row["currency"] === payment["currency"]
  );
};

/** An order carries the key that made it; it is cancelled by a key of its own, once. */
const checkOrders = (keys: ReadonlyMap<string, Key>, db: DatabaseSync, found: Findings): void => {
  const rows = db.prepare("SELECT * FROM orders").all();
  const orders = byKey(rows);
  for (const [name, made] of orders) {
    const key = keys.get(name);
    const allowed = key?.operation.name === "order" && toldOf(key) !== "refusal" ? 1 : 0;
    for (let i = allowed; i < made.length; i++) found.duplicates.push(`${name} has another order`);
  }
  const cancelling = new Map<string, Key>();
  for (const [name, key] of keys) {
    const { name: kind, tenant, path, body } = key.operation;
    const isTold = toldOf(key) === "success";
    if (kind === "order" && isTold) {
      const row = (orders.get(name) ?? []).find(({ id }) => id === toldBody(key)["id"]);
      const lines = row === undefined ? [] : linesSold(db, tenant, String(row["id"]));
      const inDetail = (list: readonly Line[]) =>
        list.map(({ sku, quantity }) => `${quantity} ${sku}`).join(", ");
      if (row?.["buyer"] !== body["buyer"] || inDetail(lines) !== inDetail(linesAsked(body))) {
        found.lost.push(`${name}, an order, is ${JSON.stringify(row)}`);
      }
    }
    if (kind !== "cancellation" || toldOf(key) === "refusal") continue;
    const order = `${tenant} ${path.split("/")[3] ?? ""}`;
    if (isTold && toldOf(cancelling.get(order) ?? key) === "success" && cancelling.has(order)) {
      found.duplicates.push(`two keys were told to have cancelled ${order}`);
    }
    if (isTold || !cancelling.has(order)) cancelling.set(order, key);
  }
  for (const row of rows) {
    const order = `${String(row["tenant"])} ${String(row["id"])}`;
    const by = cancelling.get(order);
    if (row["state"] === "cancelled" && by === undefined) {
      found.duplicates.push(`${order} was cancelled for nobody`);
    }
    if (row["state"] !== "cancelled" && by !== undefined && toldOf(by) === "success") {
      found.lost.push(`${order} was told to be cancelled, and is not`);
    }
  }
};

/** Accounts do not carry a key. They are matched by the id that was asked for, or told. */
const checkAccounts = (keys: readonly Key[], db: DatabaseSync, found: Findings): void => {
  const rows = db.prepare("SELECT * FROM accounts WHERE id NOT LIKE 'system:%'").all();
  const untold = new Map<string, number>();
  const told = new Map<string, Key>();
  for (const key of keys.filter(({ operation }) => operation.name === "account")) {
    const { tenant, body } = key.operation;
    const told1 = toldOf(key);
    if (told1 === "success") {
      const id = `${tenant} ${String(toldBody(key)["id"])}`;
      if (told.has(id)) found.duplicates.push(`two keys were told to have opened ${id}`);
      told.set(id, key);
    } else if (told1 === "nothing") {
      const id = `${tenant} ${textOf(body["id"] ?? "acc_")}`;
      untold.set(id, (untold.get(id) ?? 0) + 1);
    }
  }
  for (const row of rows) {
    const tenant = String(row["tenant"]);
    const id = `${tenant} ${String(row["id"])}`;
    const key = told.get(id);
    told.delete(id);
    if (key !== undefined) {
      const { body } = key.operation;
      if (row["currency"] !== body["currency"] || row["id"] !== (body["id"] ?? row["id"])) {
        found.lost.push(`${nameOf(key.operation)} opened ${JSON.stringify(row)}`);
      }
      continue;
    }
    // Opened for a client that was told nothing: one for each such client.
    const asked = String(row["id"]).startsWith("acc_") ? `${tenant} acc_` : id;
    const left = untold.get(asked) ?? 0;
    if (left === 0) found.duplicates.push(`the account ${id} was opened for nobody`);
    untold.set(asked, left - 1);
  }
  for (const id of told.keys()) found.lost.push(`the account ${id} is missing`);
};

/** A product's first stock carries the key; the product itself is matched by its SKU. */
const checkProducts = (keys: readonly Key[], db: DatabaseSync, found: Findings): void => {
  const rows = new Map(
    db
      .prepare("SELECT * FROM products")
      .all()
      .map((row) => [`${String(row["tenant"])} ${String(row["sku"])}`, row]),
  );
  const asked = new Set<string>();
  for (const key of keys.filter(({ operation }) => operation.name === "product")) {
    const { tenant, body } = key.operation;
    const sku = `${tenant} ${textOf(body["sku"])}`;
    if (toldOf(key) !== "refusal") asked.add(sku);
    if (toldOf(key) !== "success") continue;
    const row = rows.get(sku);
    if (row === undefined) found.lost.push(`the product ${sku} is missing`);
    else if (row["price"] !== body["priceMinor"] || row["currency"] !== body["currency"]) {
      found.lost.push(`${nameOf(key.operation)} made ${JSON.stringify(row)}`);
    }
  }
  for (const sku of rows.keys()) {
    if (!asked.has(sku)) found.duplicates.push(`the product ${sku} was made for nobody`);
  }
};

/** LV, as the database sees it: no key is left half-way. */
const checkJournal = (db: DatabaseSync, found: Findings): void => {
  const open = db
    .prepare("SELECT tenant, key, state FROM journal WHERE state NOT IN ('final', 'expired')")
    .all();
  for (const row of open) {
    found.unfinished.push(
      `${String(row["tenant"])} ${String(row["key"])} is ${String(row["state"])}`,
    );
  }
};

/*
 * L. Each of these finds what should not be there. They run at every kill, over all of a database that grows: each goes
 * once over its tables, and none joins one with another along anything but a primary key or a group of its own.
 */

const IMBALANCES: Readonly<Record<string, string>> = {
  "the balances of a currency do not sum to zero": `
    SELECT tenant, currency, SUM(balance) AS sum FROM accounts GROUP BY tenant, currency HAVING SUM(balance) <> 0`,
  "a balance is not the sum of its entries": `
    SELECT a.tenant, a.id, a.balance, COALESCE(SUM(e.amount), 0) AS sum
    FROM accounts a LEFT JOIN entries e ON e.tenant = a.tenant AND e.account = a.id
    GROUP BY a.tenant, a.id HAVING a.balance <> COALESCE(SUM(e.amount), 0) OR a.entry_count <> COUNT(e.seq)`,
  "the running balances do not follow from each other": `
    SELECT * FROM (
      SELECT tenant, account, seq, balance,
        SUM(amount) OVER (PARTITION BY tenant, account ORDER BY seq) AS running,
        ROW_NUMBER() OVER (PARTITION BY tenant, account ORDER BY seq) AS place
      FROM entries)
    WHERE balance <> running OR seq <> place`,
  "an entry is missing, or one too many, or of no transfer": `
    SELECT tenant, transfer, account, amount, SUM(due) AS missing FROM (
      SELECT tenant, id AS transfer, source AS account, -amount AS amount, 1 AS due FROM transfers
      UNION ALL SELECT tenant, id, destination, amount, 1 FROM transfers
      UNION ALL SELECT tenant, transfer, account, amount, -1 FROM entries)
    GROUP BY tenant, transfer, account, amount HAVING SUM(due) <> 0`,
  "a transfer is in another currency than its accounts": `
    SELECT t.tenant, t.id FROM transfers t WHERE 2 <> (SELECT COUNT(*) FROM accounts a
      WHERE a.tenant = t.tenant AND a.id IN (t.source, t.destination) AND a.currency = t.currency)`,
  "an account is beyond its limit": `
    SELECT tenant, id, balance FROM accounts WHERE balance < -overdraft_limit`,
  "a payment's refunds are not what it says": `
    SELECT p.tenant, p.id, p.refunded, COALESCE(r.sum, 0) AS sum FROM transfers p LEFT JOIN (
      SELECT tenant, refund_of, SUM(amount) AS sum FROM transfers WHERE refund_of IS NOT NULL
      GROUP BY tenant, refund_of) r ON r.tenant = p.tenant AND r.refund_of = p.id
    WHERE p.refund_of IS NULL AND (p.refunded <> COALESCE(r.sum, 0) OR COALESCE(r.sum, 0) > p.amount)`,
  "an order's total is not that of its lines, or not what was paid": `
    SELECT o.tenant, o.id, o.total FROM orders o
    LEFT JOIN transfers t ON t.tenant = o.tenant AND t.id = o.payment
    WHERE o.total <> (SELECT COALESCE(SUM(quantity * price), 0) FROM order_lines l
      WHERE l.tenant = o.tenant AND l.order_id = o.id) OR o.total <> COALESCE(t.amount, 0)`,
  "a stock is negative, or not the sum of its moves": `
    SELECT p.tenant, p.sku, p.quantity, COALESCE(SUM(m.delta), 0) AS sum
    FROM products p LEFT JOIN stock_moves m ON m.tenant = p.tenant AND m.sku = p.sku
    GROUP BY p.tenant, p.sku HAVING p.quantity < 0 OR p.quantity <> COALESCE(SUM(m.delta), 0)
      OR p.move_count <> COUNT(m.id)`,
};

const findImbalances = (db: DatabaseSync): string[] =>
  Object.entries(IMBALANCES).flatMap(([sentence, sql]) =>
    db
      .prepare(sql)
      .all()
      .map((row) => `${sentence}: ${JSON.stringify(row)}`),
  );
