/** PATCH /v1/products/{sku}/stock: adds to stock, or takes from it, never below zero. */
import { z } from "zod";
import { valueOf } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import {
  delta,
  moveStock,
  productExists,
  sku,
  STOCK_CONSTRAINTS,
  stockMoveView,
  stockSuffices,
} from "../orders/stock.ts";
import { description } from "../ledger/transfer.ts";
import { defineOperation } from "./define-operation.ts";

export const adjustStock = defineOperation({
  name: "stock.adjust",
  method: "PATCH",
  path: "/v1/products/{sku}/stock",
  summary: "Change a product's stock by a signed amount",
  scope: "stock:write",
  params: z.strictObject({ sku }),
  input: z.strictObject({ delta, reason: description.optional() }),
  output: stockMoveView,
  refusals: { "unknown-product": 404, "out-of-stock": 409, "limit-exceeded": 409 },
  constraints: STOCK_CONSTRAINTS,
  plan: (input, _facts, { params, ids, nowMs, key }) => {
    const id = ids.next("mov");
    return {
      guards: [productExists(params.sku), stockSuffices(params.sku, input.delta)],
      effects: [
        moveStock({
          id,
          sku: params.sku,
          delta: input.delta,
          reason: input.reason ?? null,
          key,
          nowMs,
        }),
      ],
      answer: {
        status: 200,
        link: `/v1/products/${params.sku}`,
        body: {
          id,
          sku: params.sku,
          delta: input.delta,
          quantity: 0,
          createdAt: new Date(nowMs).toISOString(),
        },
        computed: { quantity: valueOf("products", "quantity", sql`sku = ${params.sku}`) },
      },
    };
  },
});
