/** Orders: stock and money in one transaction, also beside others in a group, and undone exactly once. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { REPLANS_MAX, STATEMENT_PARAMS_MAX } from "../../src/kernel/limits.ts";
import type { KeyCall, KeyReply } from "../../src/objects/key-call.ts";
import { LINES_MAX } from "../../src/orders/order.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalRow,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import {
  bodyOf,
  callOf,
  type CallOptions,
  idIn,
  payment,
  refund,
  tally,
  verdict,
} from "./support/calls.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";

const incarnation = useEngines();

type Lines = Readonly<Record<string, number>>;

/** Alice buys from the shop. Every product of `openBooks` costs 100. */
const order = (tenant: string, lines: Lines, options?: CallOptions): KeyCall =>
  callOf(
    tenant,
    "orders.create",
    {
      buyer: "alice",
      merchant: "shop",
      currency: "EUR",
      lines: Object.entries(lines).map(([sku, quantity]) => ({ sku, quantity })),
    },
    options,
  );

const cancel = (tenant: string, id: string, options?: CallOptions): KeyCall =>
  callOf(tenant, "orders.cancel", { state: "cancelled" }, { ...options, params: { id } });

const codeOf = (reply: KeyReply): unknown =>
  (JSON.parse(bodyOf(reply)) as { readonly code?: unknown }).code;

const membersOf = (reply: KeyReply) => JSON.parse(bodyOf(reply)) as Record<string, unknown>;

const openShop = async (
  products: Lines = { mug: 5, plate: 5 },
  accounts: Lines = { alice: 10_000, shop: 0 },
): Promise<string> => openBooks({ accounts, products });

const setPrice = async (tenant: string, sku: string, price: number): Promise<void> => {
  await env.DB.prepare("UPDATE products SET price = ? WHERE tenant = ? AND sku = ?")
    .bind(price, tenant, sku)
    .run();
};

const skus = (count: number): Lines =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`sku-${i}`, 1]));

/** How many claims each batch carried. */
const claimsIn = ({ batches }: Incarnation): number[] =>
  batches.map(
    ({ statements }) =>
      statements.filter(({ text }) => text.includes("INSERT INTO journal")).length,
  );

/** Submits all while another batch is under way, so that they go together in the next. */
const inOneGroup = async (one: Incarnation, calls: readonly KeyCall[]): Promise<KeyReply[]> => {
  const [{ tenant } = { tenant: "" }] = calls;
  const held = one.db.hold();
  const filler = one.submit(callOf(tenant, "accounts.create", { currency: "EUR" }));
  await held.arrived();
  const replies = one.submitAll(calls);
  await one.quiet();
  held.release();
  expect(verdict(await filler)).toBe(201);
  return replies;
};

/** Submits one call to each of two objects, whose batches meet in front of the database. */
const inTwoObjects = async (calls: readonly [KeyCall, KeyCall]): Promise<KeyReply[]> => {
  const objects = [incarnation(), incarnation()];
  const held = objects.map(({ db }) => db.hold());
  const replies = objects.map(async (object, i) => object.submit(calls[i] ?? calls[0]));
  for (const { arrived } of held) await arrived();
  for (const { release } of held) release();
  return Promise.all(replies);
};

describe("an order", () => {
  it("takes its stock and its money in one batch", async () => {
    const tenant = await openShop();
    const one = incarnation();
    const call = order(tenant, { mug: 2, plate: 1 });

    const reply = await one.submit(call);

    expect(verdict(reply)).toBe(201);
    expect(membersOf(reply)).toMatchObject({ state: "placed", totalMinor: 300, refund: null });
    expect(one.batches).toHaveLength(1);
    expect(await balanceOf(tenant, "shop")).toBe(300);
    expect(await quantityOf(tenant, "mug")).toBe(3);
    expect(await quantityOf(tenant, "plate")).toBe(4);
    // One transfer and two stock moves.
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 3]]));
  });

  it(`of ${LINES_MAX} lines is a batch of five statements, each within D1's parameters`, async () => {
    const lines = skus(LINES_MAX);
    const tenant = await openShop(lines);
    const one = incarnation();

    const reply = await one.submit(order(tenant, lines));

    expect(verdict(reply)).toBe(201);
    const statements = one.batches.flatMap((batch) => batch.statements);
    // Claim, transfer, order, lines, stock moves.
    expect(statements).toHaveLength(5);
    for (const { params } of statements)
      expect(params.length).toBeLessThanOrEqual(STATEMENT_PARAMS_MAX);
    expect(await balanceOf(tenant, "shop")).toBe(LINES_MAX * 100);
    const left = await env.DB.prepare("SELECT SUM(quantity) AS left FROM products WHERE tenant = ?")
      .bind(tenant)
      .first("left");
    expect(left).toBe(0);
  });

  it(`E0: of ${LINES_MAX} lines whose last product is sold out takes nothing at all`, async () => {
    const lines = skus(LINES_MAX);
    const tenant = await openShop({ ...lines, [`sku-${LINES_MAX - 1}`]: 0 });

    const reply = await incarnation().submit(order(tenant, lines));

    expect(verdict(reply)).toBe(409);
    expect(codeOf(reply)).toBe("out-of-stock");
    expect(await effectsByKey(tenant)).toEqual(new Map());
    expect(await balanceOf(tenant, "alice")).toBe(10_000);
  });

  it("46: for the last piece beside another in one group gets it, and the other is refused", async () => {
    const tenant = await openShop({ mug: 1 });
    const one = incarnation();
    const calls = [order(tenant, { mug: 1 }), order(tenant, { mug: 1 })];

    const replies = await inOneGroup(one, calls);

    expect(replies.map(verdict)).toEqual([201, 409]);
    expect(claimsIn(one)).toEqual([1, 2]);
    expect(await quantityOf(tenant, "mug")).toBe(0);
    expect(await balanceOf(tenant, "shop")).toBe(100);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
    await expectSoundBooks(tenant);
  });

  it("46: for the last piece, and another in another object: one gets it, one is refused", async () => {
    const tenant = await openShop({ mug: 1 });
    const calls = [order(tenant, { mug: 1 }), order(tenant, { mug: 1 })] as const;

    const replies = await inTwoObjects(calls);

    expect(tally(replies)).toEqual({ 201: 1, 409: 1 });
    expect(await quantityOf(tenant, "mug")).toBe(0);
    expect(await balanceOf(tenant, "shop")).toBe(100);
    expect((await incarnation().submitAll(calls)).map(bodyOf)).toEqual(replies.map(bodyOf));
    await expectSoundBooks(tenant);
  });

  it("46: two of which overlap in the last piece do not deadlock, and the refused one takes nothing else", async () => {
    const tenant = await openShop({ mug: 1, plate: 5, cup: 5 });
    const replies = await inOneGroup(incarnation(), [
      order(tenant, { plate: 1, mug: 1 }),
      order(tenant, { mug: 1, cup: 1 }),
      order(tenant, { cup: 2 }),
    ]);
    expect(replies.map(verdict)).toEqual([201, 409, 201]);
    expect(await quantityOf(tenant, "cup")).toBe(3);
    await expectSoundBooks(tenant);
  });

  it("stands or falls alone beside payments in one group", async () => {
    const tenant = await openShop({ mug: 5 }, { alice: 250, shop: 0, bob: 0 });
    const one = incarnation();
    const replies = await inOneGroup(one, [
      payment(tenant, "alice", "bob", 100),
      order(tenant, { mug: 1 }),
      // 50 are left.
      order(tenant, { mug: 1 }),
      payment(tenant, "alice", "bob", 50),
      order(tenant, { mug: 9 }),
    ]);

    expect(replies.map(verdict)).toEqual([201, 201, 402, 201, 409]);
    expect(claimsIn(one)).toEqual([1, 5]);
    expect(await balanceOf(tenant, "alice")).toBe(0);
    expect(await quantityOf(tenant, "mug")).toBe(4);
    await expectSoundBooks(tenant);
  });

  it("is paid at the price that holds when it commits: one that changed meanwhile makes it plan again", async () => {
    const tenant = await openShop();
    const one = incarnation();
    const call = order(tenant, { mug: 2 });
    const held = one.db.hold();
    const reply = one.submit(call);
    await held.arrived();
    await setPrice(tenant, "mug", 70);
    held.release();

    expect(membersOf(await reply)).toMatchObject({
      totalMinor: 140,
      lines: [{ sku: "mug", quantity: 2, priceMinor: 70 }],
    });
    expect(one.batches).toHaveLength(2);
    expect(await balanceOf(tenant, "shop")).toBe(140);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 2]]));
    await expectSoundBooks(tenant);
  });

  it("E0: whose price never stops changing gets 503, and its key stays free", async () => {
    const tenant = await openShop();
    const one = incarnation();
    const call = order(tenant, { mug: 1 });
    let held = one.db.hold();
    const reply = one.submit(call);
    for (let round = 0; round <= REPLANS_MAX; round++) {
      await held.arrived();
      await setPrice(tenant, "mug", 200 + round);
      const next = one.db.hold();
      held.release();
      held = next;
    }

    expect(verdict(await reply)).toBe("temporarily-unavailable");
    held.release();
    expect(one.batches).toHaveLength(REPLANS_MAX + 1);
    expect(await journalRow(tenant, call.key)).toBeNull();
    expect(await quantityOf(tenant, "mug")).toBe(5);
    // Nothing was claimed: the same key runs as soon as the price stands still.
    expect(verdict(await one.submit(call))).toBe(201);
  });

  it("of a product that comes into being meanwhile is planned again, not refused for good", async () => {
    const tenant = await openShop();
    const one = incarnation();
    const held = one.db.hold();
    const reply = one.submit(order(tenant, { lamp: 1 }));
    await held.arrived();
    const made = await incarnation().submit(
      callOf(tenant, "products.create", {
        sku: "lamp",
        name: "Lamp",
        currency: "EUR",
        priceMinor: 900,
      }),
    );
    expect(verdict(made)).toBe(201);
    held.release();
    // There is one now, of which nothing is in stock.
    expect(codeOf(await reply)).toBe("out-of-stock");
    await expectSoundBooks(tenant);
  });

  it.each(["lost-after", "twice", "twice-lost", "late", "late-twice", "timed-out-after"] as const)(
    "50, 51: whose batch suffers %s takes its stock and its money once",
    async (fault) => {
      const tenant = await openShop();
      const one = incarnation();
      const call = order(tenant, { mug: 2, plate: 1 });
      one.db.next(fault);

      const reply = await one.time.passing(one.submit(call));
      await one.db.deliverLate();

      expect(verdict(reply)).toBe(201);
      expect(await balanceOf(tenant, "shop")).toBe(300);
      expect(await quantityOf(tenant, "mug")).toBe(3);
      expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 3]]));
      expect(bodyOf(await incarnation().submit(call))).toBe(bodyOf(reply));
      await expectSoundBooks(tenant);
    },
  );
});

describe("a group of orders", () => {
  it("holds two of the longest: they are counted by the rows that they write, not by their statements", async () => {
    const lines = skus(LINES_MAX);
    const tenant = await openShop(Object.fromEntries(Object.keys(lines).map((sku) => [sku, 9])), {
      alice: 100_000,
      shop: 0,
    });
    const one = incarnation();

    const replies = await inOneGroup(
      one,
      Array.from({ length: 9 }, () => order(tenant, lines)),
    );

    expect(tally(replies)).toEqual({ 201: 9 });
    // Claim, transfer, order, fifty lines, fifty moves: 103 each.
    expect(claimsIn(one)).toEqual([1, 2, 2, 2, 2, 1]);
    expect(await quantityOf(tenant, "sku-0")).toBe(0);
    await expectSoundBooks(tenant);
  });

  it("lets short ones go together", async () => {
    const tenant = await openShop({ mug: 100 });
    const one = incarnation();
    const replies = await inOneGroup(
      one,
      Array.from({ length: 40 }, () => order(tenant, { mug: 1 })),
    );
    expect(tally(replies)).toEqual({ 201: 40 });
    expect(claimsIn(one)).toEqual([1, 40]);
    await expectSoundBooks(tenant);
  });
});

describe("cancelling an order", () => {
  const placed = async (lines: Lines = { mug: 2, plate: 1 }) => {
    const tenant = await openShop();
    const reply = await incarnation().submit(order(tenant, lines));
    const { id, payment: paid } = membersOf(reply);
    return { tenant, id: String(id), payment: String(paid) };
  };

  /** Everything is back where it was before the order. */
  const expectUndone = async (tenant: string): Promise<void> => {
    expect(await balanceOf(tenant, "alice")).toBe(10_000);
    expect(await balanceOf(tenant, "shop")).toBe(0);
    expect(await quantityOf(tenant, "mug")).toBe(5);
    expect(await quantityOf(tenant, "plate")).toBe(5);
    await expectSoundBooks(tenant);
  };

  it("gives back all of its money and all of its stock, in one batch", async () => {
    const { tenant, id } = await placed();
    const one = incarnation();
    const call = cancel(tenant, id);

    const reply = await one.submit(call);

    expect(verdict(reply)).toBe(200);
    expect(membersOf(reply)).toMatchObject({ id, state: "cancelled", totalMinor: 300 });
    expect(one.batches).toHaveLength(1);
    await expectUndone(tenant);
    expect(bodyOf(await incarnation().submit(call))).toBe(bodyOf(reply));
    await expectUndone(tenant);
  });

  it("E1: under two keys in one group happens once: the other hears that it is cancelled already", async () => {
    const { tenant, id } = await placed();
    const one = incarnation();
    const calls = [cancel(tenant, id), cancel(tenant, id)];

    const replies = await inOneGroup(one, calls);

    expect(replies.map(verdict)).toEqual([200, 409]);
    expect(replies.slice(1).map(codeOf)).toEqual(["order-already-cancelled"]);
    await expectUndone(tenant);
    expect((await incarnation().submitAll(calls)).map(bodyOf)).toEqual(replies.map(bodyOf));
  });

  it("E1: under two keys in two objects happens once", async () => {
    const { tenant, id } = await placed();
    const replies = await inTwoObjects([cancel(tenant, id), cancel(tenant, id)]);
    expect(tally(replies)).toEqual({ 200: 1, 409: 1 });
    await expectUndone(tenant);
  });

  it("after a part was refunded gives back only the rest", async () => {
    const { tenant, id, payment: paid } = await placed();
    const one = incarnation();
    expect(verdict(await one.submit(refund(tenant, paid, 120)))).toBe(201);

    const reply = await one.submit(cancel(tenant, id));

    expect(verdict(reply)).toBe(200);
    const given = await env.DB.prepare("SELECT amount FROM transfers WHERE tenant = ? AND id = ?")
      .bind(tenant, String(membersOf(reply)["refund"]))
      .first("amount");
    expect(given).toBe(180);
    await expectUndone(tenant);
  });

  it("47: beside refunds of its payment in one group gives back what they leave", async () => {
    const { tenant, id, payment: paid } = await placed();
    const replies = await inOneGroup(incarnation(), [
      refund(tenant, paid, 120),
      cancel(tenant, id),
      refund(tenant, paid, 1),
    ]);
    // The cancellation found its fact stale, and went again behind the second refund.
    expect(replies.map(verdict)).toEqual([201, 200, 201]);
    await expectUndone(tenant);
  });

  it("47: and a refund of its payment in two objects never give back more than was paid", async () => {
    const { tenant, id, payment: paid } = await placed();
    const replies = await inTwoObjects([refund(tenant, paid, 300), cancel(tenant, id)]);
    // The refund is made first, or finds nothing left; the order is cancelled either way.
    expect([
      { 201: 1, 200: 1 },
      { 409: 1, 200: 1 },
    ]).toContainEqual(tally(replies));
    await expectUndone(tenant);
  });

  it("whose payment was refunded in full puts the stock back and moves no money", async () => {
    const { tenant, id, payment: paid } = await placed();
    const one = incarnation();
    expect(verdict(await one.submit(refund(tenant, paid)))).toBe(201);
    const reply = await one.submit(cancel(tenant, id));
    expect(membersOf(reply)).toMatchObject({ state: "cancelled", refund: null });
    await expectUndone(tenant);
    // Nothing is left of the payment for anybody.
    expect(verdict(await one.submit(refund(tenant, paid)))).toBe(409);
  });

  it("E0: whose money the merchant has spent is refused, and changes neither stock nor order", async () => {
    const { tenant, id } = await placed();
    const one = incarnation();
    expect(verdict(await one.submit(payment(tenant, "shop", "alice", 1)))).toBe(201);
    const call = cancel(tenant, id);

    const reply = await one.submit(call);

    expect(verdict(reply)).toBe(402);
    expect(codeOf(reply)).toBe("insufficient-funds");
    expect(await quantityOf(tenant, "mug")).toBe(3);
    const state = await env.DB.prepare("SELECT state FROM orders WHERE tenant = ? AND id = ?")
      .bind(tenant, id)
      .first("state");
    expect(state).toBe("placed");
    // With money again, another key may; the refused one stays refused.
    expect(verdict(await one.submit(payment(tenant, "alice", "shop", 1)))).toBe(201);
    expect(bodyOf(await one.submit(call))).toBe(bodyOf(reply));
    expect(verdict(await one.submit(cancel(tenant, id)))).toBe(200);
    await expectUndone(tenant);
  });

  it("of an order that costs nothing puts the stock back", async () => {
    const tenant = await openShop();
    await setPrice(tenant, "mug", 0);
    const one = incarnation();
    const reply = await one.submit(order(tenant, { mug: 2 }));
    expect(membersOf(reply)).toMatchObject({ totalMinor: 0, payment: null });
    expect(await quantityOf(tenant, "mug")).toBe(3);
    expect(verdict(await one.submit(cancel(tenant, idIn(reply))))).toBe(200);
    await expectUndone(tenant);
  });

  it("24: of another tenant's order finds none", async () => {
    const { tenant, id } = await placed();
    const reply = await incarnation().submit(cancel(await openShop(), id));
    expect(codeOf(reply)).toBe("unknown-order");
    expect(await quantityOf(tenant, "mug")).toBe(3);
  });

  it.each(["lost-after", "twice", "twice-lost", "late", "late-twice"] as const)(
    "50, 51: whose batch suffers %s gives everything back once",
    async (fault) => {
      const { tenant, id } = await placed();
      const one = incarnation();
      one.db.next(fault);
      const reply = await one.time.passing(one.submit(cancel(tenant, id)));
      await one.db.deliverLate();
      expect(verdict(reply)).toBe(200);
      await expectUndone(tenant);
    },
  );
});
