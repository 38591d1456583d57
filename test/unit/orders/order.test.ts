import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { statementsOf } from "../../../src/journal/statements.ts";
import type { Effect } from "../../../src/kernel/plan.ts";
import { sql, trusted } from "../../../src/kernel/sql.ts";
import {
  LINE_COLUMNS,
  LINES_MAX,
  ORDER_COLUMNS,
  orderId,
  orderLines,
  orderView,
  parseLine,
  parseOrder,
  placeOrder,
  type PricedLine,
  pricesHold,
  toOrderView,
  undoOrder,
} from "../../../src/orders/order.ts";
import { stockCovers } from "../../../src/orders/stock.ts";
import { property } from "../property.ts";
import { Sqlite } from "../sqlite.ts";

const ID = `ord_${"0".repeat(26)}`;

let db: Sqlite;
let keys = 0;

const line = (sku: string, quantity = 1, priceMinor = 100): PricedLine => ({
  sku,
  quantity,
  priceMinor,
});

/** It costs nothing, so that no ledger is needed beside it. */
const free = {
  id: ID,
  state: "placed",
  buyer: "alice",
  merchant: "shop",
  currency: "EUR",
  total: 0,
  payment: null,
  refund: null,
  created_at_ms: 1_000,
} as const;

const addProduct = (sku: string, price: number, quantity: number, tenant = "t"): void => {
  db.rows(
    sql`INSERT INTO products (tenant, sku, name, currency, price, quantity, created_at_ms) VALUES (${tenant}, ${sku}, ${sku}, 'EUR', ${price}, ${quantity}, 0)`,
  );
};

const quantityOf = (sku: string): unknown =>
  db.rows(sql`SELECT quantity FROM products WHERE tenant = 't' AND sku = ${sku}`)[0]?.["quantity"];

const select = (table: string, columns: readonly string[] = ["*"]) =>
  db.rows(sql`SELECT ${trusted(columns.join(", "))} FROM ${trusted(table)} WHERE tenant = 't'`);

/** Commits effects under a key of their own, as the journal does. */
const commit = (effects: readonly Effect[]): void => {
  const key = `key-${String((keys += 1)).padStart(16, "0")}`;
  db.batch(
    statementsOf({
      nonce: key,
      attempt: 1,
      submission: {
        tenant: "t",
        key,
        operation: "orders.test",
        by: { actor: "caller-hash", requestId: "request" },
        fingerprintVersion: 1,
        fingerprint: "print",
        members: {},
        object: "test",
        plan: { guards: [], effects, answer: { status: 200, body: {}, link: "/v1/orders" } },
        answerBody: "{}",
        bytes: 0,
        createdAtMs: 0,
        expiresAtS: 1,
        forgetAtS: 2,
        deadlineMs: 0,
        refusalDocument: (code) => ({ code, status: 409 }),
        refusalOf: () => "operation-failed",
      },
    }),
  );
};

beforeEach(() => {
  db = new Sqlite();
  addProduct("mug", 900, 5);
  addProduct("plate", 1_250, 3);
});

describe("the lines of an order", () => {
  const lines = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ sku: `sku-${i}`, quantity: 1 }));

  it(`are 1 to ${LINES_MAX}, of as many products`, () => {
    expect(orderLines.safeParse(lines(1)).success).toBe(true);
    expect(orderLines.safeParse(lines(LINES_MAX)).success).toBe(true);
    expect(orderLines.safeParse([]).success).toBe(false);
    expect(orderLines.safeParse(lines(LINES_MAX + 1)).success).toBe(false);
    expect(orderLines.safeParse([...lines(2), ...lines(1)]).success).toBe(false);
  });

  it("name products that differ in case alone apart, as the schema does", () => {
    const both = ["mug", "MUG"].map((sku) => ({ sku, quantity: 1 }));
    expect(orderLines.safeParse(both).success).toBe(true);
  });

  it.each([0, -1, 0.5, 10_001, "1", null])("15: take no quantity of %s", (quantity) => {
    expect(orderLines.safeParse([{ sku: "mug", quantity }]).success).toBe(false);
  });

  it("23: name no price", () => {
    expect(orderLines.safeParse([{ ...line("mug") }]).success).toBe(false);
  });
});

describe("the fact that prices hold", () => {
  const holds = (lines: readonly PricedLine[], currency = "EUR"): boolean =>
    db.holds("t", pricesHold(lines, currency));

  it("is true while each product has its price and the currency, and only then", () => {
    expect(holds([line("mug", 1, 900), line("plate", 1, 1_250)])).toBe(true);
    expect(holds([line("mug", 1, 900), line("plate", 1, 1_249)])).toBe(false);
    expect(holds([line("mug", 1, 1_250), line("plate", 1, 900)])).toBe(false);
    expect(holds([line("mug", 1, 900), line("lamp", 1, 900)])).toBe(false);
    expect(holds([line("mug", 1, 900)], "USD")).toBe(false);
  });

  it("24: is nothing that another tenant's products could make true", () => {
    addProduct("lamp", 900, 5, "other");
    expect(holds([line("lamp", 1, 900)])).toBe(false);
  });

  property(
    "is about the whole SKU, whatever stands in it, and about the exact price",
    fc.property(
      fc.uniqueArray(
        fc.tuple(
          fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,9}$/),
          fc.integer({ min: 0, max: 1_000_000_000_000 }),
        ),
        { selector: ([sku]) => sku, minLength: 1, maxLength: 8 },
      ),
      (products) => {
        db = new Sqlite();
        for (const [sku, price] of products) addProduct(sku, price, 1);
        const lines = products.map(([sku, price]) => line(sku, 1, price));
        expect(holds(lines)).toBe(true);
        const [first, ...rest] = lines;
        if (first === undefined) throw new Error("There is one.");
        expect(holds([{ ...first, priceMinor: first.priceMinor + 1 }, ...rest])).toBe(false);
        const quantities = Object.fromEntries(products.map(([sku]) => [sku, 1]));
        const covers = (wanted: Record<string, number>): boolean => {
          const guard = stockCovers(wanted);
          return guard.holds !== "never" && db.holds("t", guard.holds);
        };
        expect(covers(quantities)).toBe(true);
        expect(covers({ ...quantities, [first.sku]: 2 })).toBe(false);
      },
    ),
    100,
  );
});

describe("the guard of an order's stock", () => {
  const covers = (quantities: Record<string, number>): boolean => {
    const { holds } = stockCovers(quantities);
    return holds !== "never" && db.holds("t", holds);
  };

  it("46: lets the last pieces go, and not one more of any", () => {
    expect(covers({ mug: 5, plate: 3 })).toBe(true);
    expect(covers({ mug: 6, plate: 1 })).toBe(false);
    expect(covers({ mug: 1, plate: 4 })).toBe(false);
    expect(covers({ mug: 3, plate: 5 })).toBe(false);
    expect(covers({ lamp: 1 })).toBe(false);
  });

  it("refuses with what the contract lists, and says nothing of quantities", () => {
    expect(stockCovers({ mug: 6 })).toMatchObject({
      refusal: "out-of-stock",
      detail: "There is less in stock than the order takes.",
    });
  });
});

describe("placing an order", () => {
  const lines = [line("plate", 2, 0), line("mug", 5, 0)];

  it("writes it, its lines in their order, and a stock move for each", () => {
    commit(placeOrder(free, lines, "key-0000000000000001"));
    expect(select("orders", ORDER_COLUMNS)).toEqual([free]);
    expect(select("order_lines")).toEqual([
      { tenant: "t", order_id: ID, line: 0, sku: "plate", quantity: 2, price: 0 },
      { tenant: "t", order_id: ID, line: 1, sku: "mug", quantity: 5, price: 0 },
    ]);
    expect(select("stock_moves", ["sku", "delta", "reason", "key"])).toEqual([
      { sku: "mug", delta: -5, reason: `order ${ID}`, key: "key-0000000000000001" },
      { sku: "plate", delta: -2, reason: `order ${ID}`, key: "key-0000000000000001" },
    ]);
    expect([quantityOf("mug"), quantityOf("plate")]).toEqual([0, 1]);
  });

  it("E1: a second time is impossible, whoever asks: its id stands in the way", () => {
    commit(placeOrder(free, lines, "k"));
    expect(() => commit(placeOrder(free, [line("mug", 1, 0)], "k"))).toThrow("UNIQUE");
    expect(quantityOf("plate")).toBe(1);
  });

  it("46: of more than there is undoes all of it, where no guard stood", () => {
    expect(() => commit(placeOrder(free, [line("plate"), line("mug", 6)], "k"))).toThrow(
      "CHECK constraint failed: product_quantity",
    );
    expect(select("orders")).toEqual([]);
    expect(quantityOf("plate")).toBe(3);
  });

  it("of what does not exist is impossible, where no guard stood", () => {
    expect(() => commit(placeOrder(free, [line("lamp")], "k"))).toThrow("FOREIGN KEY");
    expect(select("orders")).toEqual([]);
  });

  it("that costs something without a payment, or nothing with one, is impossible", () => {
    expect(() => commit(placeOrder({ ...free, total: 1 }, lines, "k"))).toThrow("order_paid");
    expect(() => commit(placeOrder({ ...free, payment: "pay_1" }, lines, "k"))).toThrow(
      "order_paid",
    );
    expect(() => commit(placeOrder({ ...free, total: -1, payment: "p" }, lines, "k"))).toThrow(
      "order_total",
    );
  });
});

describe("undoing an order", () => {
  const lines = [line("plate", 2, 0), line("mug", 5, 0)];
  const undo = { refund: null, key: "key-0000000000000002", nowMs: 2_000 };

  beforeEach(() => commit(placeOrder(free, lines, "key-0000000000000001")));

  it("puts every piece back, and marks it", () => {
    commit(undoOrder(free, lines, undo));
    expect(select("orders", ["state", "cancelled_at_ms", "key"])).toEqual([
      { state: "cancelled", cancelled_at_ms: 2_000, key: "key-0000000000000001" },
    ]);
    expect([quantityOf("mug"), quantityOf("plate")]).toEqual([5, 3]);
    expect(select("stock_moves", ["delta"]).map(({ delta }) => delta)).toEqual([-5, 5, -2, 2]);
  });

  it("E1: a second time is impossible, where no guard stood", () => {
    commit(undoOrder(free, lines, undo));
    expect(() => commit(undoOrder(free, lines, undo))).toThrow("order_cancelled_once");
    expect(quantityOf("mug")).toBe(5);
  });

  it.each([
    ["its total", sql`UPDATE orders SET total = 5`],
    ["its buyer", sql`UPDATE orders SET buyer = 'bob', state = 'cancelled', cancelled_at_ms = 1`],
    ["its state to what there is not", sql`UPDATE orders SET state = 'lost'`],
    ["its state back", sql`UPDATE orders SET state = 'placed'`],
    ["a line", sql`UPDATE order_lines SET quantity = 1`],
  ])("is the only change: %s never changes", (_, change) => {
    expect(() => db.rows(change)).toThrow(/order_/);
  });
});

describe("an order's view", () => {
  const row = { ...free, total: 1_800, payment: "pay_1" };

  it("is what its schema promises, with the lines in the order given", () => {
    const lines = [line("mug", 2, 900), line("gift", 1, 0)];
    expect(orderView.parse(toOrderView(row, lines))).toEqual({
      id: ID,
      state: "placed",
      buyer: "alice",
      merchant: "shop",
      currency: "EUR",
      totalMinor: 1_800,
      payment: "pay_1",
      refund: null,
      lines,
      createdAt: "1970-01-01T00:00:01.000Z",
    });
  });

  it("is read from columns that exist, and from nothing that is no order", () => {
    commit(placeOrder(free, [line("mug", 1, 0)], "k"));
    expect(select("orders", ORDER_COLUMNS).map(parseOrder)).toEqual([free]);
    expect(select("order_lines", LINE_COLUMNS).map(parseLine)).toEqual([
      { order: ID, sku: "mug", quantity: 1, priceMinor: 0 },
    ]);
    expect(() => parseOrder({ ...free, state: "lost" })).toThrow("state");
    expect(() => parseLine({ order_id: ID, sku: "mug", quantity: null, price: 1 })).toThrow(
      "quantity",
    );
  });
});

describe("an order's id", () => {
  it.each(["", "ord_1", `pay_${"0".repeat(26)}`, `${ID}0`, ID.toUpperCase(), `${ID}\n`])(
    "17: is not %j",
    (text) => {
      expect(orderId.safeParse(text).success).toBe(false);
    },
  );

  it("begins with what it is of", () => {
    expect(orderId.safeParse(ID).success).toBe(true);
  });
});
