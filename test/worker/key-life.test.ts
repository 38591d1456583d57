/** A key from its first request to its last: what a look-up says, when it expires, and what a wrong clock can do. */
import { describe, expect, it } from "vitest";
import { ABSENCE_UNKNOWN_MS, KEY_LIFETIME_SECONDS } from "../../src/kernel/limits.ts";
import { balanceOf, effectsByKey, expectSoundBooks, openBooks } from "./support/books.ts";
import { bodyOf, payment, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";
import { VirtualTime } from "./support/virtual-time.ts";

const incarnation = useEngines();

const HOUR_MS = 60 * 60 * 1000;
const LIFETIME_MS = KEY_LIFETIME_SECONDS * 1000;

const books = () => openBooks({ accounts: { alice: 100, bob: 0 } });

describe("a look-up", () => {
  it("of a key that was never used says free, once no batch of an earlier life of the object can be under way", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);

    expect(await one.lookUp(call)).toEqual({ state: "unknown-yet", afterMs: ABSENCE_UNKNOWN_MS });
    one.time.advance(ABSENCE_UNKNOWN_MS - 1);
    expect(await one.lookUp(call)).toEqual({ state: "unknown-yet", afterMs: 1 });
    one.time.advance(1);
    expect(await one.lookUp(call)).toEqual({ state: "free" });
    expect(one.batches).toEqual([]);
  });

  it("of a key that runs says in flight, and since when", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    const held = one.db.hold();
    const reply = one.submit(call);
    await held.arrived();
    const createdAtMs = one.time.nowMs;
    one.time.advance(1_000);

    expect(await one.lookUp(call)).toEqual({
      state: "in-flight",
      operation: "payments.create",
      createdAtMs,
    });

    held.release();
    await reply;
  });

  it("of an outcome says what it was, what it made, how many sends it took and until when it is replayed", async () => {
    const tenant = await books();
    const one = incarnation();
    one.db.next("lost-before");
    const startedAtMs = one.time.nowMs;
    const made = payment(tenant, "alice", "bob", 60);
    const { id } = JSON.parse(bodyOf(await one.time.passing(one.submit(made)))) as { id: string };
    const refused = payment(tenant, "alice", "bob", 60);
    await one.submit(refused);

    for (const object of [one, incarnation({ time: one.time })]) {
      expect(await object.lookUp(made)).toEqual({
        state: "completed",
        operation: "payments.create",
        attempts: 2,
        outcome: { status: 201, refusal: null },
        link: `/v1/payments/${id}`,
        createdAtMs: startedAtMs,
        expiresAtS: Math.floor(startedAtMs / 1000) + KEY_LIFETIME_SECONDS,
      });
      expect(await object.lookUp(refused)).toMatchObject({
        state: "completed",
        attempts: 1,
        outcome: { status: 402, refusal: "insufficient-funds" },
        link: null,
      });
    }
  });

  it("of an expired key says so before anything has swept it", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    await one.submit(call);
    one.time.advance(LIFETIME_MS);

    expect(await one.lookUp(call)).toMatchObject({
      state: "expired",
      outcome: { status: 201, refusal: null },
    });
  });

  it("says nothing while the database does not answer", async () => {
    const tenant = await books();
    const one = incarnation();
    one.time.advance(ABSENCE_UNKNOWN_MS);
    one.db.nextReads("overloaded");

    expect(await one.lookUp(payment(tenant, "alice", "bob", 1))).toBe("unavailable");
  });

  it("of another tenant's key says nothing of it", async () => {
    const tenant = await books();
    const call = payment(tenant, "alice", "bob", 1);
    const one = incarnation();
    await one.submit(call);
    const other = incarnation();
    await other.run(() => undefined);
    other.time.advance(ABSENCE_UNKNOWN_MS);

    expect(await other.lookUp({ ...call, tenant: await books() })).toEqual({ state: "free" });
  });
});

describe("56: expiry is a whole second", () => {
  // Almost a second after the second that counts.
  const startMs = Math.floor(Date.now() / 1000) * 1000 + 999;
  const expiresAtMs = startMs - 999 + LIFETIME_MS;

  it.each([
    { offsetMs: -1, says: 201 },
    { offsetMs: 0, says: "idempotency-key-expired" },
    { offsetMs: 1, says: "idempotency-key-expired" },
  ])(
    "56: at $offsetMs ms of it the key answers $says, from memory, from a copy and from D1",
    async ({ offsetMs, says }) => {
      const tenant = await books();
      const one = incarnation({ time: new VirtualTime(startMs) });
      const call = payment(tenant, "alice", "bob", 1);
      const first = await one.submit(call);
      expect(first).toMatchObject({ expiresAtS: expiresAtMs / 1000 });
      await one.advance(1_000);
      one.time.setTo(expiresAtMs + offsetMs);
      const { time, object } = one;

      const reborn = incarnation({ time, object });
      for (const life of [one, reborn, incarnation({ time })]) {
        expect(verdict(await life.submit(call))).toBe(says);
      }

      expect(reborn.db.reads).toBe(0);
      expect(reborn.batches).toEqual([]);
      expect(await balanceOf(tenant, "bob")).toBe(1);
      await expectSoundBooks(tenant);
    },
  );
});

describe("58: a clock that jumps", () => {
  it.each([
    { jump: "an hour ahead", jumpMs: HOUR_MS },
    { jump: "an hour back", jumpMs: -HOUR_MS },
    { jump: "more than the key's life ahead", jumpMs: LIFETIME_MS + HOUR_MS },
    { jump: "more than the key's life back", jumpMs: -LIFETIME_MS - HOUR_MS },
  ])("58: $jump never makes a key run again; a 410 is the worst of it", async ({ jumpMs }) => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    const first = await one.submit(call);
    const { object } = one;
    const says = jumpMs < LIFETIME_MS ? 201 : "idempotency-key-expired";

    // In this life, in the next one, and in another object.
    one.time.advance(jumpMs);
    const { time } = one;
    for (const life of [one, incarnation({ time, object }), incarnation({ time })]) {
      expect(verdict(await life.submit(call))).toBe(says);
    }

    // The clock comes back, and so does the answer.
    one.time.advance(-jumpMs);
    for (const life of [one, incarnation({ time, object })]) {
      expect(bodyOf(await life.submit(call))).toBe(bodyOf(first));
    }
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("58: an hour ahead while a batch is under way leaves its fate open, and the key has one effect", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    const held = one.db.hold();
    const reply = one.submit(call);
    await held.arrived();
    one.time.advance(HOUR_MS);
    held.release("late");

    expect(verdict(await one.time.passing(reply))).toBe("outcome-unknown-yet");
    const retry = await one.submit(call);
    await one.db.deliverLate();
    expect(verdict(retry)).toBe(201);
    expect(bodyOf(await incarnation().submit(call))).toBe(bodyOf(retry));
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("58: a day ahead sweeps early: the key answers 410 from then on, also by a right clock", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    await one.submit(call);
    await one.advance(1_000);
    one.time.advance(LIFETIME_MS);
    await one.sweep();
    one.time.advance(-LIFETIME_MS);

    for (const life of [one, incarnation()]) {
      expect(verdict(await life.submit(call))).toBe("idempotency-key-expired");
    }
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });
});
