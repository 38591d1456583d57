/**
 * The checker of the crash runs, put to the test itself: books and a history that hold, and then each thing that can
 * be wrong with them, alone. A checker that finds nothing would make every crash test pass.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkLedger, checkRun, FINAL_WITHIN_MS } from "../support/crash-checker.ts";
import {
  History,
  type HistoryEntry,
  type Operation,
  readHistory,
} from "../support/crash-history.ts";

const TENANT = "north";
const START_MS = 1_000_000;

let folder: string;
let file: string;
let db: DatabaseSync;
let history: HistoryEntry[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-checker-"));
  file = join(folder, "books.sqlite");
  db = new DatabaseSync(file);
  // Nobody pulls the plug here.
  db.exec("PRAGMA synchronous = OFF");
  for (const name of readdirSync("migrations").toSorted()) {
    db.exec(readFileSync(join("migrations", name), "utf8"));
  }
  history = [
    { kind: "run", atMs: START_MS, seed: 7, mode: "1" },
    { kind: "start", atMs: START_MS, keyObjects: "1" },
    { kind: "kill", atMs: START_MS, point: "queued" },
    { kind: "start", atMs: START_MS, keyObjects: "1" },
  ];
  makeBooks();
});

afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

/* Books of five operations, with a history in which all of them were told. */

const ACCOUNT = { ...op("account", "POST", "/v1/accounts"), body: { currency: "EUR", id: "bob" } };
const MINTED = { ...op("minted", "POST", "/v1/accounts"), name: "account" as const };
const PAYMENT = op("payment", "POST", "/v1/payments");
const REFUND = op("refund", "POST", "/v1/payments/pay_1/refunds");
const STOCK = op("stock", "PATCH", "/v1/products/mug/stock");
const PRODUCT = op("product", "POST", "/v1/products");
const REFUSED = { ...op("refused", "POST", "/v1/payments"), name: "payment" as const };

function op(name: string, method: "POST" | "PATCH", path: string): Operation {
  const bodies: Record<string, Operation["body"]> = {
    minted: { currency: "EUR" },
    payment: { source: "system:EUR", destination: "bob", currency: "EUR", amountMinor: 100 },
    refund: { amountMinor: 40 },
    stock: { delta: -2 },
    product: { sku: "mug", name: "Mug", priceMinor: 5, currency: "EUR", quantity: 10 },
    refused: { source: "bob", destination: "system:EUR", currency: "EUR", amountMinor: 9_000 },
  };
  return {
    tenant: TENANT,
    key: `key-of-${name}`,
    name: name as Operation["name"],
    method,
    path,
    body: bodies[name] ?? {},
  };
}

function makeBooks(): void {
  openAccount("system:EUR", null);
  openAccount("bob", 0);
  openAccount("acc_1", 0);
  transfer({ id: "pay_1", key: PAYMENT.key });
  transfer({ id: "ref_1", key: REFUND.key, amount: 40, back: true, refundOf: "pay_1" });
  db.exec(
    `INSERT INTO products (tenant, sku, name, currency, price, created_at_ms) VALUES ('${TENANT}', 'mug', 'Mug', 'EUR', 5, 0)`,
  );
  move("mov_1", PRODUCT.key, 10);
  move("mov_2", STOCK.key, -2);
  tell(ACCOUNT, 201, { id: "bob" });
  tell(MINTED, 201, { id: "acc_1" });
  tell(PAYMENT, 201, { id: "pay_1" }, { location: "/v1/payments/pay_1" });
  tell(REFUND, 201, { id: "ref_1", amountMinor: 40 });
  tell(PRODUCT, 201, { sku: "mug" });
  tell(STOCK, 200, { id: "mov_2" });
  tell(REFUSED, 402, { title: "Insufficient funds" });
}

function openAccount(id: string, overdraftLimit: number | null, tenant = TENANT): void {
  db.prepare(
    "INSERT INTO accounts (tenant, id, currency, overdraft_limit, created_at_ms) VALUES (?, ?, 'EUR', ?, 0)",
  ).run(tenant, id, overdraftLimit);
}

function transfer(row: {
  readonly id: string;
  readonly key: string;
  readonly amount?: number;
  readonly back?: boolean;
  readonly refundOf?: string;
}): void {
  const { id, key, amount = 100, back = false, refundOf = null } = row;
  const [source, destination] = back ? ["bob", "system:EUR"] : ["system:EUR", "bob"];
  db.prepare(
    "INSERT INTO transfers (tenant, id, source, destination, currency, amount, refund_of, key, created_at_ms) VALUES (?, ?, ?, ?, 'EUR', ?, ?, ?, 0)",
  ).run(TENANT, id, source ?? "", destination ?? "", amount, refundOf, key);
}

function move(id: string, key: string, delta: number): void {
  db.prepare(
    "INSERT INTO stock_moves (tenant, sku, id, delta, key, created_at_ms) VALUES (?, 'mug', ?, ?, ?, 0)",
  ).run(TENANT, id, delta, key);
}

let sends = 0;

/** The operation, if it is new, and one answer to it. */
function tell(
  operation: Operation,
  status: number,
  body: unknown,
  more: Readonly<Record<string, string>> = {},
  atMs = START_MS + 100,
): void {
  const { tenant, key } = operation;
  const known = history.some((entry) => entry.kind === "operation" && entry.key === key);
  if (!known) history.push({ kind: "operation", atMs, ...operation });
  sends += 1;
  history.push({ kind: "request", atMs, tenant, key, send: sends });
  history.push({
    kind: "answer",
    atMs,
    tenant,
    key,
    send: sends,
    status,
    headers: {
      "content-type": "application/json",
      "idempotency-expires": "Thu, 01 Jan 2026 00:00:00 GMT",
      ...(known ? { "idempotent-replayed": "true" } : {}),
      ...more,
    },
    body: JSON.stringify(body),
  });
}

/** Removes what protects the schema, so that the books can be falsified. */
function unprotect(): void {
  const names = db.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").all();
  for (const { name } of names) db.exec(`DROP TRIGGER ${String(name)}`);
}

const check = () => checkRun(history, file);

const NOTHING_WRONG = { duplicates: 0, lost: 0, differing: 0, imbalance: 0, unfinished: 0 };

test("E1, RP, L, LV: books and answers that agree pass, and are counted", () => {
  tell(PAYMENT, 201, { id: "pay_1" }, { location: "/v1/payments/pay_1" });
  expect(check()).toEqual({
    result: {
      seed: 7,
      kills: 1,
      operations: 7,
      succeeded: 6,
      points: { queued: 1 },
      ...NOTHING_WRONG,
    },
    violations: [],
  });
});

test("a history comes back from its file byte for byte", () => {
  const written = new History(join(folder, "history.jsonl"));
  const bytes = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const line = {
    kind: "answer",
    tenant: TENANT,
    key: "k",
    send: 1,
    status: 200,
    headers: {},
  } as const;
  written.write({ ...line, body: bytes });
  written.close();
  expect(readHistory(written.file)).toMatchObject([{ ...line, body: bytes }]);
});

describe("E1: an effect too many is found", () => {
  test("a payment made twice", () => {
    transfer({ id: "pay_2", key: PAYMENT.key });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a refund made twice", () => {
    transfer({ id: "ref_2", key: REFUND.key, amount: 40, back: true, refundOf: "pay_1" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a stock move made twice", () => {
    move("mov_3", STOCK.key, -2);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a refused payment that was made", () => {
    transfer({ id: "pay_2", key: REFUSED.key });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a payment that nobody asked for", () => {
    transfer({ id: "pay_2", key: "key-of-nobody" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a payment in the books of another tenant", () => {
    openAccount("system:EUR", null, "south");
    openAccount("bob", 0, "south");
    db.exec(
      `INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES ('south', 'pay_1', 'system:EUR', 'bob', 'EUR', 100, '${PAYMENT.key}', 0)`,
    );
    // And the account that it needed.
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 2 });
  });

  test("an account that was opened twice under two ids", () => {
    openAccount("acc_2", 0);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("one account that two keys were told to have opened", () => {
    tell({ ...ACCOUNT, key: "key-of-another" }, 201, { id: "bob" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });

  test("a product that nobody asked for", () => {
    db.exec(
      `INSERT INTO products (tenant, sku, name, currency, price, created_at_ms) VALUES ('${TENANT}', 'cup', 'Cup', 'EUR', 5, 0)`,
    );
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
  });
});

describe("E1: an effect that was told and is missing, or is another one, is found", () => {
  test("a payment", () => {
    tell({ ...PAYMENT, key: "key-of-another" }, 201, { id: "pay_2" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("a payment under another id than was told", () => {
    tell({ ...PAYMENT, key: "key-of-another" }, 201, { id: "pay_2" });
    transfer({ id: "pay_3", key: "key-of-another" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("a payment of another amount", () => {
    tell({ ...PAYMENT, key: "key-of-another" }, 201, { id: "pay_2" });
    transfer({ id: "pay_2", key: "key-of-another", amount: 99 });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("a stock move", () => {
    tell({ ...STOCK, key: "key-of-another" }, 200, { id: "mov_3" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("an account", () => {
    tell({ ...MINTED, key: "key-of-another" }, 201, { id: "acc_2" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("a product, with its stock", () => {
    const body = { ...PRODUCT.body, sku: "cup" };
    tell({ ...PRODUCT, key: "key-of-another", body }, 201, { sku: "cup" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 2 });
  });
});

describe("RP: an answer that differs is found", () => {
  const again = { location: "/v1/payments/pay_1" };

  test("by its status", () => {
    tell(PAYMENT, 200, { id: "pay_1" }, again);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by a byte of its body", () => {
    tell(PAYMENT, 201, { id: "pay_1 " }, again);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by a header that is replayed", () => {
    tell(PAYMENT, 201, { id: "pay_1" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by its expiry", () => {
    tell(PAYMENT, 201, { id: "pay_1" }, { ...again, "idempotency-expires": "later" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by not being marked as a replay", () => {
    tell(PAYMENT, 201, { id: "pay_1" }, { ...again, "idempotent-replayed": "false" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by coming after the key has expired", () => {
    expire(PAYMENT, { link: "/v1/payments/pay_1" });
    tell(PAYMENT, 201, { id: "pay_1" }, again);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });

  test("by an expired key that links to what it did not make", () => {
    expire(PAYMENT, { link: "/v1/payments/pay_2" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, differing: 1 });
  });
});

describe("LV: a key that is left open is found", () => {
  const open = { ...PAYMENT, key: "key-of-another" };

  test("without any answer", () => {
    history.push({ kind: "operation", atMs: START_MS, ...open });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, unfinished: 1 });
  });

  test("with an answer that is no outcome", () => {
    tell(open, 503, {});
    const answer = history.at(-1);
    if (answer?.kind === "answer") delete answer.headers["idempotency-expires"];
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, unfinished: 1 });
  });

  test("with its outcome too late", () => {
    const lateMs = START_MS + FINAL_WITHIN_MS + 1;
    tell({ ...REFUSED, key: "key-of-another" }, 402, {}, {}, lateMs);
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, unfinished: 1 });
  });

  test("by its row in the journal", () => {
    db.exec(
      `INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, state, status, created_at_ms, expires_at_s, forget_at_s) VALUES ('${TENANT}', 'k', 'payments.create', 1, 'f', 'o', 'n', 'in-flight', 0, 0, 1, 1)`,
    );
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, unfinished: 1 });
  });

  test("a run in which most keys were left open says so", () => {
    for (let i = 0; i < 3; i++) {
      history.push({ kind: "operation", atMs: START_MS, ...PAYMENT, key: `key-of-another-${i}` });
    }
    expect(check().violations).toContain("Only 7 of 10 operations had a final outcome.");
  });

  test("a run in which most operations were refused says so", () => {
    for (let i = 0; i < 9; i++) tell({ ...REFUSED, key: `key-of-another-${i}` }, 402, {});
    expect(check().violations).toEqual(["Only 6 of 16 operations succeeded."]);
  });

  test("a run without operations says so", () => {
    history = history.slice(0, 4);
    expect(check().violations).toContain("Only 0 of 0 operations had a final outcome.");
  });
});

describe("orders: what is done in one transaction is found if it was done in part, twice or for nobody", () => {
  const ORDER: Operation = {
    ...op("order", "POST", "/v1/orders"),
    body: {
      buyer: "bob",
      merchant: "system:EUR",
      currency: "EUR",
      lines: [{ sku: "mug", quantity: 2 }],
    },
  };
  const CANCELLATION: Operation = {
    ...op("cancellation", "PATCH", "/v1/orders/ord_1"),
    body: { state: "cancelled" },
  };

  const put = (sql: string): void => db.exec(sql.replaceAll("$t", TENANT));
  const pay = (id = "pay_o", key = ORDER.key): void =>
    transfer({ id, key, amount: 10, back: true });
  const place = (id = "ord_1", payment = "pay_o", key = ORDER.key): void => {
    put(
      `INSERT INTO orders (tenant, id, buyer, merchant, currency, total, payment, key, created_at_ms) VALUES ('$t', '${id}', 'bob', 'system:EUR', 'EUR', 10, '${payment}', '${key}', 0)`,
    );
    put(`INSERT INTO order_lines VALUES ('$t', '${id}', 0, 'mug', 2, 5)`);
  };
  const order = (): void => {
    pay();
    place();
    move("mov_o", ORDER.key, -2);
    tell(ORDER, 201, { id: "ord_1", totalMinor: 10 });
  };
  const cancel = (): void => {
    put(
      `INSERT INTO transfers (tenant, id, source, destination, currency, amount, refund_of, key, created_at_ms) VALUES ('$t', 'ref_o', 'system:EUR', 'bob', 'EUR', 10, 'pay_o', '${CANCELLATION.key}', 0)`,
    );
    put("UPDATE orders SET state = 'cancelled', refund = 'ref_o', cancelled_at_ms = 1");
    move("mov_c", CANCELLATION.key, 2);
    tell(CANCELLATION, 200, { id: "ord_1", state: "cancelled" });
  };

  test("an order, and an order that was cancelled, pass", () => {
    order();
    expect(check().violations).toEqual([]);
    cancel();
    expect(check().violations).toEqual([]);
  });

  test("an order without its stock move, told or not", () => {
    pay();
    place();
    history.push({ kind: "operation", atMs: START_MS, ...ORDER });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1, unfinished: 1 });
    tell(ORDER, 201, { id: "ord_1", totalMinor: 10 });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("an order that takes more than was asked for", () => {
    pay();
    place();
    move("mov_o", ORDER.key, -3);
    tell(ORDER, 201, { id: "ord_1", totalMinor: 10 });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("a told order that is not there", () => {
    pay();
    move("mov_o", ORDER.key, -2);
    tell(ORDER, 201, { id: "ord_1", totalMinor: 10 });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("an order placed twice", () => {
    order();
    pay("pay_p");
    place("ord_2", "pay_p");
    move("mov_p", ORDER.key, -2);
    // Its payment, its stock move, and the order itself.
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 3 });
  });

  test("an order whose total is not that of its lines", () => {
    order();
    put("INSERT INTO order_lines VALUES ('$t', 'ord_1', 1, 'mug', 1, 5)");
    expect(check().result.imbalance).toBe(1);
  });

  test("a cancellation without its refund", () => {
    order();
    put("UPDATE orders SET state = 'cancelled', cancelled_at_ms = 1");
    move("mov_c", CANCELLATION.key, 2);
    tell(CANCELLATION, 200, { id: "ord_1" });
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 1 });
  });

  test("an order that was cancelled for nobody, or told to be and is not", () => {
    order();
    put("UPDATE orders SET state = 'cancelled', cancelled_at_ms = 1");
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, duplicates: 1 });
    unprotect();
    put("UPDATE orders SET state = 'placed', cancelled_at_ms = NULL");
    tell(CANCELLATION, 200, { id: "ord_1" });
    // Nor is there a refund, nor a stock move.
    expect(check().result).toMatchObject({ ...NOTHING_WRONG, lost: 2 });
  });

  test("two keys that were told to have cancelled one order", () => {
    order();
    cancel();
    tell({ ...CANCELLATION, key: "key-of-another" }, 200, { id: "ord_1" });
    expect(check().result).toMatchObject({ duplicates: 1 });
  });
});

describe("L: books that do not add up are found", () => {
  test.each([
    [
      "a balance that was changed by hand",
      "UPDATE accounts SET balance = balance + 1 WHERE id = 'bob'",
    ],
    ["an entry that is missing", "DELETE FROM entries WHERE account = 'bob' AND seq = 2"],
    [
      "an entry that is repeated",
      "INSERT INTO entries SELECT tenant, account, 3, transfer, amount, balance, 0 FROM entries WHERE account = 'bob' AND seq = 2",
    ],
    [
      "a running balance that does not follow",
      "UPDATE entries SET balance = balance + 1 WHERE account = 'bob' AND seq = 1",
    ],
    [
      "a transfer without entries",
      `INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES ('${TENANT}', 'pay_2', 'system:EUR', 'bob', 'EUR', 1, '${PAYMENT.key}', 0)`,
    ],
    [
      "an entry without a transfer",
      `INSERT INTO entries VALUES ('${TENANT}', 'acc_1', 1, 'pay_9', 1, 1, 0)`,
    ],
    [
      "a transfer of another amount than its entries",
      "UPDATE transfers SET amount = 101 WHERE id = 'pay_1'",
    ],
    [
      "a refund that the payment does not count",
      "UPDATE transfers SET refunded = 0 WHERE id = 'pay_1'",
    ],
    ["a stock that is not the sum of its moves", "UPDATE products SET quantity = 9"],
    ["a stock move that was not counted", "UPDATE products SET move_count = 1"],
  ])("%s", (_, sql) => {
    unprotect();
    db.exec(sql);
    expect(checkLedger(file)).not.toEqual([]);
    expect(check().result.imbalance).toBeGreaterThan(0);
  });

  test.each([
    [
      "a balance beyond its limit",
      "account_overdraft",
      "UPDATE accounts SET overdraft_limit = -61 WHERE id = 'bob'",
    ],
    ["a negative stock", "product_quantity", "UPDATE products SET quantity = -1"],
  ])("%s, though a constraint of the schema forbids it", (_, constraint, sql) => {
    unprotect();
    db.exec("PRAGMA ignore_check_constraints = ON");
    db.exec(sql);
    expect(constraint).toMatch(/^(account|product)_/);
    expect(checkLedger(file)).not.toEqual([]);
  });
});

/** A 410, as an expired key gets it. */
function expire(operation: Operation, body: { readonly link: string }): void {
  tell(operation, 410, body);
  const answer = history.at(-1);
  if (answer?.kind === "answer") delete answer.headers["idempotency-expires"];
}
