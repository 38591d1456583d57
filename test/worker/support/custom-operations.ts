/** Operations that a team might add: what the engine guarantees may not depend on how the built-in ones are made. */
import { z } from "zod";
import { exists, insertIfAbsent, update, valueOf } from "../../../src/kernel/plan.ts";
import { joinSql, sql } from "../../../src/kernel/sql.ts";
import { productExists, STOCK_CONSTRAINTS } from "../../../src/orders/stock.ts";
import { defineOperation, noParams } from "../../../src/operations/define-operation.ts";

const shelf = {
  params: z.strictObject({ sku: z.string() }),
  scope: "stock:write",
  // A POST that makes nothing that has a path.
  status: 200,
} as const;
const pieces = z.strictObject({ pieces: z.int() });

/** A bare UPDATE: no inserted id stands in the way of a second application. */
export const restock = defineOperation({
  ...shelf,
  name: "shelf.restock",
  method: "POST",
  path: "/v1/shelves/{sku}/restock",
  summary: "Add pieces",
  input: pieces,
  output: z.object({ added: z.int() }),
  refusals: { "unknown-product": 404 },
  plan: (input, _facts, { params }) => ({
    guards: [productExists(params.sku)],
    effects: [
      update("products", { quantity: sql`quantity + ${input.pieces}` }, sql`sku = ${params.sku}`),
    ],
    answer: { status: 200, link: `/v1/products/${params.sku}`, body: { added: input.pieces } },
  }),
});

/** Forgets to ask whether there are enough; the schema does not. */
export const take = defineOperation({
  ...shelf,
  name: "shelf.take",
  method: "POST",
  path: "/v1/shelves/{sku}/take",
  summary: "Take pieces",
  input: pieces,
  output: z.object({ left: z.int() }),
  refusals: { "out-of-stock": 409, "limit-exceeded": 409 },
  constraints: STOCK_CONSTRAINTS,
  plan: (input, _facts, { params }) => ({
    guards: [],
    effects: [
      update("products", { quantity: sql`quantity - ${input.pieces}` }, sql`sku = ${params.sku}`),
    ],
    answer: {
      status: 200,
      link: `/v1/products/${params.sku}`,
      body: { left: 0 },
      computed: { left: valueOf("products", "quantity", sql`sku = ${params.sku}`) },
    },
  }),
});

/** The same, and does not say what the constraint stands for. */
export const takeBlindly = defineOperation({
  ...shelf,
  name: "shelf.take-blindly",
  method: "POST",
  path: "/v1/shelves/{sku}/take-blindly",
  summary: "Take pieces",
  input: pieces,
  output: z.object({}),
  refusals: {},
  plan: (input, _facts, { params }) => ({
    guards: [],
    effects: [
      update("products", { quantity: sql`quantity - ${input.pieces}` }, sql`sku = ${params.sku}`),
    ],
    answer: { status: 200, link: `/v1/products/${params.sku}`, body: {} },
  }),
});

/** Adds a piece, and answers at the length that is asked for. */
export const restockAtLength = defineOperation({
  ...shelf,
  name: "shelf.restock-at-length",
  method: "POST",
  path: "/v1/shelves/{sku}/restock-at-length",
  summary: "Add a piece and say much",
  input: z.strictObject({ characters: z.int(), letter: z.string().default("x") }),
  output: z.object({ text: z.string() }),
  refusals: {},
  plan: (input, _facts, { params }) => ({
    guards: [],
    effects: [update("products", { quantity: sql`quantity + 1` }, sql`sku = ${params.sku}`)],
    answer: {
      status: 200,
      link: `/v1/products/${params.sku}`,
      body: { text: input.letter.repeat(input.characters) },
    },
  }),
});

/** As many statements as asked for; none of them changes anything in opened books. */
export const repeatEffects = defineOperation({
  name: "effects.repeat",
  method: "POST",
  path: "/v1/effects",
  summary: "Do nothing, often",
  scope: "payments:write",
  status: 200,
  params: noParams,
  input: z.strictObject({ effects: z.int() }),
  output: z.object({}),
  refusals: {},
  plan: (input, _facts, { nowMs }) => ({
    guards: [],
    effects: Array.from({ length: input.effects }, () =>
      insertIfAbsent("accounts", {
        id: "system:EUR",
        currency: "EUR",
        overdraft_limit: null,
        created_at_ms: nowMs,
      }),
    ),
    answer: { status: 200, link: "/v1/effects", body: {} },
  }),
});

/** A statement with a parameter for each name, and there may be more than D1 takes. */
export const restockByNames = defineOperation({
  name: "shelf.restock-by-names",
  method: "POST",
  path: "/v1/shelves",
  summary: "Add a piece to each",
  scope: "stock:write",
  status: 200,
  params: noParams,
  input: z.strictObject({ names: z.int() }),
  output: z.object({}),
  refusals: {},
  plan: (input) => {
    const names = Array.from({ length: input.names }, (_, i) => sql`${`mug-${i}`}`);
    return {
      guards: [],
      effects: [
        update("products", { quantity: sql`quantity + 1` }, sql`sku IN (${joinSql(names, ", ")})`),
      ],
      answer: { status: 200, link: "/v1/products", body: {} },
    };
  },
});

/** A key that lives for a minute. */
export const restockBriefly = defineOperation({
  ...shelf,
  name: "shelf.restock-briefly",
  method: "POST",
  path: "/v1/shelves/{sku}/restock-briefly",
  summary: "Add pieces, under a key that lives for a minute",
  keyLifetimeSeconds: 60,
  input: pieces,
  output: z.object({}),
  refusals: {},
  plan: (input, _facts, { params }) => ({
    guards: [],
    effects: [
      update("products", { quantity: sql`quantity + ${input.pieces}` }, sql`sku = ${params.sku}`),
    ],
    answer: { status: 200, link: `/v1/products/${params.sku}`, body: {} },
  }),
});

/** Restocks, but throws while it is broken: where it plans, or where it reads what the plan needs. */
export const fragileRestock = (part: "plan" | "read") => {
  const state = { broken: true };
  const check = (where: typeof part): void => {
    if (state.broken && where === part) throw new Error(`Its ${part} is broken.`);
  };
  const operation = defineOperation({
    ...shelf,
    name: "shelf.restock-fragile",
    method: "POST",
    path: "/v1/shelves/{sku}/restock-fragile",
    summary: "Add pieces, or fail",
    input: pieces,
    output: z.object({}),
    refusals: {},
    read: async (_input, reader, { params }) => {
      check("read");
      return reader.first({
        table: "products",
        columns: ["name"],
        where: sql`sku = ${params.sku}`,
      });
    },
    plan: (input, product, { params }) => {
      check("plan");
      return {
        facts: [
          exists("products", sql`sku = ${params.sku} AND name = ${String(product?.["name"])}`),
        ],
        guards: [],
        effects: [
          update(
            "products",
            { quantity: sql`quantity + ${input.pieces}` },
            sql`sku = ${params.sku}`,
          ),
        ],
        answer: { status: 200, link: `/v1/products/${params.sku}`, body: {} },
      };
    },
  });
  return {
    operation,
    setBroken: (broken: boolean) => {
      state.broken = broken;
    },
  };
};

export const customOperations = [
  restock,
  take,
  takeBlindly,
  restockAtLength,
  repeatEffects,
  restockByNames,
  restockBriefly,
];
