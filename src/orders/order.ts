/** Orders: what is sold to whom, at which prices, and how an order is undone. */
import { z } from "zod";
import { amountMinorOrZero, currency } from "../kernel/money.ts";
import {
  allOf,
  byId,
  type Condition,
  type Effect,
  insert,
  insertEach,
  update,
} from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import { sku } from "./stock.ts";

/** A cart, not a catalogue: with these bounds an order is a few hundred rows, and its group stays short. */
export const LINES_MAX = 50;
const LINE_QUANTITY_MAX = 10_000;

export const orderLines = z
  .array(z.strictObject({ sku, quantity: z.int().min(1).max(LINE_QUANTITY_MAX) }))
  .min(1)
  .max(LINES_MAX)
  .refine(
    (lines) => new Set(lines.map((line) => line.sku)).size === lines.length,
    "must name each product once",
  );

const orderState = z.enum(["placed", "cancelled"]);

export const orderView = z.object({
  id: z.string(),
  state: orderState,
  buyer: z.string(),
  merchant: z.string(),
  currency,
  totalMinor: amountMinorOrZero,
  payment: z
    .string()
    .nullable()
    .meta({ description: "The payment; null for an order that costs nothing" }),
  refund: z.string().nullable().meta({ description: "What gave the money back, once cancelled" }),
  lines: z.array(z.object({ sku: z.string(), quantity: z.int(), priceMinor: amountMinorOrZero })),
  createdAt: z.iso.datetime(),
});

/** An order's line, with the price that it was sold at. */
export type PricedLine = {
  readonly sku: string;
  readonly quantity: number;
  readonly priceMinor: number;
};

/** True while every product still has the price and currency that the total was made of. */
export const pricesHold = (lines: readonly PricedLine[], currencyCode: string): Condition => {
  const prices = JSON.stringify(
    Object.fromEntries(lines.map((line) => [line.sku, line.priceMinor])),
  );
  return allOf(
    "products",
    lines.length,
    sql`sku IN (SELECT key FROM json_each(${prices})) AND price = (${prices} ->> sku) AND currency = ${currencyCode}`,
  );
};

/** Lines as SQL reads them: [sku, quantity, price]. */
const items = (lines: readonly PricedLine[]) =>
  lines.map((line) => [line.sku, line.quantity, line.priceMinor]);

/** The order, its lines, and the stock that they take. The payment is a transfer of its own. */
export const placeOrder = (order: Order, lines: readonly PricedLine[], key: string): Effect[] => [
  insert("orders", {
    id: order.id,
    buyer: order.buyer,
    merchant: order.merchant,
    currency: order.currency,
    total: order.total,
    payment: order.payment,
    key,
    created_at_ms: order.created_at_ms,
  }),
  insertEach("order_lines", items(lines), {
    order_id: order.id,
    line: sql`key`,
    sku: sql`value ->> 0`,
    quantity: sql`value ->> 1`,
    price: sql`value ->> 2`,
  }),
  insertEach("stock_moves", items(lines), {
    sku: sql`value ->> 0`,
    id: `mov_${order.id}`,
    delta: sql`-(value ->> 1)`,
    reason: `order ${order.id}`,
    key,
    created_at_ms: order.created_at_ms,
  }),
];

/** Marks it and puts its stock back. The refund is a transfer of its own. */
export const undoOrder = (
  order: Pick<Order, "id">,
  lines: readonly PricedLine[],
  {
    refund,
    key,
    nowMs,
  }: { readonly refund: string | null; readonly key: string; readonly nowMs: number },
): Effect[] => [
  update("orders", { state: "cancelled", refund, cancelled_at_ms: nowMs }, byId(order.id)),
  insertEach("stock_moves", items(lines), {
    sku: sql`value ->> 0`,
    id: `mov_${order.id}_cancelled`,
    delta: sql`value ->> 1`,
    reason: `cancelled ${order.id}`,
    key,
    created_at_ms: nowMs,
  }),
];

export const orderId = z.string().regex(/^ord_[0-9a-z]{26}$/, "an order's id");

export const ORDER_COLUMNS = [
  "id",
  "state",
  "buyer",
  "merchant",
  "currency",
  "total",
  "payment",
  "refund",
  "created_at_ms",
] as const;

const orderRow = z.object({
  id: z.string(),
  state: orderState,
  buyer: z.string(),
  merchant: z.string(),
  currency: z.string(),
  total: z.number(),
  payment: z.string().nullable(),
  refund: z.string().nullable(),
  created_at_ms: z.number(),
});

/** As it is stored. */
export type Order = z.output<typeof orderRow>;

export const parseOrder = (row: unknown): Order => orderRow.parse(row);

export const LINE_COLUMNS = ["order_id", "sku", "quantity", "price"] as const;

const lineRow = z.object({
  order_id: z.string(),
  sku: z.string(),
  quantity: z.number(),
  price: z.number(),
});

export const parseLine = (row: unknown): PricedLine & { readonly order: string } => {
  const line = lineRow.parse(row);
  return { order: line.order_id, sku: line.sku, quantity: line.quantity, priceMinor: line.price };
};

/** As the API shows it. */
export const toOrderView = (
  order: Order,
  lines: readonly PricedLine[],
): z.input<typeof orderView> => ({
  id: order.id,
  state: order.state,
  buyer: order.buyer,
  merchant: order.merchant,
  currency: order.currency,
  totalMinor: order.total,
  payment: order.payment,
  refund: order.refund,
  lines: lines.map(({ sku: code, quantity, priceMinor }) => ({ sku: code, quantity, priceMinor })),
  createdAt: new Date(order.created_at_ms).toISOString(),
});
