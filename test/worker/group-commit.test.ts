/** Many operations in one batch: each stands or falls alone, and a batch stays within its bounds. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  GROUP_LONG_STATEMENTS_MAX,
  GROUP_OPERATIONS_MAX,
  GROUP_STATEMENTS_MAX,
  QUEUE_OPERATIONS_MAX,
  REPLANS_MAX,
  SHORT_STATEMENTS_MAX,
  STATEMENT_PARAMS_MAX,
} from "../../src/kernel/limits.ts";
import type { KeyCall, KeyReply } from "../../src/objects/key-call.ts";
import { operations } from "../../src/operations/registry.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalRow,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import {
  bodyOf,
  callOf,
  idIn,
  payment,
  refund,
  stockChange,
  tally,
  verdict,
} from "./support/calls.ts";
import {
  customOperations,
  fragileRestock,
  repeatEffects,
  restock,
  restockAtLength,
  restockByNames,
  take,
  takeBlindly,
} from "./support/custom-operations.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";

const makeIncarnation = useEngines();
const incarnation = () => makeIncarnation({ operations: [...operations, ...customOperations] });

/** How many claims each batch carried. */
const claimsIn = ({ batches }: Incarnation): number[] =>
  batches.map(
    ({ statements }) =>
      statements.filter(({ text }) => text.includes("INSERT INTO journal")).length,
  );

/** Submits all while another batch is under way, so that they queue up behind it. */
const queued = async (one: Incarnation, calls: readonly KeyCall[]): Promise<KeyReply[]> => {
  const [{ tenant } = { tenant: "" }] = calls;
  const held = one.db.hold();
  const filler = one.submit(callOf(tenant, repeatEffects.name, { effects: 0 }));
  await held.arrived();
  const replies = one.submitAll(calls);
  await one.quiet();
  held.release();
  expect(verdict(await filler)).toBe(200);
  return replies;
};

describe("callers that overlap", () => {
  it("go together again: the first to come back waits a moment for the others, and no longer", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const pay = () => payment(tenant, "alice", "bob", 1);
    await queued(one, [pay(), pay()]);

    const replies = one.run(async (engine) => {
      const first = engine.submit(pay());
      await scheduler.wait(0);
      return Promise.all([first, engine.submit(pay())]);
    });
    expect((await replies).map(verdict)).toEqual([201, 201]);
    expect(verdict(await one.submit(pay()))).toBe(201);
    expect(claimsIn(one)).toEqual([1, 2, 2, 1]);
    await expectSoundBooks(tenant);
  });
});

describe("each operation stands or falls alone", () => {
  it("46: of two payments of 60 from an account of 100 in one group one is made, one refused", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0, carol: 0 } });
    const one = incarnation();
    const calls = [payment(tenant, "alice", "bob", 60), payment(tenant, "alice", "carol", 60)];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([201, 402]);
    expect(claimsIn(one)).toEqual([1, 2]);
    expect(await balanceOf(tenant, "alice")).toBe(40);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
    await expectSoundBooks(tenant);
  });

  it("46: of two keys that take the last piece in one group one gets it, one is refused", async () => {
    const tenant = await openBooks({ products: { mug: 1 } });
    const one = incarnation();
    const calls = [stockChange(tenant, "mug", -1), stockChange(tenant, "mug", -1)];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([200, 409]);
    expect(claimsIn(one)).toEqual([1, 2]);
    expect(await quantityOf(tenant, "mug")).toBe(0);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
    await expectSoundBooks(tenant);
  });

  it("46: of two keys that take the last piece in two objects one gets it, one is refused", async () => {
    const tenant = await openBooks({ products: { mug: 1 } });
    const one = incarnation();
    const other = incarnation();
    const held = [one.db.hold(), other.db.hold()];
    const replies = [
      one.submit(stockChange(tenant, "mug", -1)),
      other.submit(stockChange(tenant, "mug", -1)),
    ];
    for (const { arrived } of held) await arrived();
    for (const { release } of held) release();

    expect(tally(await Promise.all(replies))).toEqual({ 200: 1, 409: 1 });
    expect(await quantityOf(tenant, "mug")).toBe(0);
    await expectSoundBooks(tenant);
  });

  it("46: of two payments of 60 from an account of 100 in two objects one is made, one refused", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const held = [one.db.hold(), other.db.hold()];
    const replies = [
      one.submit(payment(tenant, "alice", "bob", 60)),
      other.submit(payment(tenant, "alice", "bob", 60)),
    ];
    for (const { arrived } of held) await arrived();
    for (const { release } of held) release();

    expect(tally(await Promise.all(replies))).toEqual({ 201: 1, 402: 1 });
    expect(await balanceOf(tenant, "alice")).toBe(40);
    await expectSoundBooks(tenant);
  });

  it("47: of two refunds over the payment in one group one is made, one refused", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const paid = idIn(await one.submit(payment(tenant, "alice", "bob", 100)));
    const calls = [refund(tenant, paid, 60), refund(tenant, paid, 60)];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([201, 409]);
    expect(claimsIn(one)).toEqual([1, 1, 2]);
    expect(await balanceOf(tenant, "alice")).toBe(60);
    await expectSoundBooks(tenant);
  });

  it("47: of two refunds over the payment in two objects one is made, one refused", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const paid = idIn(await one.submit(payment(tenant, "alice", "bob", 100)));
    const held = [one.db.hold(), other.db.hold()];
    const replies = [one.submit(refund(tenant, paid, 60)), other.submit(refund(tenant, paid, 60))];
    for (const { arrived } of held) await arrived();
    for (const { release } of held) release();

    expect(tally(await Promise.all(replies))).toEqual({ 201: 1, 409: 1 });
    expect(await balanceOf(tenant, "alice")).toBe(60);
    await expectSoundBooks(tenant);
  });

  it("47: of two refunds of what is left in one group one gives it back, one finds nothing left", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const paid = idIn(await one.submit(payment(tenant, "alice", "bob", 100)));

    const replies = await queued(one, [refund(tenant, paid), refund(tenant, paid)]);

    expect(replies.map(verdict)).toEqual([201, 409]);
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });

  it("62: a refusal is stored with its key, and stays when its cause is gone", async () => {
    const tenant = await openBooks({ accounts: { alice: 0, bob: 0 } });
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 60);
    const refused = await one.submit(call);
    await one.submit(payment(tenant, "system:EUR", "alice", 100));

    for (const object of [one, incarnation()]) {
      const retry = await object.submit(call);
      expect(retry).toMatchObject({ replayed: true });
      expect(verdict(retry)).toBe(402);
      expect(bodyOf(retry)).toBe(bodyOf(refused));
    }
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });
});

describe("52: a constraint that no guard foresaw", () => {
  it("52: refuses the one operation with what the constraint stands for; its neighbours are unharmed", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 5 } });
    const one = incarnation();
    const mug = { params: { sku: "mug" } };
    const calls = [
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, take.name, { pieces: 6 }, mug),
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, take.name, { pieces: 5 }, mug),
      payment(tenant, "alice", "bob", 1),
    ];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([201, 409, 201, 200, 201]);
    expect(await quantityOf(tenant, "mug")).toBe(0);
    expect(await balanceOf(tenant, "bob")).toBe(3);
    expect(await journalRow(tenant, calls[1]?.key ?? "")).toMatchObject({
      refusal: "out-of-stock",
    });
    expect(one.alerts).toEqual([
      {
        event: "constraint-violated",
        facts: { operation: take.name, constraint: "product_quantity" },
      },
    ]);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
  });

  it("52: is a stored 500 where nobody says what the constraint stands for", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 5 } });
    const one = incarnation();
    const calls = [
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, takeBlindly.name, { pieces: 6 }, { params: { sku: "mug" } }),
      payment(tenant, "alice", "bob", 1),
    ];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([201, 500, 201]);
    expect(await journalRow(tenant, calls[1]?.key ?? "")).toMatchObject({
      refusal: "operation-failed",
      status: 500,
    });
    expect(await quantityOf(tenant, "mug")).toBe(5);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
  });

  it("52: a statement that D1 would not take is refused alone, too", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 0 } });
    const one = incarnation();
    const calls = [
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, restockByNames.name, { names: STATEMENT_PARAMS_MAX }),
      payment(tenant, "alice", "bob", 1),
    ];

    const replies = await queued(one, calls);

    expect(replies.map(verdict)).toEqual([201, 500, 201]);
    expect(await balanceOf(tenant, "bob")).toBe(2);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
  });

  it("52: counts against the operation that comes second, not against both", async () => {
    const tenant = await openBooks({ products: { mug: 5 } });
    const one = incarnation();
    const threeMugs = () => callOf(tenant, take.name, { pieces: 3 }, { params: { sku: "mug" } });

    const replies = await queued(one, [threeMugs(), threeMugs()]);

    expect(replies.map(verdict)).toEqual([200, 409]);
    expect(await quantityOf(tenant, "mug")).toBe(2);
  });

  it("52: is found also where the answers of the halves are lost", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 5 } });
    const one = incarnation();
    const calls = [
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, take.name, { pieces: 6 }, { params: { sku: "mug" } }),
    ];
    one.db.next("none", "lost-after", "none", "lost-after");

    const replies = await one.time.passing(queued(one, calls));

    expect(replies.map(verdict)).toEqual([201, 409]);
    expect(await balanceOf(tenant, "bob")).toBe(1);
    const retries = await incarnation().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(replies.map(bodyOf));
  });
});

describe("facts", () => {
  /** A refund of what is left, disturbed by so many smaller refunds, each between its read and its batch. */
  const raced = async (disturbances: number) => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const paid = idIn(await other.submit(payment(tenant, "alice", "bob", 100)));
    const call = refund(tenant, paid);
    const held = Array.from({ length: disturbances }, () => one.db.hold());
    const reply = one.submit(call);
    for (const { arrived, release } of held) {
      await arrived();
      expect(verdict(await other.submit(refund(tenant, paid, 1)))).toBe(201);
      release();
    }
    return { tenant, one, call, reply: await reply };
  };

  it(`that change under a plan make it plan again, up to ${REPLANS_MAX} times`, async () => {
    const { tenant, one, reply } = await raced(REPLANS_MAX);

    expect(verdict(reply)).toBe(201);
    expect(bodyOf(reply)).toContain(`"amountMinor":${100 - REPLANS_MAX}`);
    expect(one.batches).toHaveLength(REPLANS_MAX + 1);
    // Every plan names the same refund: the second line of defence, should a claim ever fail to be one.
    for (const { statements } of one.batches) {
      expect(statements.flatMap(({ params }) => params)).toContain(idIn(reply));
    }
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });

  it("that keep changing are a 503 that claims nothing: the key runs when they rest", async () => {
    const { tenant, one, call, reply } = await raced(REPLANS_MAX + 1);

    expect(verdict(reply)).toBe("temporarily-unavailable");
    expect(await journalRow(tenant, call.key)).toBeNull();
    const retry = await one.submit(call);
    expect(bodyOf(retry)).toContain(`"amountMinor":${100 - REPLANS_MAX - 1}`);
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });

  it("that keep changing after a lost send leave the fate open: that send may yet commit", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const paid = idIn(await other.submit(payment(tenant, "alice", "bob", 100)));
    const call = refund(tenant, paid);
    const held = Array.from({ length: REPLANS_MAX + 2 }, () => one.db.hold());
    const reply = one.time.passing(one.submit(call));
    for (const [i, { arrived, release }] of held.entries()) {
      await arrived();
      if (i > 0) await other.submit(refund(tenant, paid, 1));
      release(i === 0 ? "late" : "none");
    }

    expect(verdict(await reply)).toBe("outcome-unknown-yet");
    expect(await one.lookUp(call)).toMatchObject({ state: "unknown-yet" });
    await one.db.deliverLate();
    expect(bodyOf(await one.submit(call))).toContain(`"amountMinor":${100 - REPLANS_MAX - 1}`);
    await expectSoundBooks(tenant);
  });

  it("that change after a lost send, and can be read no more, leave the fate open, too", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const paid = idIn(await other.submit(payment(tenant, "alice", "bob", 100)));
    const call = refund(tenant, paid);
    const held = [one.db.hold(), one.db.hold()] as const;
    const reply = one.time.passing(one.submit(call));
    await held[0].arrived();
    held[0].release("late");
    await held[1].arrived();
    await other.submit(refund(tenant, paid, 1));
    // The key is looked up; what to plan by is not.
    one.db.nextReads("none", "lost");
    held[1].release();

    expect(verdict(await reply)).toBe("outcome-unknown-yet");
    expect(await one.lookUp(call)).toMatchObject({ state: "unknown-yet" });
    await one.db.deliverLate();
    expect(bodyOf(await one.submit(call))).toContain('"amountMinor":99');
    await expectSoundBooks(tenant);
  });

  it("that change after a lost send, to something the plan cannot bear, leave the fate open, too", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const { operation, setBroken } = fragileRestock("plan");
    setBroken(false);
    const one = makeIncarnation({ operations: [operation] });
    const call = callOf(tenant, operation.name, { pieces: 1 }, { params: { sku: "mug" } });
    const rename = (name: string) =>
      env.DB.prepare("UPDATE products SET name = ? WHERE tenant = ?").bind(name, tenant).run();
    const held = [one.db.hold(), one.db.hold()] as const;
    const reply = one.time.passing(one.submit(call));
    await held[0].arrived();
    held[0].release("late");
    await held[1].arrived();
    await rename("cup");
    setBroken(true);
    held[1].release();

    expect(verdict(await reply)).toBe("outcome-unknown-yet");
    expect(one.alerts).toContainEqual(expect.objectContaining({ event: "operation-defect" }));
    // The facts of the lost send hold again when it arrives.
    await rename("mug");
    await one.db.deliverLate();
    setBroken(false);
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });

  it("an outcome that this object has not heard of is replayed, though the facts have changed since", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const paid = idIn(await one.submit(payment(tenant, "alice", "bob", 100)));
    const call = refund(tenant, paid);
    const original = await one.submit(call);

    const retry = await incarnation().submit(call);

    expect(retry).toMatchObject({ replayed: true });
    expect(bodyOf(retry)).toBe(bodyOf(original));
    expect(await effectsByKey(tenant)).toHaveProperty("size", 2);
  });
});

describe("bounds", () => {
  it(`a group ends at ${GROUP_OPERATIONS_MAX} operations`, async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const calls = Array.from({ length: GROUP_OPERATIONS_MAX + 1 }, () =>
      payment(tenant, "alice", "bob", 1),
    );

    expect(tally(await queued(one, calls))).toEqual({ 201: GROUP_OPERATIONS_MAX + 1 });
    expect(claimsIn(one)).toEqual([1, GROUP_OPERATIONS_MAX, 1]);
  });

  it(`a group ends at ${GROUP_STATEMENTS_MAX} statements`, async () => {
    const tenant = await openBooks();
    const one = incarnation();
    // With its claim: the longest that is short.
    const effects = SHORT_STATEMENTS_MAX - 1;
    const inGroup = GROUP_STATEMENTS_MAX / SHORT_STATEMENTS_MAX;
    const calls = Array.from({ length: inGroup + 2 }, () =>
      callOf(tenant, repeatEffects.name, { effects }),
    );

    expect(tally(await queued(one, calls))).toEqual({ 200: inGroup + 2 });
    expect(claimsIn(one)).toEqual([1, inGroup, 2]);
    expect(one.batches[1]?.statements).toHaveLength(GROUP_STATEMENTS_MAX);
  });

  it("a group ends at a megabyte", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const calls = Array.from({ length: 6 }, () =>
      callOf(tenant, restockAtLength.name, { characters: 200_000 }, { params: { sku: "mug" } }),
    );

    expect(tally(await queued(one, calls))).toEqual({ 200: 6 });
    expect(claimsIn(one)).toEqual([1, 5, 1]);
  });

  it("an operation that is beyond the bounds by itself goes alone", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const calls = [
      payment(tenant, "alice", "bob", 1),
      callOf(tenant, repeatEffects.name, { effects: GROUP_STATEMENTS_MAX + 1 }),
      payment(tenant, "alice", "bob", 1),
    ];

    expect((await queued(one, calls)).map(verdict)).toEqual([201, 200, 201]);
    // The payment behind it does not wait for it.
    expect(claimsIn(one)).toEqual([1, 2, 1]);
    expect(one.batches[2]?.statements).toHaveLength(GROUP_STATEMENTS_MAX + 2);
  });

  it("a queue of long orders holds up no payment: two of 50 lines go in a group, and it goes with the first of them", async () => {
    const skus = Array.from({ length: 50 }, (_, i) => `sku-${i}`);
    const tenant = await openBooks({
      accounts: { alice: 10_000_000, bob: 0 },
      products: Object.fromEntries(skus.map((sku) => [sku, 100])),
    });
    const one = incarnation();
    const order = () =>
      callOf(tenant, "orders.create", {
        buyer: "alice",
        merchant: "bob",
        currency: "EUR",
        lines: skus.map((sku) => ({ sku, quantity: 1 })),
      });
    const calls = [order(), order(), order(), order(), order(), payment(tenant, "alice", "bob", 1)];

    expect((await queued(one, calls)).map(verdict)).toEqual([201, 201, 201, 201, 201, 201]);

    expect(claimsIn(one)).toEqual([1, 3, 2, 1]);
    const paidIn = one.batches.findIndex(({ statements }) =>
      statements.some(({ params }) => params.includes("payments.create")),
    );
    expect(paidIn).toBe(1);
    await expectSoundBooks(tenant);
  });

  it("those that are passed keep their order, and are passed no longer than until they are first", async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const one = incarnation();
    const long = () =>
      callOf(tenant, repeatEffects.name, { effects: GROUP_LONG_STATEMENTS_MAX - 1 });
    const longs = [long(), long(), long()];
    const short = Array.from({ length: 3 * GROUP_OPERATIONS_MAX }, () =>
      payment(tenant, "alice", "bob", 1),
    );

    expect(tally(await queued(one, [...longs, ...short]))).toEqual({ 200: 3, 201: short.length });

    const order = one.batches.map(({ statements }) =>
      statements.flatMap(({ params }) => longs.findIndex(({ key }) => params.includes(key))),
    );
    const found = order.map((all) => [...new Set(all)].filter((at) => at >= 0));
    expect(found.slice(1, 4)).toEqual([[0], [1], [2]]);
  });

  it("one that is larger than a whole group takes no more than the long ones' part: a short one goes along", async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const one = incarnation();
    const longs = Array.from({ length: 3 }, () =>
      callOf(tenant, repeatEffects.name, { effects: GROUP_STATEMENTS_MAX + 10 }),
    );
    const short = payment(tenant, "alice", "bob", 1);

    expect(tally(await queued(one, [...longs, short]))).toEqual({ 200: 3, 201: 1 });

    const paidIn = one.batches.findIndex(({ statements }) =>
      statements.some(({ params }) => params.includes(short.key)),
    );
    expect(paidIn).toBe(1);
  });

  it(`54: the queue holds ${QUEUE_OPERATIONS_MAX} operations; one more hears 503 and is not sent`, async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const calls = Array.from({ length: QUEUE_OPERATIONS_MAX + 1 }, () =>
      callOf(tenant, restock.name, { pieces: 1 }, { params: { sku: "mug" } }),
    );

    const replies = await queued(one, calls);

    expect(tally(replies)).toEqual({ 200: QUEUE_OPERATIONS_MAX, "temporarily-unavailable": 1 });
    expect(replies.slice(-1).map(verdict)).toEqual(["temporarily-unavailable"]);
    expect(await quantityOf(tenant, "mug")).toBe(QUEUE_OPERATIONS_MAX);
    expect(await journalSize(tenant)).toBe(QUEUE_OPERATIONS_MAX + 1);
    expect(tally(await one.submitAll(calls.slice(-1)))).toEqual({ 200: 1 });
  });
});

describe("55: an answer over the limit", () => {
  it("55: is refused before anything happens, once and for all", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const call = callOf(
      tenant,
      restockAtLength.name,
      { characters: 256 * 1024 },
      { params: { sku: "mug" } },
    );

    const first = await one.submit(call);

    expect(verdict(first)).toBe(500);
    expect(JSON.parse(bodyOf(first))).toMatchObject({ code: "operation-failed" });
    expect(bodyOf(first)).toContain("larger than the 262144 bytes that are stored");
    for (const object of [one, incarnation()]) {
      const retry = await object.submit(call);
      expect(retry).toMatchObject({ replayed: true });
      expect(bodyOf(retry)).toBe(bodyOf(first));
    }
    expect(await quantityOf(tenant, "mug")).toBe(0);
  });

  it("55: is measured in bytes: the same number of characters is too much when each has two", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const lettersOf = (letter: string) =>
      callOf(
        tenant,
        restockAtLength.name,
        { characters: 200 * 1024, letter },
        { params: { sku: "mug" } },
      );

    expect(verdict(await one.submit(lettersOf("e")))).toBe(200);
    expect(verdict(await one.submit(lettersOf("é")))).toBe(500);
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });

  it("55: the largest answer that is allowed is stored and replayed byte for byte", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const envelope = JSON.stringify({ text: "" }).length;
    const call = callOf(
      tenant,
      restockAtLength.name,
      { characters: 256 * 1024 - envelope },
      { params: { sku: "mug" } },
    );

    const first = await one.submit(call);

    expect(verdict(first)).toBe(200);
    expect(bodyOf(first)).toHaveLength(256 * 1024);
    expect(bodyOf(await incarnation().submit(call))).toBe(bodyOf(first));
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });
});
