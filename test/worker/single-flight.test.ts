/** One key in one object: one run, and what everybody else hears. */
import { expect, it } from "vitest";
import { createPayment } from "../../src/operations/create-payment.ts";
import { WAITERS_PER_KEY_MAX, WAITERS_PER_OBJECT_MAX } from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import { until } from "../support/faulty-database.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import { bodyOf, callOf, payment, tally, verdict } from "./support/calls.ts";
import { fragileRestock } from "./support/custom-operations.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const times = (count: number, call: KeyCall): KeyCall[] =>
  Array.from({ length: count }, () => call);

it.each([2, 10, 100])(
  "35: of %i simultaneous requests with one key one runs, the others hear that it is in flight",
  async (count) => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 10);

    const replies = await one.submitAll(times(count, call));

    expect(tally(replies)).toEqual({ 201: 1, "request-in-flight": count - 1 });
    const waits = replies.flatMap((reply) =>
      reply.kind === "problem" ? [reply.afterMs ?? 0] : [],
    );
    expect(Math.min(...waits)).toBeGreaterThan(0);
    expect(one.batches).toHaveLength(1);
    expect(await balanceOf(tenant, "bob")).toBe(10);
    await expectSoundBooks(tenant);
  },
);

it("35: callers who wait get the bytes of the one that ran, marked as a replay", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10, { waitMs: 20_000 });

  const replies = await one.submitAll(times(50, call));

  expect(tally(replies)).toEqual({ 201: 50 });
  expect(new Set(replies.map(bodyOf)).size).toBe(1);
  const runs = replies.filter((reply) => reply.kind === "outcome" && !reply.replayed);
  expect(runs).toHaveLength(1);
  expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
});

it("35: a caller who has waited as long as it wanted hears that the key is in flight, and the run goes on", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10);
  const held = one.db.hold();
  const leader = one.submit(call);
  await held.arrived();
  // Shorter than the time-out of a send, so that nothing else ends.
  const waiter = one.submit({ ...call, waitMs: 1_000 });
  await one.quiet();
  await one.advance(1_000);

  expect(verdict(await waiter)).toBe("request-in-flight");
  held.release();
  expect(verdict(await leader)).toBe(201);
});

it(`35: ${WAITERS_PER_KEY_MAX} callers may wait for one key, the next hears at once that it is in flight`, async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10, { waitMs: 20_000 });
  const held = one.db.hold();
  const replies = one.submitAll(times(1 + WAITERS_PER_KEY_MAX, call));
  await held.arrived();

  expect(verdict(await one.submit(call))).toBe("request-in-flight");

  held.release();
  expect(tally(await replies)).toEqual({ 201: 1 + WAITERS_PER_KEY_MAX });
  // The places are free again.
  expect(verdict(await one.submit(call))).toBe(201);
});

it("67: a thousand retries of one key in flight hear 423 at once, ask the database nothing, and hold up no other key", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const hot = payment(tenant, "alice", "bob", 10);
  const held = one.db.hold();
  const leader = one.submit(hot);
  await held.arrived();
  const others = Array.from({ length: 10 }, () => payment(tenant, "alice", "bob", 1));
  const reads = one.db.reads;

  const retries = await one.submitAll(times(1_000, hot));
  const replies = one.submitAll(others);
  expect(tally(retries)).toEqual({ "request-in-flight": 1_000 });
  expect(one.db.reads).toBe(reads);

  held.release();
  expect(verdict(await leader)).toBe(201);
  expect(tally(await replies)).toEqual({ 201: 10 });
  // The hot one's batch, and one for all who queued behind it.
  expect(one.batches).toHaveLength(2);
  expect(await balanceOf(tenant, "bob")).toBe(20);
});

it(`35: ${WAITERS_PER_OBJECT_MAX} callers may wait in one object, the next hears at once that its key is in flight`, async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const keys = WAITERS_PER_OBJECT_MAX / WAITERS_PER_KEY_MAX;
  const calls = Array.from({ length: keys + 1 }, () =>
    payment(tenant, "alice", "bob", 1, { waitMs: 20_000 }),
  );
  const held = one.db.hold();
  const crowd = one.submitAll(
    calls.slice(0, keys).flatMap((call) => times(1 + WAITERS_PER_KEY_MAX, call)),
  );
  await held.arrived();
  const last = calls.slice(keys);
  const leader = one.submitAll(last);

  expect(tally(await one.submitAll(last))).toEqual({ "request-in-flight": 1 });

  held.release();
  expect(tally(await crowd)).toEqual({ 201: keys * (1 + WAITERS_PER_KEY_MAX) });
  expect(tally(await leader)).toEqual({ 201: 1 });
  expect(await balanceOf(tenant, "bob")).toBe(keys + 1);
});

it("35: callers who wait get the leader's 503 too, and nobody starts a second run behind it", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  one.db.always("lost-before", "lost");
  const call = payment(tenant, "alice", "bob", 10, { waitMs: 20_000 });

  const replies = await one.time.passing(one.submitAll(times(20, call)));

  expect(tally(replies)).toEqual({ "outcome-unknown-yet": 20 });
  one.db.heal();
  expect(verdict(await one.submit(call))).toBe(201);
  await expectSoundBooks(tenant);
});

it("17: another request under a key in flight hears of the mismatch, and nothing of the run", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10);
  const other = payment(tenant, "alice", "bob", 20, { key: call.key, waitMs: 20_000 });
  const held = one.db.hold();
  const leader = one.submit(call);
  await held.arrived();

  const refused = one.submit(other);
  await one.quiet();
  held.release();

  // Whose key it is stands in the journal once the run has claimed it.
  expect(await refused).toEqual({
    kind: "problem",
    code: "idempotency-key-reused",
    members: { mismatched: ["amountMinor"] },
  });
  expect(verdict(await leader)).toBe(201);
  expect(await one.submit(other)).toMatchObject({ members: { mismatched: ["amountMinor"] } });
  expect(await balanceOf(tenant, "bob")).toBe(10);
});

it("12: another body, path or operation under a completed key is a mismatch, also for an object without a copy", async () => {
  const tenant = await openBooks({
    accounts: { alice: 1_000, bob: 0 },
    products: { mug: 5, cup: 5 },
  });
  const adjust = callOf(tenant, "stock.adjust", { delta: 1 }, { params: { sku: "mug" } });
  const { key } = adjust;
  const others = [
    callOf(tenant, "stock.adjust", { delta: 2 }, { key, params: { sku: "mug" } }),
    callOf(tenant, "stock.adjust", { delta: 1 }, { key, params: { sku: "cup" } }),
    payment(tenant, "alice", "bob", 1, { key }),
  ];
  const one = incarnation();
  const original = await one.submit(adjust);
  const another = incarnation();

  for (const object of [one, another]) {
    expect(tally(await object.submitAll(others))).toEqual({ "idempotency-key-reused": 3 });
  }

  for (const object of [one, another]) {
    expect(bodyOf(await object.submit(adjust))).toBe(bodyOf(original));
  }
  expect(await effectsByKey(tenant)).toEqual(new Map([[key, 1]]));
  await expectSoundBooks(tenant);
});

it.each(["plan", "read"] as const)(
  "60: a %s that throws is an error of that try alone: nothing is stored, and the same key runs next time",
  async (part) => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const { operation, setBroken } = fragileRestock(part);
    const one = incarnation({ operations: [operation] });
    const call = callOf(tenant, operation.name, { pieces: 3 }, { params: { sku: "mug" } });

    const waiting = { ...call, waitMs: 20_000 };
    expect(tally(await one.submitAll([call, waiting]))).toEqual({ "internal-error": 2 });
    expect(one.alerts).toMatchObject([{ event: "operation-defect" }]);
    expect(one.batches).toEqual([]);
    expect(await journalSize(tenant)).toBe(0);

    setBroken(false);
    expect(verdict(await one.submit(call))).toBe(200);
    expect(await quantityOf(tenant, "mug")).toBe(3);
  },
);

it("61: a request that its schema refuses does not use up the key", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const wrong = payment(tenant, "alice", "alice", 10);
  const right = payment(tenant, "alice", "bob", 10, { key: wrong.key });

  expect(verdict(await one.submit(wrong))).toBe("request-invalid");
  expect(await journalSize(tenant)).toBe(0);
  expect(verdict(await one.submit(right))).toBe(201);
});

it("61: a stored answer is replayed also where the schema would now refuse the request", async () => {
  const tenant = await openBooks({ products: { mug: 0 } });
  const { operation, setBroken } = fragileRestock("read");
  setBroken(false);
  const call = callOf(tenant, operation.name, { pieces: 3 }, { params: { sku: "mug" } });
  const before = await incarnation({ operations: [operation] }).submit(call);
  // The next deploy is stricter.
  const stricter = {
    ...operation,
    validate: () =>
      ({ ok: false, failure: [{ pointer: "/pieces", detail: "is no more" }] }) as const,
  };

  const after = await incarnation({ operations: [stricter] }).submit(call);

  expect(bodyOf(after)).toBe(bodyOf(before));
  expect(await quantityOf(tenant, "mug")).toBe(3);
});

it("60: a stored answer is replayed also where what the plan needs can no longer be read", async () => {
  const tenant = await openBooks({ products: { mug: 0 } });
  const { operation, setBroken } = fragileRestock("read");
  setBroken(false);
  const call = callOf(tenant, operation.name, { pieces: 3 }, { params: { sku: "mug" } });
  const before = await incarnation({ operations: [operation] }).submit(call);
  setBroken(true);

  const after = await incarnation({ operations: [operation] }).submit(call);

  expect(bodyOf(after)).toBe(bodyOf(before));
  expect(await quantityOf(tenant, "mug")).toBe(3);
});

it("60: a stored answer is replayed also where the operation has broken since", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const call = payment(tenant, "alice", "bob", 10);
  const before = await incarnation().submit(call);
  // The next deploy breaks what makes the plan; this operation reads nothing, so nothing was looked up before.
  const broken = {
    ...createPayment,
    validate: () =>
      ({
        ok: true,
        value: { reads: false, plan: () => Promise.reject(new Error("Its plan is broken.")) },
      }) as const,
  };

  const after = await incarnation({ operations: [broken] }).submit(call);

  expect(bodyOf(after)).toBe(bodyOf(before));
  await expectSoundBooks(tenant);
});

it("34: a caller who leaves does not end the run that was begun for it", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10);
  const held = one.db.hold();
  // Answered at once; the run is left behind.
  await one.run((engine) => {
    void engine.submit({ ...call, object: one.object });
  });
  await held.arrived();
  held.release();
  await until(() => one.db.delivered === 1);

  expect(bodyOf(await one.time.passing(one.submit({ ...call, waitMs: 20_000 })))).toContain(
    '"amountMinor":10',
  );
  expect(one.batches).toHaveLength(1);
  await expectSoundBooks(tenant);
});
