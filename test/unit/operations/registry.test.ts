import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Reader } from "../../../src/journal/reader.ts";
import { IdSource } from "../../../src/kernel/ids.ts";
import { isJsonObject, type Json } from "../../../src/kernel/json.ts";
import type { Plan } from "../../../src/kernel/plan.ts";
import { renderSql, sql, trusted } from "../../../src/kernel/sql.ts";
import { adjustStock } from "../../../src/operations/adjust-stock.ts";
import { cancelOrder } from "../../../src/operations/cancel-order.ts";
import { createAccount } from "../../../src/operations/create-account.ts";
import { createOrder } from "../../../src/operations/create-order.ts";
import { createPayment } from "../../../src/operations/create-payment.ts";
import { createPayout } from "../../../src/operations/create-payout.ts";
import { createProduct } from "../../../src/operations/create-product.ts";
import { createRefund } from "../../../src/operations/create-refund.ts";
import type { Operation } from "../../../src/operations/define-operation.ts";
import { operations, queries } from "../../../src/operations/registry.ts";
import { json, jsonObject, property } from "../property.ts";

const KEY = "key-0000000000000001";
const PAYMENT = `pay_${"0".repeat(26)}`;

/** A read that finds this row, whatever it asks for. */
const finding = (row?: Record<string, unknown>): Reader => ({
  rows: () => Promise.resolve(row === undefined ? [] : [row]),
  first: () => Promise.resolve(row),
});

const context = () => {
  let minted = 0;
  return {
    ids: new IdSource(() => String((minted += 1)).padStart(26, "0")),
    nowMs: 1_800_000_000_000,
    key: KEY,
  };
};

const planOf = async (
  operation: Operation,
  body: Json,
  params: Record<string, string> = {},
  reader = finding(),
): Promise<Plan> => {
  const ready = operation.validate(params, body);
  if (!ready.ok) throw new Error(JSON.stringify(ready.failure));
  return ready.value.plan(reader, context());
};

/** What it answers: of an external step, once its processor has done it. */
const answerOf = ({ external }: Operation, { answer, held }: Plan): Plan["answer"] => {
  if (external === null) return answer;
  const end = external.settle(held ?? null, { status: 200, body: { id: "tr_1" } }, 1);
  if ("refusal" in end) throw new Error(end.detail);
  return end.answer;
};

/** Pointers of what is wrong with a body. */
const flaws = (operation: Operation, body: Json, params: Record<string, string> = {}): string[] => {
  const ready = operation.validate(params, body);
  return ready.ok ? [] : ready.failure.map(({ pointer }) => pointer);
};

const refusals = ({ guards }: Plan): string[] => guards.map(({ refusal }) => refusal);

const account = { currency: "EUR" };
const payment = { source: "alice", destination: "bob", amountMinor: 1_250, currency: "EUR" };
const product = { sku: "mug", name: "Mug", priceMinor: 900, currency: "EUR" };
const storedPayment = {
  id: PAYMENT,
  source: "alice",
  destination: "bob",
  currency: "EUR",
  amount: 1_250,
  refunded: 250,
  refund_of: null,
  description: null,
  created_at_ms: 0,
};

const ORDER = `ord_${"0".repeat(26)}`;
const order = { buyer: "alice", merchant: "shop", currency: "EUR" };
const storedProduct = { ...product, price: 900, quantity: 5, created_at_ms: 0 };
/** A read that finds an order of one mug that is paid. */
const findingOrder: Reader = {
  rows: () => Promise.resolve([{ order_id: ORDER, sku: "mug", quantity: 1, price: 900 }]),
  first: ({ table }) =>
    Promise.resolve(
      table === "orders"
        ? {
            ...order,
            id: ORDER,
            state: "placed",
            total: 900,
            payment: PAYMENT,
            refund: null,
            created_at_ms: 0,
          }
        : storedPayment,
    ),
};

/** One accepted request of every operation. */
const accepted: readonly (readonly [Operation, Json, Record<string, string>, Reader])[] = [
  [createAccount, account, {}, finding()],
  [createPayment, payment, {}, finding()],
  [createRefund, {}, { id: PAYMENT }, finding(storedPayment)],
  [createRefund, { amountMinor: 5 }, { id: PAYMENT }, finding(storedPayment)],
  [
    createPayout,
    { account: "alice", amountMinor: 5, currency: "EUR", destination: "DE00" },
    {},
    finding(),
  ],
  [createProduct, { ...product, quantity: 3 }, {}, finding()],
  [adjustStock, { delta: -1 }, { sku: "mug" }, finding()],
  [createOrder, { ...order, lines: [{ sku: "mug", quantity: 1 }] }, {}, finding(storedProduct)],
  [cancelOrder, { state: "cancelled" }, { id: ORDER }, findingOrder],
];

describe("every endpoint", () => {
  it("has a name of its own: it is part of the fingerprint", () => {
    const names = [...operations, ...queries].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it("has a method and path of its own", () => {
    const routes = [...operations, ...queries].map(({ method, path }) => `${method} ${path}`);
    expect(new Set(routes).size).toBe(routes.length);
  });

  it("that changes something requires a key", () => {
    for (const { name, method, keyRequired } of operations) {
      expect(keyRequired, `of ${name}`).toBe(method === "POST" || method === "PATCH");
    }
  });

  it("names in its path exactly the parameters that it validates", () => {
    for (const { path, params } of [...operations, ...queries]) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? "");
      const wrong = params.safeParse(Object.fromEntries(names.map((name) => [name, "\u0000"])));
      const missing = names.length === 0 ? [] : params.safeParse({}).error?.issues;
      expect(missing?.map((issue) => issue.path.join()).toSorted()).toEqual(names.toSorted());
      for (const issue of wrong.error?.issues ?? [])
        expect(issue.code).not.toBe("unrecognized_keys");
    }
  });

  it("has a test below that its accepted request is answered as documented", () => {
    expect(new Set(accepted.map(([operation]) => operation))).toEqual(new Set(operations));
  });
});

describe.each(
  accepted.map(([operation, ...rest]) => [operation.name, operation, ...rest] as const),
)("an accepted request of %s", (_, operation, body, params, reader) => {
  it("is answered with what its output schema promises, and a link", async () => {
    const answer = answerOf(operation, await planOf(operation, body, params, reader));
    expect(operation.output.safeParse(answer.body).success).toBe(true);
    expect(answer.link).toMatch(/^\/v1\/[\w./-]+$/);
    expect([200, 201]).toContain(answer.status);
    for (const member of Object.keys(answer.computed ?? {}))
      expect(answer.body).toHaveProperty(member);
  });

  it("is refused only with what it declares", async () => {
    const declared = Object.keys(operation.refusals);
    for (const code of refusals(await planOf(operation, body, params, reader))) {
      expect(declared).toContain(code);
    }
  });

  it("51: is planned again to the same plan, ids and all", async () => {
    const first = await planOf(operation, body, params, reader);
    await expect(planOf(operation, body, params, reader)).resolves.toEqual(first);
  });

  it("has an effect, and guards before it", async () => {
    const { guards, effects } = await planOf(operation, body, params, reader);
    expect(guards.length).toBeGreaterThan(0);
    expect(effects.length).toBeGreaterThan(0);
  });

  it("23: has no member that the schema does not know", () => {
    if (!isJsonObject(body)) throw new Error("no object");
    expect(flaws(operation, { ...body, extra: 1 }, params)).toEqual([""]);
  });
});

describe("any JSON at all", () => {
  property(
    "is judged without an exception, by every operation",
    fc.property(fc.oneof(json, jsonObject), fc.constantFrom(...operations), (body, operation) => {
      const result = operation.validate({}, body);
      if (!result.ok)
        for (const { pointer } of result.failure) expect(pointer).toMatch(/^(\/.*)?$/s);
      operation.moreScopes(body);
    }),
    500,
  );
});

describe("accounts.create", () => {
  it("keeps the id that was chosen, and makes one otherwise", async () => {
    const chosen = await planOf(createAccount, { ...account, id: "alice" });
    expect(chosen.answer).toMatchObject({ link: "/v1/accounts/alice", body: { id: "alice" } });
    const made = await planOf(createAccount, account);
    expect(made.answer.body["id"]).toBe(`acc_${"1".padStart(26, "0")}`);
  });

  it("L: opens an account with nothing in it, and no overdraft unless asked for", async () => {
    expect((await planOf(createAccount, account)).answer.body).toMatchObject({
      balanceMinor: 0,
      overdraftLimitMinor: 0,
    });
    const overdrawn = await planOf(createAccount, { ...account, overdraftLimitMinor: 500 });
    expect(overdrawn.answer.body).toMatchObject({ overdraftLimitMinor: 500 });
  });

  it.each([
    [{ ...account, id: "system:EUR" }, "/id"],
    [{ ...account, id: "A" }, "/id"],
    [{ currency: "DEM" }, "/currency"],
    [{ ...account, overdraftLimitMinor: -1 }, "/overdraftLimitMinor"],
    [{ ...account, balanceMinor: 5 }, ""],
  ])("refuses %j at %j", (body, pointer) => {
    expect(flaws(createAccount, body)).toContain(pointer);
  });
});

describe("payments.create", () => {
  it("posts one transfer under its key, and says so", async () => {
    const { effects, answer } = await planOf(createPayment, { ...payment, description: "Rent" });
    const id = `pay_${"1".padStart(26, "0")}`;
    expect(effects).toMatchObject([
      {
        kind: "insert",
        table: "transfers",
        row: {
          id,
          source: "alice",
          destination: "bob",
          amount: 1_250,
          currency: "EUR",
          key: KEY,
          description: "Rent",
        },
      },
    ]);
    expect(answer).toMatchObject({
      status: 201,
      link: `/v1/payments/${id}`,
      body: { id, refundedMinor: 0 },
    });
  });

  it("27: needs a further scope for money that enters or leaves the ledger, on either side", () => {
    const scopes = (more: object): unknown => createPayment.moreScopes({ ...payment, ...more });
    expect(scopes({})).toEqual([]);
    expect(scopes({ source: "system:EUR" })).toEqual(["ledger:fund"]);
    expect(scopes({ destination: "system:EUR" })).toEqual(["ledger:fund"]);
    expect(scopes({ source: "system:anything" })).toEqual(["ledger:fund"]);
  });

  it.each([null, [], "system:EUR", 5, { source: ["system:EUR"] }])(
    "a body of %j needs no further scope: it will not be carried out",
    (body) => {
      expect(createPayment.moreScopes(body)).toEqual([]);
      expect(flaws(createPayment, body)).not.toEqual([]);
    },
  );

  it("27: no body that is carried out moves system money without that scope", () => {
    for (const source of ["system:EUR", "System:EUR", " system:EUR", "ｓystem:EUR"]) {
      const body = { ...payment, source };
      const isCarriedOut = flaws(createPayment, body).length === 0;
      expect(isCarriedOut).toBe(createPayment.moreScopes(body).length > 0);
    }
  });

  it.each([
    ["15: a negative amount", { ...payment, amountMinor: -1 }, "/amountMinor"],
    ["15: an amount of nothing", { ...payment, amountMinor: 0 }, "/amountMinor"],
    ["15: a fraction of a cent", { ...payment, amountMinor: 0.5 }, "/amountMinor"],
    ["15: an amount as text", { ...payment, amountMinor: "1250" }, "/amountMinor"],
    ["an amount beyond the limit", { ...payment, amountMinor: 1_000_000_000_001 }, "/amountMinor"],
    ["a payment to itself", { ...payment, destination: "alice" }, "/destination"],
    ["no source", { destination: "bob", amountMinor: 1, currency: "EUR" }, "/source"],
    ["a control character", { ...payment, description: "a\u0007" }, "/description"],
  ])("refuses %s", (_, body, pointer) => {
    expect(flaws(createPayment, body)).toEqual([pointer]);
  });
});

describe("refunds.create", () => {
  const refund = async (body: Json, row?: Record<string, unknown>) =>
    planOf(createRefund, body, { id: PAYMENT }, finding(row));

  it("47: gives back what is left, and that it is left is a fact", async () => {
    const { facts, effects, answer } = await refund({}, storedPayment);
    expect(answer.body).toMatchObject({ amountMinor: 1_000, currency: "EUR", payment: PAYMENT });
    expect(effects).toMatchObject([
      { row: { amount: 1_000, source: "bob", destination: "alice", refund_of: PAYMENT } },
    ]);
    expect(facts).toEqual([
      {
        table: "transfers",
        where: sql`id = ${PAYMENT} AND refunded = ${250}`,
        matches: "some",
      },
    ]);
  });

  it("47: of a given amount rests on no fact: a guard judges it at the moment it happens", async () => {
    const { facts, guards, answer } = await refund({ amountMinor: 2_000 }, storedPayment);
    expect(facts).toEqual([]);
    expect(answer.body).toMatchObject({ amountMinor: 2_000 });
    expect(guards[0]).toMatchObject({ refusal: "refund-exceeds-payment" });
  });

  it("of what has nothing left is refused, and that is a fact too", async () => {
    const plan = await refund({}, { ...storedPayment, refunded: 1_250 });
    expect(refusals(plan)).toEqual(["refund-exceeds-payment"]);
    expect(plan.facts).toHaveLength(1);
    expect(plan.effects).toEqual([]);
  });

  it("of a payment that is not there is refused, while it is not there", async () => {
    const plan = await refund({ amountMinor: 1 });
    expect(refusals(plan)).toEqual(["unknown-payment"]);
    expect(plan.facts).toMatchObject([{ table: "transfers", matches: "none" }]);
    expect(plan.effects).toEqual([]);
  });

  it("has an id that begins with its payment's", async () => {
    const { answer } = await refund({}, storedPayment);
    const id = `ref_${"0".repeat(26)}_${"1".padStart(26, "0")}`;
    expect(answer.body["id"]).toBe(id);
    expect(answer.link).toBe(`/v1/payments/${PAYMENT}/refunds/${id}`);
  });

  it("17: of what is no payment's id is not valid", () => {
    for (const id of ["pay_1", `ref_${"0".repeat(26)}`, ""]) {
      expect(flaws(createRefund, {}, { id })).toEqual(["/id"]);
    }
  });
});

describe("products.create", () => {
  it("moves the first stock in, if there is any", async () => {
    const stocked = await planOf(createProduct, { ...product, quantity: 3 });
    expect(stocked.effects).toMatchObject([
      { table: "products", row: { sku: "mug", price: 900 } },
      { table: "stock_moves", row: { sku: "mug", delta: 3, key: KEY } },
    ]);
    const empty = await planOf(createProduct, product);
    expect(empty.effects).toMatchObject([{ table: "products" }]);
    expect(empty.answer.body).toMatchObject({ quantity: 0 });
  });

  it.each([
    [{ ...product, name: "" }, "/name"],
    [{ ...product, name: "x".repeat(201) }, "/name"],
    [{ ...product, name: "a\nb" }, "/name"],
    [{ ...product, priceMinor: -1 }, "/priceMinor"],
    [{ ...product, quantity: -1 }, "/quantity"],
    [{ ...product, sku: "../etc" }, "/sku"],
  ])("refuses %j at %j", (body, pointer) => {
    expect(flaws(createProduct, body)).toEqual([pointer]);
  });
});

describe("stock.adjust", () => {
  it("46: answers with the quantity that SQL finds after the move, not with one that was read before", async () => {
    const { answer, effects } = await planOf(
      adjustStock,
      { delta: -2, reason: "sold" },
      { sku: "mug" },
    );
    expect(effects).toMatchObject([
      { table: "stock_moves", row: { delta: -2, reason: "sold", key: KEY } },
    ]);
    expect(answer.status).toBe(200);
    expect(answer.computed).toEqual({
      quantity: {
        table: "products",
        value: trusted("quantity"),
        where: sql`sku = ${"mug"}`,
      },
    });
  });

  it("refuses an unknown product before it counts", async () => {
    const plan = await planOf(adjustStock, { delta: -2 }, { sku: "mug" });
    expect(refusals(plan)).toEqual(["unknown-product", "out-of-stock"]);
  });

  it.each([{ delta: 0 }, { delta: 0.5 }, { delta: "1" }, {}])("refuses %j", (body) => {
    expect(flaws(adjustStock, body, { sku: "mug" })).toEqual(["/delta"]);
  });
});

describe("orders.create", () => {
  const lines = [
    { sku: "mug", quantity: 2 },
    { sku: "plate", quantity: 1 },
  ];
  const products = [
    { ...storedProduct, sku: "plate", price: 1_250 },
    { ...storedProduct, sku: "mug", price: 900 },
  ];
  const selling = (...rows: readonly Record<string, unknown>[]): Reader => ({
    rows: () => Promise.resolve(rows),
    first: () => Promise.reject(new Error("Nothing is read one by one.")),
  });
  const place = async (change: Record<string, Json> = {}, reader = selling(...products)) =>
    planOf(createOrder, { ...order, lines, ...change }, {}, reader);

  it("is one transfer of the total, the order, its lines and their stock: what the group counts", async () => {
    const plan = await place();
    const id = `ord_${"1".padStart(26, "0")}`;
    const paid = `pay_${"2".padStart(26, "0")}`;
    expect(plan.effects).toMatchObject([
      {
        table: "transfers",
        row: { id: paid, source: "alice", destination: "shop", amount: 3_050, key: KEY },
      },
      { table: "orders", row: { id, total: 3_050, payment: paid, key: KEY } },
      { kind: "insert-each", table: "order_lines" },
      {
        kind: "insert-each",
        table: "stock_moves",
        each: [
          ["mug", 2, 900],
          ["plate", 1, 1_250],
        ],
      },
    ]);
    expect(plan.answer).toMatchObject({
      status: 201,
      link: `/v1/orders/${id}`,
      body: { id, state: "placed", totalMinor: 3_050, payment: paid, refund: null },
    });
  });

  it("rests on the prices that were read: that they hold is its one fact", async () => {
    const { facts } = await place();
    expect(facts).toMatchObject([{ table: "products", matches: 2 }]);
    expect(facts?.map(({ where }) => renderSql(where).params)).toMatchObject([
      expect.arrayContaining(['{"mug":900,"plate":1250}']),
    ]);
  });

  it("refuses for lack of stock before anything about money", async () => {
    expect(refusals(await place())[0]).toBe("out-of-stock");
  });

  it("of what is not sold here is refused, while it is not", async () => {
    const plan = await place({}, selling(products[0] ?? {}));
    expect(refusals(plan)).toEqual(["unknown-product"]);
    expect(plan.facts).toMatchObject([{ table: "products", matches: "none" }]);
    expect(plan.effects).toEqual([]);
  });

  it("of what is sold in another currency is refused, while it is", async () => {
    const plan = await place({ currency: "USD" });
    expect(refusals(plan)).toEqual(["currency-mismatch"]);
    expect(plan.facts).toMatchObject([{ table: "products", matches: "some" }]);
    expect(plan.effects).toEqual([]);
  });

  it("of a total beyond one payment is refused, at these prices, also where a number loses cents", async () => {
    for (const price of [500_000_000_000, 1_000_000_000_000]) {
      const dear = { ...storedProduct, price };
      const plan = await place({ lines: [{ sku: "mug", quantity: 10_000 }] }, selling(dear));
      expect(refusals(plan)).toEqual(["limit-exceeded"]);
      expect(plan.facts).toMatchObject([{ table: "products", matches: 1 }]);
    }
  });

  it("that costs nothing has no payment and moves no money", async () => {
    const given = { ...storedProduct, price: 0 };
    const plan = await place({ lines: [{ sku: "mug", quantity: 2 }] }, selling(given));
    expect(plan.effects.map(({ table }) => table)).toEqual([
      "orders",
      "order_lines",
      "stock_moves",
    ]);
    expect(plan.answer.body).toMatchObject({ totalMinor: 0, payment: null });
  });

  it("27: has no system account on either side: that would need ledger:fund", () => {
    for (const side of ["buyer", "merchant"]) {
      const body = { ...order, lines, [side]: "system:EUR" };
      expect(flaws(createOrder, body)).toEqual([`/${side}`]);
    }
  });

  it.each([
    ["a purchase from oneself", { merchant: "alice" }, "/merchant"],
    ["a total", { totalMinor: 1 }, ""],
    ["no lines", { lines: [] }, "/lines"],
    ["a product twice", { lines: [lines[0], lines[0]] as Json[] }, "/lines"],
  ] as const)("refuses %s", (_, change, pointer) => {
    expect(flaws(createOrder, { ...order, lines, ...change })).toEqual([pointer]);
  });
});

describe("orders.cancel", () => {
  const row = {
    ...order,
    id: ORDER,
    state: "placed",
    total: 1_250,
    payment: PAYMENT,
    refund: null,
    created_at_ms: 0,
  };
  const stored = (
    found: Record<string, unknown> | undefined,
    paid: Record<string, unknown> | undefined = storedPayment,
  ): Reader => ({
    rows: () => Promise.resolve([{ order_id: ORDER, sku: "mug", quantity: 2, price: 625 }]),
    first: ({ table }) => Promise.resolve(table === "orders" ? found : paid),
  });
  const cancel = async (reader: Reader) =>
    planOf(cancelOrder, { state: "cancelled" }, { id: ORDER }, reader);

  it("gives back what refunds have left of the payment, and all of the stock", async () => {
    const plan = await cancel(stored(row));
    expect(plan.effects).toMatchObject([
      {
        table: "transfers",
        row: { amount: 1_000, source: "bob", destination: "alice", refund_of: PAYMENT, key: KEY },
      },
      { kind: "update", table: "orders", set: { state: "cancelled" } },
      { kind: "insert-each", table: "stock_moves", each: [["mug", 2, 625]] },
    ]);
    expect(plan.answer.body).toMatchObject({ state: "cancelled", totalMinor: 1_250 });
    expect(plan.answer.body["refund"]).toBe(`ref_${"0".repeat(26)}_${"1".padStart(26, "0")}`);
  });

  it("rests on the order's state and on what was refunded", async () => {
    expect((await cancel(stored(row))).facts).toMatchObject([
      { table: "orders", where: { values: [ORDER, "placed"] } },
      { table: "transfers", where: { values: [PAYMENT, 250] } },
    ]);
  });

  it("moves no money where nothing is left, or nothing was paid", async () => {
    for (const reader of [
      stored(row, { ...storedPayment, refunded: 1_250 }),
      stored({ ...row, total: 0, payment: null }),
    ]) {
      const plan = await cancel(reader);
      expect(plan.effects.map(({ table }) => table)).toEqual(["orders", "stock_moves"]);
      expect(plan.guards).toEqual([]);
      expect(plan.answer.body).toMatchObject({ state: "cancelled", refund: null });
    }
  });

  it("E1: of a cancelled order is refused, and that it is cancelled is the fact", async () => {
    const plan = await cancel(stored({ ...row, state: "cancelled" }));
    expect(refusals(plan)).toEqual(["order-already-cancelled"]);
    expect(plan.facts).toMatchObject([{ where: { values: [ORDER, "cancelled"] } }]);
    expect(plan.effects).toEqual([]);
  });

  it("of no order is refused, while there is none", async () => {
    const plan = await cancel(stored(undefined));
    expect(refusals(plan)).toEqual(["unknown-order"]);
    expect(plan.facts).toMatchObject([{ table: "orders", matches: "none" }]);
  });

  it.each([{}, { state: "placed" }, { state: null }, { state: "CANCELLED" }])(
    "refuses %j: nothing else can be changed",
    (body) => {
      expect(flaws(cancelOrder, body, { id: ORDER })).toEqual(["/state"]);
    },
  );

  it("17: of what is no order's id is not valid", () => {
    for (const id of ["ord_1", PAYMENT, ""]) {
      expect(flaws(cancelOrder, { state: "cancelled" }, { id })).toEqual(["/id"]);
    }
  });
});
