/** POST /v1/products: adds a product, with its first stock. */
import { z } from "zod";
import { amountMinorOrZero, currency } from "../kernel/money.ts";
import { absent, insert, require } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import { moveStock, productView, quantity, sku } from "../orders/stock.ts";
import { defineOperation, noParams } from "./define-operation.ts";

export const createProduct = defineOperation({
  name: "products.create",
  method: "POST",
  path: "/v1/products",
  summary: "Add a product",
  scope: "stock:write",
  params: noParams,
  input: z.strictObject({
    sku,
    name: z
      .string()
      .min(1)
      .max(200)
      .regex(/^\P{Cc}*$/u, "no control characters")
      .meta({ examples: ["Mug"] }),
    priceMinor: amountMinorOrZero.meta({ examples: [1250] }),
    currency,
    quantity: quantity.default(0).meta({ description: "In stock at the start" }),
  }),
  output: productView,
  refusals: { "already-exists": 409 },
  plan: (input, _facts, { ids, nowMs, key }) => ({
    guards: [
      require(absent(
        "products",
        sql`sku = ${input.sku}`,
      ), "already-exists", `There is a product ${input.sku} already.`),
    ],
    effects: [
      insert("products", {
        sku: input.sku,
        name: input.name,
        currency: input.currency,
        price: input.priceMinor,
        created_at_ms: nowMs,
      }),
      ...(input.quantity === 0
        ? []
        : [
            moveStock({
              id: ids.next("mov"),
              sku: input.sku,
              delta: input.quantity,
              reason: "first stock",
              key,
              nowMs,
            }),
          ]),
    ],
    answer: {
      status: 201,
      link: `/v1/products/${input.sku}`,
      body: {
        sku: input.sku,
        name: input.name,
        priceMinor: input.priceMinor,
        currency: input.currency,
        quantity: input.quantity,
        createdAt: new Date(nowMs).toISOString(),
      },
    },
  }),
});
