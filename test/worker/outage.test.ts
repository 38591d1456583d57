/** D1 overloaded, stalled or gone: what is stored goes on, what is new hears 503, and nothing happens twice. */
import { describe, expect, it } from "vitest";
import {
  COPY_IDLE_MS,
  FLIGHTS_PER_OBJECT_MAX,
  QUEUE_OPERATIONS_MAX,
  RETRY_FULL_MS,
  SEND_TIMEOUT_MS,
} from "../../src/kernel/limits.ts";
import type { KeyReply } from "../../src/objects/key-call.ts";
import { operations } from "../../src/operations/registry.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import { bodyOf, callOf, idIn, payment, refund, tally, verdict } from "./support/calls.ts";
import { customOperations, restock } from "./support/custom-operations.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";

const makeIncarnation = useEngines();
const incarnation = () => makeIncarnation({ operations: [...operations, ...customOperations] });

/** Lets time pass, a time-out at a time, until the replies are there. */
const waitedOut = async (one: Incarnation, replies: Promise<KeyReply[]>): Promise<KeyReply[]> => {
  const state = { settled: false };
  void replies.finally(() => {
    state.settled = true;
  });
  while (!state.settled) await one.advance(SEND_TIMEOUT_MS);
  return replies;
};

describe("54: D1 that is overloaded", () => {
  it("54: 503 for new keys, replays go on, and the same keys run when it is over", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const old = payment(tenant, "alice", "bob", 1);
    const before = await one.submit(old);
    one.db.always("overloaded", "overloaded");
    const calls = Array.from({ length: 10 }, () => payment(tenant, "alice", "bob", 1));

    const during = await one.time.passing(one.submitAll(calls));

    expect(tally(during)).toEqual({ "outcome-unknown-yet": 1, "temporarily-unavailable": 9 });
    for (const reply of during) expect(reply).toHaveProperty("afterMs");
    expect(bodyOf(await one.submit(old))).toBe(bodyOf(before));
    expect(await journalSize(tenant)).toBe(1);
    one.db.heal();
    expect(tally(await one.submitAll(calls))).toEqual({ 201: 10 });
    expect(await effectsByKey(tenant)).toEqual(new Map([old, ...calls].map(({ key }) => [key, 1])));
    await expectSoundBooks(tenant);
  });

  it("54: an operation that cannot read its facts was not sent, and says so", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const paid = idIn(await one.submit(payment(tenant, "alice", "bob", 100)));
    const call = refund(tenant, paid);
    // The look for an earlier outcome fails, and then the read of the facts.
    one.db.nextReads("overloaded");
    expect(verdict(await one.submit(call))).toBe("temporarily-unavailable");
    one.db.nextReads("none", "lost");
    expect(verdict(await one.submit(call))).toBe("temporarily-unavailable");

    expect(one.batches).toHaveLength(1);
    expect(verdict(await one.submit(call))).toBe(201);
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });

  it("54: a request that its schema refuses hears 503 rather than 400 while its key cannot be looked up", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    one.db.always("overloaded", "overloaded");
    const call = payment(tenant, "alice", "alice", 1);

    expect(verdict(await one.submit(call))).toBe("temporarily-unavailable");
    one.db.heal();
    expect(verdict(await one.submit(call))).toBe("request-invalid");
  });
});

describe("a database that is full", () => {
  it("takes no more keys after it has said so, answers those that were used, and goes on once there is room", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const used = payment(tenant, "alice", "bob", 1);
    const before = await one.submit(used);
    one.db.always("full", "none");
    const cut = payment(tenant, "alice", "bob", 2);
    expect(verdict(await one.time.passing(one.submit(cut)))).toBe("outcome-unknown-yet");
    const sent = one.batches.length;

    const fresh = payment(tenant, "alice", "bob", 3);
    expect(verdict(await one.submit(fresh))).toBe("temporarily-unavailable");
    expect(bodyOf(await one.submit(used))).toBe(bodyOf(before));
    expect(one.batches).toHaveLength(sent);

    one.db.heal();
    expect(verdict(await one.submit(fresh))).toBe("temporarily-unavailable");
    await one.advance(RETRY_FULL_MS);
    expect(tally(await one.submitAll([cut, fresh]))).toEqual({ 201: 2 });
    expect(await balanceOf(tenant, "bob")).toBe(6);
    await expectSoundBooks(tenant);
  });

  it("is judged by the size of its last answer: what does not fit is refused before any claim", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = makeIncarnation({ databaseBytesMax: 1 });
    const used = payment(tenant, "alice", "bob", 1);
    const before = await one.submit(used);
    const sent = one.batches.length;
    const detached = payment(tenant, "alice", "bob", 1, { detached: true });
    const fresh = payment(tenant, "alice", "bob", 1);
    for (const call of [fresh, detached]) {
      expect(await one.submit(call)).toMatchObject({
        code: "temporarily-unavailable",
        afterMs: RETRY_FULL_MS,
      });
    }
    expect(one.batches).toHaveLength(sent);
    expect(await one.lookUp(detached)).not.toMatchObject({ state: "in-flight" });
    expect(bodyOf(await one.submit(used))).toBe(bodyOf(before));
    // Another object, which has no copy.
    const other = makeIncarnation({ databaseBytesMax: 1 });
    expect(bodyOf(await other.submit(used))).toBe(bodyOf(before));
  });
});

describe("54: D1 that stalls", () => {
  it("54: for a minute: every new key hears 503 within its budget, replays go on, the queue is bounded, and then all run once", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation();
    const mug = { params: { sku: "mug" } };
    const restockOnce = () => callOf(tenant, restock.name, { pieces: 1 }, mug);
    const old = restockOnce();
    const before = await one.submit(old);
    await one.advance(COPY_IDLE_MS);
    one.db.always("stalled-before", "stalled");
    const startedAtMs = one.time.nowMs;
    const calls = Array.from({ length: 1 + QUEUE_OPERATIONS_MAX + 5 }, restockOnce);

    while (one.time.nowMs < startedAtMs + 60_000) {
      const replies = one.submitAll(calls);
      await one.quiet();
      expect(bodyOf(await one.submit(old))).toBe(bodyOf(before));
      const seen = await waitedOut(one, replies);
      // One group got no answer; the others were never sent, five of them because there was no room: six, when the
      // first was still waiting for the others.
      expect(Object.keys(tally(seen)).toSorted()).toEqual([
        "outcome-unknown-yet",
        "temporarily-unavailable",
      ]);
      expect([5, 6]).toContain(
        seen.filter((reply) => reply.kind === "problem" && reply.detail?.includes("full")).length,
      );
    }

    one.db.endStalls();
    one.db.heal();
    const retried = calls.slice(0, 1_000);
    expect(tally(await one.submitAll(retried))).toEqual({ 200: retried.length });
    expect(await quantityOf(tenant, "mug")).toBe(1 + retried.length);
  });

  it(`54: is asked for at most ${FLIGHTS_PER_OBJECT_MAX} keys at a time, and for as many again once it has answered`, async () => {
    const one = incarnation();
    one.db.always("none", "lost");
    const lookUps = async () => {
      const before = one.db.reads;
      await one.run((engine) =>
        Promise.all(
          Array.from({ length: FLIGHTS_PER_OBJECT_MAX + 10 }, () => engine.lookUp("t", "key")),
        ),
      );
      return one.db.reads - before;
    };

    expect(await lookUps()).toBe(FLIGHTS_PER_OBJECT_MAX);
    expect(await lookUps()).toBe(FLIGHTS_PER_OBJECT_MAX);
  });

  it("54: on the way back: what has committed is found when D1 answers again", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    one.db.next("stalled-after");
    one.db.always("none", "stalled");
    const calls = [payment(tenant, "alice", "bob", 1)];

    const replies = await waitedOut(one, one.submitAll(calls));

    expect(tally(replies)).toEqual({ "outcome-unknown-yet": 1 });
    one.db.heal();
    const retries = await one.submitAll(calls);
    expect(retries).toMatchObject([{ kind: "outcome", replayed: true }]);
    expect(await balanceOf(tenant, "bob")).toBe(1);
    await expectSoundBooks(tenant);
  });

  it("54: a caller that waits for a stalled key hears what its leader hears", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    one.db.always("stalled-before", "stalled");
    const call = payment(tenant, "alice", "bob", 1, { waitMs: 20_000 });

    const replies = await waitedOut(one, one.submitAll([call, call, call]));

    expect(tally(replies)).toEqual({ "outcome-unknown-yet": 3 });
    await expectSoundBooks(tenant);
  });
});
