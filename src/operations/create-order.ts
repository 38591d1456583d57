/** POST /v1/orders: takes the stock and moves the money, in one transaction. */
import { z } from "zod";
import { accountId } from "../ledger/account.ts";
import { postTransfer, TRANSFER_CONSTRAINTS, transferGuards } from "../ledger/transfer.ts";
import { currency } from "../kernel/money.ts";
import { AMOUNT_MINOR_MAX } from "../kernel/limits.ts";
import { absent, exists, refused } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import { orderLines, orderView, placeOrder, pricesHold, toOrderView } from "../orders/order.ts";
import { PRODUCT_COLUMNS, STOCK_CONSTRAINTS, stockCovers, toProductView } from "../orders/stock.ts";
import { defineOperation, noParams } from "./define-operation.ts";

export const createOrder = defineOperation({
  name: "orders.create",
  method: "POST",
  path: "/v1/orders",
  summary: "Order up to 50 products: stock and payment in one transaction",
  scope: "orders:write",
  params: noParams,
  input: z
    .strictObject({
      // No system account: money enters and leaves the ledger by payments alone, which need ledger:fund.
      buyer: accountId.meta({ description: "The account that pays" }),
      merchant: accountId.meta({ description: "The account that is paid", examples: ["bob"] }),
      currency,
      lines: orderLines,
    })
    .refine((input) => input.buyer !== input.merchant, {
      path: ["merchant"],
      message: "must be another account than the buyer",
    }),
  output: orderView,
  refusals: {
    "unknown-product": 404,
    "out-of-stock": 409,
    "unknown-account": 409,
    "currency-mismatch": 409,
    "insufficient-funds": 402,
    "limit-exceeded": 409,
  },
  constraints: { ...TRANSFER_CONSTRAINTS, ...STOCK_CONSTRAINTS },
  read: async (input, reader) => {
    const rows = await reader.rows({
      table: "products",
      columns: PRODUCT_COLUMNS,
      where: sql`sku IN (SELECT value FROM json_each(${JSON.stringify(input.lines.map((line) => line.sku))}))`,
    });
    return new Map(rows.map(toProductView).map((product) => [product.sku, product]));
  },
  plan: (input, products, { ids, nowMs, key }) => {
    const id = ids.next("ord");
    const payment = ids.next("pay");
    const lines = input.lines.map((line) => ({
      ...line,
      priceMinor: products.get(line.sku)?.priceMinor ?? 0,
    }));
    const totalMinor = lines.reduce((sum, line) => sum + line.quantity * line.priceMinor, 0);
    const unknown = lines.find((line) => !products.has(line.sku));
    if (unknown !== undefined) {
      return refused(
        [absent("products", sql`sku = ${unknown.sku}`)],
        "unknown-product",
        `There is no product ${unknown.sku}.`,
      );
    }
    const foreign = lines.find((line) => products.get(line.sku)?.currency !== input.currency);
    if (foreign !== undefined) {
      return refused(
        [exists("products", sql`sku = ${foreign.sku} AND currency <> ${input.currency}`)],
        "currency-mismatch",
        `${foreign.sku} is not sold in ${input.currency}.`,
      );
    }
    const facts = [pricesHold(lines, input.currency)];
    if (totalMinor > AMOUNT_MINOR_MAX) {
      return refused(facts, "limit-exceeded", "The total is larger than a payment may be.");
    }
    const order = {
      id,
      state: "placed",
      buyer: input.buyer,
      merchant: input.merchant,
      currency: input.currency,
      total: totalMinor,
      payment: totalMinor === 0 ? null : payment,
      refund: null,
      created_at_ms: nowMs,
    } as const;
    const transfer = {
      id: payment,
      source: input.buyer,
      destination: input.merchant,
      currency: input.currency,
      amountMinor: totalMinor,
      refundOf: null,
      description: `order ${id}`,
      key,
      nowMs,
    };
    return {
      facts,
      guards: [
        stockCovers(Object.fromEntries(lines.map((line) => [line.sku, line.quantity]))),
        ...transferGuards(transfer),
      ],
      effects: [
        ...(totalMinor === 0 ? [] : [postTransfer(transfer)]),
        ...placeOrder(order, lines, key),
      ],
      answer: { status: 201, link: `/v1/orders/${id}`, body: toOrderView(order, lines) },
    };
  },
});
