/** Orders from outside: what they take, what they refuse, and that both are said again. After each test the books balance. */
import { describe, expect, it } from "vitest";
import { LINES_MAX } from "../../src/orders/order.ts";
import { balanceOf, expectNothingMade, transfersOf } from "../support/books.ts";
import type { Statement } from "../support/companion.ts";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import {
  type Answer,
  type Body,
  FUNDS_MINOR,
  newKey,
  openTenant,
  type Sending,
  type Tenant,
  textOf,
} from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const serverFor = useServers(EVERY_ROUTING);

type Line = { readonly sku: string; readonly quantity: number };

const ORDER = { buyer: "alice", merchant: "bob", currency: "EUR" };

const MUGS: readonly Line[] = [{ sku: "mug", quantity: 2 }];

describe.each(ROUTINGS)("orders, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  /** Puts products on the shelf: price in minor units and quantity, by SKU. */
  const stock = async (
    tenant: Tenant,
    products: Readonly<Record<string, readonly [price: number, quantity: number]>>,
  ): Promise<void> => {
    await server().sqlBatch(
      Object.entries(products).flatMap(([sku, [price, quantity]]): Statement[] => [
        [
          "INSERT INTO products (tenant, sku, name, currency, price, created_at_ms) VALUES (?, ?, ?, 'EUR', ?, 0)",
          tenant.name,
          sku,
          sku,
          price,
        ],
        ...(quantity === 0
          ? []
          : [
              [
                "INSERT INTO stock_moves (tenant, sku, id, delta, key, created_at_ms) VALUES (?, ?, 'seed', ?, 'seed', 0)",
                tenant.name,
                sku,
                quantity,
              ] as const,
            ]),
      ]),
    );
  };

  const openShop = async (): Promise<Tenant> => {
    const tenant = await openTenant(server());
    await stock(tenant, { mug: [900, 5], plate: [1_250, 3], gift: [0, 10] });
    return tenant;
  };

  const place = async (
    tenant: Tenant,
    lines: readonly Line[] = MUGS,
    sending?: Sending,
    change: Readonly<Record<string, unknown>> = {},
  ): Promise<Answer> => tenant.post("/v1/orders", { ...ORDER, lines, ...change }, sending);

  const cancel = async (tenant: Tenant, id: string, sending?: Sending): Promise<Answer> =>
    tenant.patch(`/v1/orders/${id}`, { state: "cancelled" }, sending);

  const quantityOf = async (tenant: Tenant, sku: string): Promise<unknown> =>
    (await tenant.get(`/v1/products/${sku}`)).body["quantity"];

  describe("placing", () => {
    it("takes the stock, moves the money, and says what was sold at which price", async () => {
      const tenant = await openShop();
      const key = newKey();
      const lines = [...MUGS, { sku: "plate", quantity: 1 }, { sku: "gift", quantity: 3 }];

      const placed = await place(tenant, lines, { key });

      const id = textOf(placed, "id");
      expect(placed).toMatchObject({ status: 201, replayed: false });
      expect(placed.headers.get("Location")).toBe(`/v1/orders/${id}`);
      expect(placed.body).toMatchObject({
        ...ORDER,
        state: "placed",
        totalMinor: 3_050,
        refund: null,
        lines: [
          { sku: "mug", quantity: 2, priceMinor: 900 },
          { sku: "plate", quantity: 1, priceMinor: 1_250 },
          { sku: "gift", quantity: 3, priceMinor: 0 },
        ],
      });
      expect((await tenant.get(`/v1/orders/${id}`)).body).toEqual(placed.body);
      expect((await tenant.get(`/v1/payments/${textOf(placed, "payment")}`)).body).toMatchObject({
        source: "alice",
        destination: "bob",
        amountMinor: 3_050,
        description: `order ${id}`,
      });
      expect(await balanceOf(server(), tenant, "bob")).toBe(3_050);
      expect(await quantityOf(tenant, "mug")).toBe(3);
      expect(await quantityOf(tenant, "gift")).toBe(7);
    });

    it(`takes ${LINES_MAX} lines`, async () => {
      const tenant = await openTenant(server());
      const skus = Array.from({ length: LINES_MAX }, (_, i) => `sku-${i}`);
      await stock(tenant, Object.fromEntries(skus.map((sku, i) => [sku, [i, 1] as const])));
      const lines = skus.map((sku) => ({ sku, quantity: 1 }));

      const placed = await place(tenant, lines);

      // 0 + 1 + … + 49
      expect(placed).toMatchObject({ status: 201, body: { totalMinor: 1_225 } });
      expect((await tenant.get(`/v1/orders/${textOf(placed, "id")}`)).body).toEqual(placed.body);
      expect(await quantityOf(tenant, "sku-49")).toBe(0);
      // Everything is sold: once more, not one line of it.
      expect(await place(tenant, lines)).toMatchObject({ body: { code: "out-of-stock" } });
    });

    it("knows products by the whole of their SKU, whatever stands in it", async () => {
      const tenant = await openTenant(server());
      const prices = { "0": 1, "1.5": 2, "a.b": 4, "a-b_c": 8, MUG: 16, mug: 32, true: 64 };
      await stock(
        tenant,
        Object.fromEntries(Object.entries(prices).map(([sku, price]) => [sku, [price, 2]])),
      );
      const lines = Object.keys(prices).map((sku) => ({ sku, quantity: 2 }));
      expect(await place(tenant, lines)).toMatchObject({ status: 201, body: { totalMinor: 254 } });
    });

    it("RP: happens once however often it is sent, and another cart under its key is refused", async () => {
      const tenant = await openShop();
      const key = newKey();
      const first = await place(tenant, MUGS, { key });
      for (let retry = 0; retry < 3; retry++) {
        expect(await place(tenant, MUGS, { key })).toMatchObject({
          status: 201,
          replayed: true,
          text: first.text,
        });
      }
      expect(await place(tenant, [{ sku: "mug", quantity: 1 }], { key })).toMatchObject({
        status: 422,
        body: { code: "idempotency-key-reused", mismatched: ["lines"] },
      });
      expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
      expect(await quantityOf(tenant, "mug")).toBe(3);
      expect((await tenant.get(`/v1/idempotency-keys/${key}`)).body).toMatchObject({
        state: "completed",
        operation: "orders.create",
        link: `/v1/orders/${textOf(first, "id")}`,
      });
    });

    it("13: the order of its lines is part of it", async () => {
      const tenant = await openShop();
      const key = newKey();
      const lines = [...MUGS, { sku: "plate", quantity: 1 }];
      await place(tenant, lines, { key });
      expect((await place(tenant, lines.toReversed(), { key })).status).toBe(422);
    });

    it("RP: is replayed with the price it was sold at, though the product costs another now", async () => {
      const tenant = await openShop();
      const key = newKey();
      const first = await place(tenant, MUGS, { key });
      await server().sql("UPDATE products SET price = 1 WHERE tenant = ?", tenant.name);
      expect(await place(tenant, MUGS, { key })).toMatchObject({
        replayed: true,
        text: first.text,
      });
      expect((await tenant.get(`/v1/orders/${textOf(first, "id")}`)).body).toEqual(first.body);
      expect(await place(tenant)).toMatchObject({ body: { totalMinor: 2 } });
    });

    it("46: the last piece asked for by 20 orders at once goes to one, the others are refused for good", async () => {
      const tenant = await openTenant(server());
      await stock(tenant, { last: [100, 1] });
      const keys = Array.from({ length: 20 }, newKey);
      const lines = [{ sku: "last", quantity: 1 }];

      const answers = await Promise.all(keys.map(async (key) => place(tenant, lines, { key })));

      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      expect(answers.filter(({ body }) => body["code"] === "out-of-stock")).toHaveLength(19);
      expect(await quantityOf(tenant, "last")).toBe(0);
      expect(await balanceOf(server(), tenant, "bob")).toBe(100);
      const retries = await Promise.all(keys.map(async (key) => place(tenant, lines, { key })));
      expect(retries.map(({ text }) => text)).toEqual(answers.map(({ text }) => text));
    });

    it("that costs nothing moves no money and is paid by nothing", async () => {
      const tenant = await openShop();
      const key = newKey();
      const placed = await place(tenant, [{ sku: "gift", quantity: 1 }], { key });
      expect(placed).toMatchObject({ status: 201, body: { totalMinor: 0, payment: null } });
      expect(await transfersOf(server(), tenant, key)).toEqual([]);
      expect(await quantityOf(tenant, "gift")).toBe(9);
    });

    const refusals: readonly [
      string,
      readonly Line[],
      Readonly<Record<string, unknown>>,
      number,
      string,
    ][] = [
      ["more than is in stock", [{ sku: "mug", quantity: 6 }], {}, 409, "out-of-stock"],
      [
        "a product that does not exist",
        [...MUGS, { sku: "lamp", quantity: 1 }],
        {},
        404,
        "unknown-product",
      ],
      ["a product in another currency", MUGS, { currency: "USD" }, 409, "currency-mismatch"],
      ["an unknown buyer", MUGS, { buyer: "nobody" }, 409, "unknown-account"],
      ["an unknown merchant", MUGS, { merchant: "nobody" }, 409, "unknown-account"],
      [
        "what the buyer cannot pay",
        MUGS,
        { buyer: "bob", merchant: "alice" },
        402,
        "insufficient-funds",
      ],
    ];

    it.each(refusals)(
      "62: %s is refused, and the refusal is stored",
      async (_, lines, change, status, code) => {
        const tenant = await openShop();
        const key = newKey();
        const refused = await place(tenant, lines, { key }, change);
        expect(refused).toMatchObject({ status, body: { code, retry: { use: "new-key" } } });
        expect(refused.headers.get("Idempotency-Expires")).not.toBeNull();
        expect(refused.headers.get("X-Should-Retry")).toBe("false");
        expect(await place(tenant, lines, { key }, change)).toMatchObject({
          status,
          replayed: true,
          text: refused.text,
        });
        expect(await quantityOf(tenant, "mug")).toBe(5);
        expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR);
        expect((await tenant.get("/v1/orders")).body).toEqual({ data: [], next: null });
      },
    );

    it("62: a total beyond what one payment may be is refused, also beyond what a number holds", async () => {
      const tenant = await openTenant(server());
      await stock(tenant, { yacht: [1_000_000_000_000, 100_000], island: [1e12, 100_000] });
      for (const lines of [
        [{ sku: "yacht", quantity: 2 }],
        [
          { sku: "yacht", quantity: 10_000 },
          { sku: "island", quantity: 10_000 },
        ],
      ]) {
        expect(await place(tenant, lines)).toMatchObject({
          status: 409,
          body: { code: "limit-exceeded" },
        });
      }
      // One of it is within the limit: then the buyer's money decides.
      expect(await place(tenant, [{ sku: "yacht", quantity: 1 }])).toMatchObject({ status: 402 });
    });

    it("62: a merchant's account in another currency is refused", async () => {
      const tenant = await openShop();
      await tenant.post("/v1/accounts", { id: "carol", currency: "USD" });
      expect(await place(tenant, MUGS, {}, { merchant: "carol" })).toMatchObject({
        status: 409,
        body: { code: "currency-mismatch" },
      });
    });

    const line = { sku: "mug", quantity: 1 };
    const invalid: readonly [string, Readonly<Record<string, unknown>>, string][] = [
      ["no lines", { lines: [] }, "/lines"],
      [
        `${LINES_MAX + 1} lines`,
        { lines: Array.from({ length: LINES_MAX + 1 }, (_, i) => ({ ...line, sku: `s${i}` })) },
        "/lines",
      ],
      ["a product named twice", { lines: [line, { ...line, quantity: 2 }] }, "/lines"],
      ["a quantity of nothing", { lines: [{ ...line, quantity: 0 }] }, "/lines/0/quantity"],
      ["15: a negative quantity", { lines: [{ ...line, quantity: -1 }] }, "/lines/0/quantity"],
      ["15: half a piece", { lines: [{ ...line, quantity: 0.5 }] }, "/lines/0/quantity"],
      ["too many pieces", { lines: [{ ...line, quantity: 10_001 }] }, "/lines/0/quantity"],
      ["23: a price of the buyer's own", { lines: [{ ...line, priceMinor: 1 }] }, "/lines/0"],
      ["23: a total of the buyer's own", { totalMinor: 1 }, ""],
      ["a purchase from oneself", { merchant: "alice" }, "/merchant"],
      ["27: the system as buyer", { buyer: "system:EUR" }, "/buyer"],
      ["27: the system as merchant", { merchant: "system:EUR" }, "/merchant"],
      ["no currency at all", { currency: "XXX" }, "/currency"],
    ];

    it.each(invalid)("61: %s is not valid, and the key stays free", async (_, change, pointer) => {
      const tenant = await openShop();
      const key = newKey();
      expect(await place(tenant, MUGS, { key }, change)).toMatchObject({
        status: 400,
        body: { code: "request-invalid", errors: [{ pointer }] },
      });
      expect(await place(tenant, MUGS, { key })).toMatchObject({ status: 201, replayed: false });
    });
  });

  describe("cancelling", () => {
    it("gives everything back, once, and says so again", async () => {
      const tenant = await openShop();
      const id = textOf(await place(tenant), "id");
      const key = newKey();

      const cancelled = await cancel(tenant, id, { key });

      expect(cancelled).toMatchObject({ status: 200, replayed: false });
      expect(cancelled.body).toMatchObject({ id, state: "cancelled", totalMinor: 1_800 });
      expect((await tenant.get(`/v1/orders/${id}`)).body).toEqual(cancelled.body);
      const refund = textOf(cancelled, "refund");
      const payment = textOf(cancelled, "payment");
      expect((await tenant.get(`/v1/payments/${payment}/refunds/${refund}`)).body).toMatchObject({
        amountMinor: 1_800,
        description: `cancelled ${id}`,
      });
      expect(await cancel(tenant, id, { key })).toMatchObject({
        replayed: true,
        text: cancelled.text,
      });
      expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR);
      expect(await quantityOf(tenant, "mug")).toBe(5);
    });

    it("RP: the order's own key still answers that it was placed", async () => {
      const tenant = await openShop();
      const key = newKey();
      const placed = await place(tenant, MUGS, { key });
      await cancel(tenant, textOf(placed, "id"));
      expect(await place(tenant, MUGS, { key })).toMatchObject({
        replayed: true,
        text: placed.text,
      });
    });

    it("E1: under ten keys at once happens under one", async () => {
      const tenant = await openShop();
      const id = textOf(await place(tenant), "id");
      const answers = await Promise.all(Array.from({ length: 10 }, async () => cancel(tenant, id)));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(answers.filter(({ body }) => body["code"] === "order-already-cancelled")).toHaveLength(
        9,
      );
      expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR);
      expect(await quantityOf(tenant, "mug")).toBe(5);
    });

    it("after a part was refunded gives back only the rest", async () => {
      const tenant = await openShop();
      const placed = await place(tenant);
      const payment = textOf(placed, "payment");
      await tenant.post(`/v1/payments/${payment}/refunds`, { amountMinor: 300 });
      const cancelled = await cancel(tenant, textOf(placed, "id"));
      const refund = textOf(cancelled, "refund");
      expect((await tenant.get(`/v1/payments/${payment}/refunds/${refund}`)).body).toMatchObject({
        amountMinor: 1_500,
      });
      expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR);
      expect(await tenant.post(`/v1/payments/${payment}/refunds`, {})).toMatchObject({
        status: 409,
        body: { code: "refund-exceeds-payment" },
      });
    });

    it("E0: after the merchant has spent the money gets 402, and the order stands", async () => {
      const tenant = await openShop();
      const placed = await place(tenant);
      await tenant.pay({ source: "bob", destination: "alice", amountMinor: 1 });
      const id = textOf(placed, "id");
      expect(await cancel(tenant, id)).toMatchObject({
        status: 402,
        body: { code: "insufficient-funds" },
      });
      expect((await tenant.get(`/v1/orders/${id}`)).body).toEqual(placed.body);
      expect(await quantityOf(tenant, "mug")).toBe(3);
    });

    it("17: the key of one order's cancellation cancels no other", async () => {
      const tenant = await openShop();
      const one = textOf(await place(tenant), "id");
      const other = textOf(await place(tenant), "id");
      const key = newKey();
      expect((await cancel(tenant, one, { key })).status).toBe(200);
      expect(await cancel(tenant, other, { key })).toMatchObject({
        status: 422,
        body: { code: "idempotency-key-reused" },
      });
      expect((await tenant.get(`/v1/orders/${other}`)).body).toMatchObject({ state: "placed" });
    });

    it("62: what was never ordered gets 404, stored", async () => {
      const tenant = await openShop();
      const id = `ord_${"0".repeat(26)}`;
      const key = newKey();
      const refused = await cancel(tenant, id, { key });
      expect(refused).toMatchObject({ status: 404, body: { code: "unknown-order" } });
      expect(await cancel(tenant, id, { key })).toMatchObject({
        replayed: true,
        text: refused.text,
      });
    });

    it.each<[string, string, Body]>([
      ["what is no order's id", "ord_1", { state: "cancelled" }],
      ["another state", `ord_${"0".repeat(26)}`, { state: "placed" }],
      ["no state", `ord_${"0".repeat(26)}`, {}],
      ["23: a further member", `ord_${"0".repeat(26)}`, { state: "cancelled", refund: "none" }],
    ])("61: of %s is not valid", async (_, id, body) => {
      const tenant = await openShop();
      const answer = await tenant.patch(`/v1/orders/${id}`, body);
      expect(answer).toMatchObject({ status: 400, body: { code: "request-invalid" } });
    });
  });

  describe("reading", () => {
    it("lists orders newest first, with their lines, page by page", async () => {
      const tenant = await openShop();
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) {
        ids.unshift(textOf(await place(tenant, [{ sku: "gift", quantity: 1 }]), "id"));
      }
      const pages: string[][] = [];
      let after = "";
      for (let page = 0; page < 3; page++) {
        const { body } = await tenant.get(`/v1/orders?limit=2${after}`);
        const data = body["data"] as { id: string; lines: unknown[] }[];
        for (const { lines } of data) expect(lines).toHaveLength(1);
        pages.push(data.map(({ id }) => id));
        after = `&after=${String(body["next"])}`;
      }
      expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
      expect(after).toBe("&after=null");
      const [newest] = (await tenant.get("/v1/orders")).body["data"] as unknown[];
      expect(newest).toEqual((await tenant.get(`/v1/orders/${ids[0] ?? ""}`)).body);
    });

    it("gives the lines of an order in the order of the request", async () => {
      const tenant = await openShop();
      const lines = ["plate", "gift", "mug"].map((sku) => ({ sku, quantity: 1 }));
      const id = textOf(await place(tenant, lines), "id");
      const listed = (await tenant.get("/v1/orders")).body["data"] as { lines: Line[] }[];
      const single = (await tenant.get(`/v1/orders/${id}`)).body["lines"] as Line[];
      for (const found of [single, listed[0]?.lines ?? []]) {
        expect(found.map(({ sku }) => sku)).toEqual(["plate", "gift", "mug"]);
      }
    });

    it.each(["limit=0", "limit=201", "after=pay_1", "buyer=alice"])(
      "a list with ?%s gets 400",
      async (search) => {
        const tenant = await openShop();
        expect((await tenant.get(`/v1/orders?${search}`)).status).toBe(400);
      },
    );
  });

  describe("who may", () => {
    it("24: another tenant neither reads nor cancels an order", async () => {
      const tenant = await openShop();
      const other = await openShop();
      const id = textOf(await place(tenant), "id");
      expect((await other.get(`/v1/orders/${id}`)).status).toBe(404);
      expect((await other.get("/v1/orders")).text).not.toContain(id);
      expect(await cancel(other, id)).toMatchObject({ body: { code: "unknown-order" } });
      expect((await tenant.get(`/v1/orders/${id}`)).body).toMatchObject({ state: "placed" });
    });

    it("24: another tenant's products are not for sale", async () => {
      const tenant = await openShop();
      await stock(tenant, { lamp: [1, 1] });
      expect(await place(await openShop(), [{ sku: "lamp", quantity: 1 }])).toMatchObject({
        body: { code: "unknown-product" },
      });
    });

    it("27: without orders:write neither a new order nor the replay of one is to be had", async () => {
      const tenant = await openShop();
      const key = newKey();
      const placed = await place(tenant, MUGS, { key });
      const token = await tokenFor(tenant.name, { scope: "payments:write stock:write read" });
      await expectNothingMade(server(), async () => {
        expect(await place(tenant, MUGS, { key, token })).toMatchObject({
          status: 403,
          replayed: false,
        });
        expect(await cancel(tenant, textOf(placed, "id"), { token })).toMatchObject({
          status: 403,
        });
      });
    });

    it("orders:write alone suffices to place and to cancel", async () => {
      const tenant = await openShop();
      const token = await tokenFor(tenant.name, { scope: "orders:write" });
      const placed = await place(tenant, MUGS, { token });
      expect(placed.status).toBe(201);
      expect((await cancel(tenant, textOf(placed, "id"), { token })).status).toBe(200);
    });
  });
});
