/** Products and their stock. Stock moves only by a stock move, never below zero. */
import { z } from "zod";
import { amountMinorOrZero, currency } from "../kernel/money.ts";
import { allOf, type Effect, exists, type Guard, insert, require } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";

/** A shelf holds no more; well inside the schema's range, so that sums stay exact. */
const QUANTITY_MAX = 1_000_000_000;

export const sku = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "1 to 64 of A-Z, a-z, 0-9, . _ and -")
  .meta({ examples: ["mug"] });

export const quantity = z.int().min(0).max(QUANTITY_MAX);

export const delta = z
  .int()
  .min(-QUANTITY_MAX)
  .max(QUANTITY_MAX)
  .refine((value) => value !== 0, "must not be 0")
  .meta({ description: "Signed change: negative takes from stock", examples: [-1, 24] });

export const productView = z.object({
  sku: z.string(),
  name: z.string(),
  priceMinor: amountMinorOrZero,
  currency,
  quantity: z.int().min(0),
  createdAt: z.iso.datetime(),
});

export const stockMoveView = z.object({
  id: z.string(),
  sku: z.string(),
  delta: z.int(),
  quantity: z.int().min(0).meta({ description: "In stock after this move" }),
  createdAt: z.iso.datetime(),
});

export const PRODUCT_COLUMNS = [
  "sku",
  "name",
  "currency",
  "price",
  "quantity",
  "created_at_ms",
] as const;

const productRow = z.object({
  sku: z.string(),
  name: z.string(),
  currency: z.string(),
  price: z.number(),
  quantity: z.number(),
  created_at_ms: z.number(),
});

export const toProductView = (row: unknown): z.input<typeof productView> => {
  const product = productRow.parse(row);
  return {
    sku: product.sku,
    name: product.name,
    priceMinor: product.price,
    currency: product.currency,
    quantity: product.quantity,
    createdAt: new Date(product.created_at_ms).toISOString(),
  };
};

export const productExists = (code: string): Guard<"unknown-product"> =>
  require(exists(
    "products",
    sql`sku = ${code}`,
  ), "unknown-product", `There is no product ${code}.`);

export const stockSuffices = (code: string, change: number): Guard<"out-of-stock"> =>
  require(exists(
    "products",
    sql`sku = ${code} AND quantity + ${change} >= 0`,
  ), "out-of-stock", `There are fewer than ${-change} of ${code} in stock.`);

/** For each of an order's products: is there as much as the order takes? By SKU, as a JSON object. */
export const stockCovers = (
  quantities: Readonly<Record<string, number>>,
): Guard<"out-of-stock"> => {
  const wanted = JSON.stringify(quantities);
  return require(allOf(
    "products",
    Object.keys(quantities).length,
    sql`sku IN (SELECT key FROM json_each(${wanted})) AND quantity >= (${wanted} ->> sku)`,
  ), "out-of-stock", "There is less in stock than the order takes.");
};

/** The row whose trigger changes the quantity. */
export const moveStock = (move: {
  readonly id: string;
  readonly sku: string;
  readonly delta: number;
  readonly reason: string | null;
  readonly key: string;
  readonly nowMs: number;
}): Effect =>
  insert("stock_moves", {
    sku: move.sku,
    id: move.id,
    delta: move.delta,
    reason: move.reason,
    key: move.key,
    created_at_ms: move.nowMs,
  });

export const STOCK_CONSTRAINTS = {
  product_quantity: "out-of-stock",
  product_quantity_range: "limit-exceeded",
} as const;
