import { beforeEach, describe, expect, it } from "vitest";
import { isProblemCode } from "../../../src/contract/problems.ts";
import type { Guard } from "../../../src/kernel/plan.ts";
import { sql, trusted } from "../../../src/kernel/sql.ts";
import {
  delta,
  moveStock,
  PRODUCT_COLUMNS,
  productExists,
  productView,
  quantity,
  sku,
  STOCK_CONSTRAINTS,
  stockSuffices,
  toProductView,
} from "../../../src/orders/stock.ts";
import { Sqlite } from "../sqlite.ts";

let db: Sqlite;

const holds = ({ holds: condition }: Guard): boolean =>
  condition !== "never" && db.holds("t", condition);

/** Moves without asking any guard. */
const move = (change: number): void =>
  db.insert(
    "t",
    moveStock({
      id: `mov_${change}`,
      sku: "mug",
      delta: change,
      reason: null,
      key: "key-0000000000000001",
      nowMs: 0,
    }),
  );

const inStock = () => db.rows(sql`SELECT quantity FROM products`)[0]?.["quantity"];

beforeEach(() => {
  db = new Sqlite();
  db.rows(
    sql`INSERT INTO products (tenant, sku, name, currency, price, quantity, created_at_ms) VALUES ('t', 'mug', 'Mug', 'EUR', 900, 5, 0)`,
  );
});

describe("the guards of stock", () => {
  it("46: let the last unit go, and not one more", () => {
    expect(holds(stockSuffices("mug", -5))).toBe(true);
    expect(holds(stockSuffices("mug", -6))).toBe(false);
    expect(holds(stockSuffices("mug", 1_000))).toBe(true);
  });

  it("do not find stock of what does not exist", () => {
    expect(holds(productExists("mug"))).toBe(true);
    expect(holds(productExists("MUG"))).toBe(false);
    expect(holds(stockSuffices("cup", 1))).toBe(false);
  });

  it("refuse with what the contract lists", () => {
    expect(productExists("x").refusal).toBe("unknown-product");
    expect(stockSuffices("x", -2)).toMatchObject({
      refusal: "out-of-stock",
      detail: "There are fewer than 2 of x in stock.",
    });
  });
});

describe("stock, once moved", () => {
  it("L: is the sum of its moves", () => {
    move(-5);
    move(24);
    expect(inStock()).toBe(24);
  });

  it("46: is never below zero, and in a range that stays exact, where no guard stood", () => {
    expect(() => move(-6)).toThrow("CHECK constraint failed: product_quantity");
    expect(() => move(1_000_000_000_000)).toThrow(
      "CHECK constraint failed: product_quantity_range",
    );
    expect(() => move(0)).toThrow("stock_move_delta");
    expect(inStock()).toBe(5);
    expect(Object.keys(STOCK_CONSTRAINTS).toSorted()).toEqual([
      "product_quantity",
      "product_quantity_range",
    ]);
    expect(Object.values(STOCK_CONSTRAINTS).every(isProblemCode)).toBe(true);
  });
});

describe("a stock move", () => {
  it.each(["UPDATE stock_moves SET delta = delta + 1", "DELETE FROM stock_moves"])(
    "L: is in the books for good: %s is refused",
    (edit) => {
      move(-5);
      const before = db.rows(sql`SELECT * FROM stock_moves`);
      expect(() => db.exec(edit)).toThrow("stock_move_is_final");
      expect(db.rows(sql`SELECT * FROM stock_moves`)).toEqual(before);
    },
  );
});

describe("what stock is asked for", () => {
  it.each([1, -1, 1_000_000_000, -1_000_000_000])("a change of %d is one", (change) => {
    expect(delta.parse(change)).toBe(change);
  });

  it.each([0, 0.5, 1_000_000_001, -1_000_000_001, "1", null, Number.NaN])(
    "15: a change of %s is none",
    (change) => {
      expect(delta.safeParse(change).success).toBe(false);
    },
  );

  it("a quantity counts from zero", () => {
    expect([0, 1, 1_000_000_000].every((one) => quantity.safeParse(one).success)).toBe(true);
    expect([-1, 0.5, 1_000_000_001].some((one) => quantity.safeParse(one).success)).toBe(false);
  });

  it.each(["m", "mug", "MUG-1.2_x", "0".repeat(64)])("%s is a SKU", (code) => {
    expect(sku.safeParse(code).success).toBe(true);
  });

  it.each(["", "-mug", ".mug", "a b", "a/b", "..", "é", "mug\n", "0".repeat(65)])(
    "33: %j is no SKU",
    (code) => {
      expect(sku.safeParse(code).success).toBe(false);
    },
  );
});

describe("a product's view", () => {
  const row = {
    sku: "mug",
    name: "Mug",
    currency: "EUR",
    price: 900,
    quantity: 5,
    created_at_ms: 0,
  };

  it("is what its schema promises", () => {
    expect(productView.parse(toProductView(row))).toEqual({
      sku: "mug",
      name: "Mug",
      priceMinor: 900,
      currency: "EUR",
      quantity: 5,
      createdAt: "1970-01-01T00:00:00.000Z",
    });
    expect(() => toProductView({ ...row, price: null })).toThrow("price");
  });

  it("is read from columns that exist", () => {
    expect(db.rows(sql`SELECT ${trusted(PRODUCT_COLUMNS.join(", "))} FROM products`)).toEqual([
      row,
    ]);
  });
});
