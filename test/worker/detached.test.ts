/** Requests that were accepted before they ran: durable before the 202, and carried out whatever happens, once. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { listIssues } from "../../src/journal/issues.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import {
  COPY_IDLE_MS,
  IN_FLIGHT_TOO_LONG_MS,
  INTENT_GRACE_MS,
  INTENT_PAUSE_MS,
  INTENT_PAUSE_MS_MAX,
  INTENTS_PER_ALARM_MAX,
  INTENTS_PER_OBJECT_MAX,
} from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalRow,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import { bodyOf, callOf, payment, tally, verdict } from "./support/calls.ts";
import { fragileRestock, restockBriefly } from "./support/custom-operations.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";

const incarnation = useEngines();

const books = () => openBooks({ accounts: { alice: 100, bob: 0 } });

const detached = (tenant: string, amountMinor = 1, key = crypto.randomUUID()): KeyCall =>
  payment(tenant, "alice", "bob", amountMinor, { key, detached: true });

/** The same request from a caller who stays. */
const attached = (call: KeyCall): KeyCall => ({ ...call, detached: false });

/** What is stored of accepted requests, and when the alarm rings. */
const stored = (one: Incarnation) =>
  one.run(async (_engine, { storage }) => {
    const exists = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'intents'").toArray();
    const intents =
      exists.length === 0
        ? []
        : storage.sql
            .exec<{ key: string; attempts: number; due_at_ms: number }>(
              "SELECT key, attempts, due_at_ms FROM intents",
            )
            .toArray();
    return { intents, alarmAtMs: await storage.getAlarm() };
  });

const waiting = async (one: Incarnation) => (await stored(one)).intents.map(({ key }) => key);

/** What the run of a key that is under way comes to, with the time that it takes. */
const ended = (one: Incarnation, call: KeyCall) =>
  one.time.passing(one.submit({ ...attached(call), waitMs: 20_000 }));

/** An object that has accepted requests which it could not carry out: D1 is away. */
const accepting = async (
  calls: readonly KeyCall[],
  options: Parameters<typeof incarnation>[0] = {},
): Promise<Incarnation> => {
  const one = incarnation(options);
  one.db.always("lost-before", "lost");
  expect(tally(await one.submitAll(calls))).toEqual({ accepted: calls.length });
  for (const call of calls) expect(verdict(await ended(one, call))).not.toBe(201);
  return one;
};

describe("202", () => {
  it("is said once request and alarm are durable, while the run goes on; then the key is replayed, and its input is erased", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = detached(tenant);
    const held = one.db.hold();

    expect(verdict(await one.submit(call))).toBe("accepted");

    await held.arrived();
    expect(await journalSize(tenant)).toBe(0);
    const { intents, alarmAtMs } = await stored(one);
    expect(intents).toMatchObject([{ key: call.key, attempts: 0 }]);
    expect(alarmAtMs).toBe(one.time.nowMs + INTENT_GRACE_MS);
    expect(await one.lookUp(call)).toMatchObject({
      state: "in-flight",
      operation: "payments.create",
    });

    held.release();
    const reply = await ended(one, call);
    expect(verdict(reply)).toBe(201);
    expect(await waiting(one)).toEqual([]);
    for (const again of [call, attached(call)]) {
      expect(await one.submit(again)).toMatchObject({ kind: "outcome", replayed: true });
    }
    expect(bodyOf(await incarnation().submit(attached(call)))).toBe(bodyOf(reply));
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("is not said, and nothing runs, while storage does not answer", async () => {
    const tenant = await books();
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const call = detached(tenant);
    storage.broken = true;

    await expect(one.submit(call)).rejects.toThrow("SQLITE_FULL");

    expect(one.batches).toEqual([]);
    storage.broken = false;
    expect(await stored(one)).toEqual({ intents: [], alarmAtMs: null });
    expect(await journalSize(tenant)).toBe(0);
    expect(verdict(await one.submit(attached(call)))).toBe(201);
    await expectSoundBooks(tenant);
  });

  it("is not said while the alarm cannot be set, to the first caller and to the next; it is once it can", async () => {
    const tenant = await books();
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const call = detached(tenant);
    const held = one.db.hold();
    storage.alarmBroken = true;

    await expect(one.submit(call)).rejects.toThrow("SQLITE_FULL");
    await expect(one.submit(call)).rejects.toThrow("SQLITE_FULL");
    expect((await stored(one)).alarmAtMs).toBeNull();
    storage.alarmBroken = false;

    expect(verdict(await one.submit(call))).toBe("accepted");
    expect((await stored(one)).alarmAtMs).toBe(one.time.nowMs + INTENT_GRACE_MS);
    held.release();
    expect(verdict(await ended(one, call))).toBe(201);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("is said of a key that runs already, and makes that durable too", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = detached(tenant);
    const held = one.db.hold();
    const first = one.submit(attached(call));
    await held.arrived();

    expect(verdict(await one.submit(call))).toBe("accepted");
    expect(verdict(await one.submit(call))).toBe("accepted");

    expect(await waiting(one)).toEqual([call.key]);
    expect((await stored(one)).alarmAtMs).toBe(one.time.nowMs + INTENT_GRACE_MS);
    held.release();
    expect(verdict(await first)).toBe(201);
    expect(await waiting(one)).toEqual([]);
    expect(one.batches).toHaveLength(1);
    await expectSoundBooks(tenant);
  });

  it("12: is said to one of two different requests that come at once under one key; the other is a mismatch at once", async () => {
    const tenant = await books();
    const one = incarnation();
    const key = crypto.randomUUID();
    const held = one.db.hold();

    const replies = await one.submitAll([detached(tenant, 1, key), detached(tenant, 2, key)]);

    expect(replies.map(verdict)).toEqual(["accepted", "idempotency-key-reused"]);
    // It is promised, so nobody has to wait for the run to hear whose it is.
    expect(verdict(await one.submit(attached(detached(tenant, 3, key))))).toBe(
      "idempotency-key-reused",
    );
    held.release();
    expect(verdict(await ended(one, detached(tenant, 1, key)))).toBe(201);
    expect(await balanceOf(tenant, "bob")).toBe(1);
  });

  it("12: is not said of a key that the journal has, though this object does not know of it", async () => {
    const tenant = await books();
    const key = crypto.randomUUID();
    await incarnation().submit(attached(detached(tenant, 1, key)));
    const one = incarnation();

    expect(verdict(await one.submit(detached(tenant, 2, key)))).toBe("idempotency-key-reused");
    expect(await one.submit(detached(tenant, 1, key))).toMatchObject({
      kind: "outcome",
      replayed: true,
    });

    expect(await waiting(one)).toEqual([]);
    expect(one.batches).toEqual([]);
  });

  it("puts off nothing that is due sooner, though this life has not looked when that is", async () => {
    const tenant = await books();
    const one = incarnation();
    const soonMs = one.time.nowMs + 1;
    await one.run((_engine, { storage }) => storage.setAlarm(soonMs));
    const call = detached(tenant);
    const held = one.db.hold();
    const first = one.submit(attached(call));
    await held.arrived();

    expect(verdict(await one.submit(call))).toBe("accepted");

    expect((await stored(one)).alarmAtMs).toBe(soonMs);
    held.release();
    await first;
  });

  it("is said to many of a group in one turn, and each has its effect", async () => {
    const tenant = await books();
    const one = incarnation();
    const calls = Array.from({ length: 50 }, () => detached(tenant));

    expect(tally(await one.submitAll(calls))).toEqual({ accepted: 50 });

    for (const call of calls) expect(verdict(await ended(one, call))).toBe(201);
    expect(await waiting(one)).toEqual([]);
    expect(await balanceOf(tenant, "bob")).toBe(50);
    await expectSoundBooks(tenant);
  });

  it(`54: is not said while ${INTENTS_PER_OBJECT_MAX} wait already: that is a 503, and nothing runs`, async () => {
    const tenant = await books();
    const one = await accepting([detached(tenant)]);
    const { object, time } = one;
    await one.run((_engine, { storage }) => {
      storage.sql.exec(
        "INSERT INTO intents SELECT intents.key || n.key, due_at_ms, accepted_at_ms, attempts, json_set(call, '$.key', intents.key || n.key) FROM intents, json_each(?) AS n",
        JSON.stringify(Array.from({ length: INTENTS_PER_OBJECT_MAX - 1 }, () => 0)),
      );
    });
    const late = detached(tenant);

    const next = incarnation({ object, time });
    expect(verdict(await next.submit(late))).toBe("temporarily-unavailable");
    expect(await waiting(next)).toHaveLength(INTENTS_PER_OBJECT_MAX);
    expect(await effectsByKey(tenant)).toEqual(new Map());
    expect(verdict(await next.submit(attached(late)))).toBe(201);
  });

  it("61: is not said of what cannot be carried out: that is told at once, and the key is not consumed", async () => {
    const tenant = await books();
    const one = incarnation();
    const key = crypto.randomUUID();
    const invalid = payment(tenant, "alice", "alice", 1, { key, detached: true });

    expect(verdict(await one.submit(invalid))).toBe("request-invalid");

    expect(await waiting(one)).toEqual([]);
    expect(verdict(await one.submit(attached(detached(tenant, 1, key))))).toBe(201);
  });

  it("62: is said of what is refused later: the refusal is stored, and the input is erased", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = detached(tenant, 1_000);

    expect(verdict(await one.submit(call))).toBe("accepted");

    expect(verdict(await ended(one, call))).toBe(402);
    expect(await waiting(one)).toEqual([]);
    await expectSoundBooks(tenant);
  });

  it("with a wait is said only if the outcome does not come within it", async () => {
    const tenant = await books();
    const one = incarnation();
    const quick = { ...detached(tenant), waitMs: 5_000 };
    expect(await one.submit(quick)).toMatchObject({ kind: "outcome", replayed: false });
    const slow = { ...detached(tenant), waitMs: 1_000 };
    const held = one.db.hold();
    const reply = one.submit(slow);
    await held.arrived();
    expect(await waiting(one)).toEqual([slow.key]);

    await one.advance(999);
    await one.advance(1);

    expect(verdict(await reply)).toBe("accepted");
    held.release();
    expect(verdict(await ended(one, slow))).toBe(201);
    expect(await balanceOf(tenant, "bob")).toBe(2);
  });
});

describe("an accepted request that waits", () => {
  it("12: is no key for another request, in this life of the object and in the next", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);

    for (const life of [one, incarnation({ object: one.object, time: one.time })]) {
      for (const other of [
        detached(tenant, 2, call.key),
        attached(detached(tenant, 2, call.key)),
      ]) {
        expect(await life.submit(other)).toEqual({
          kind: "problem",
          code: "idempotency-key-reused",
          members: { mismatched: ["amountMinor"] },
        });
      }
    }
    expect(await waiting(one)).toEqual([call.key]);
  });

  it("is run at once for a caller who stays, and is then done", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    one.db.heal();

    expect(await one.submit(attached(call))).toMatchObject({ kind: "outcome", replayed: false });

    expect(await waiting(one)).toEqual([]);
    await one.advance(INTENT_PAUSE_MS_MAX);
    await one.sweep();
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });

  it("puts off nothing that is due sooner when it is tried in vain, though this life has not looked when that is", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const { object, time } = await accepting([call]);
    const next = incarnation({ object, time });
    next.db.always("lost-before", "lost");
    const soonMs = time.nowMs + 1;
    await next.run((_engine, { storage }) => storage.setAlarm(soonMs));

    expect(verdict(await ended(next, call))).not.toBe(201);

    expect(await stored(next)).toMatchObject({ intents: [{ attempts: 2 }], alarmAtMs: soonMs });
  });

  it("69: cannot be erased before it has an outcome", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    one.db.heal();

    expect(await one.erase(call)).toEqual({ kind: "in-flight" });
    expect(await waiting(one)).toEqual([call.key]);
  });

  it("81: was fingerprinted by a version that this build does not know: nobody guesses, and it runs as it was accepted", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    await one.run((_engine, { storage }) => {
      storage.sql.exec(
        "UPDATE intents SET call = json_set(call, '$.fingerprint', 'of another version', '$.fingerprintVersion', 99)",
      );
    });
    const { object, time } = one;
    const next = incarnation({ object, time });

    for (const same of [call, detached(tenant, 2, call.key)]) {
      expect(verdict(await next.submit(same))).toBe("temporarily-unavailable");
    }
    next.time.advance(INTENT_PAUSE_MS_MAX);
    await next.sweep();

    expect(await journalRow(tenant, call.key)).toMatchObject({
      fingerprint: "of another version",
      fingerprint_version: 99,
      status: 201,
    });
    expect(await waiting(next)).toEqual([]);
  });
});

/** An object that has accepted a restock of one mug and could not carry it out, and for which its operation may go. */
const acceptingRestock = async () => {
  const tenant = await openBooks({ products: { mug: 0 } });
  const call = callOf(
    tenant,
    restockBriefly.name,
    { pieces: 1 },
    { params: { sku: "mug" }, detached: true },
  );
  const one = await accepting([call], { operations: [restockBriefly] });
  return { tenant, call, one };
};

describe("the alarm", () => {
  it("36–40: of the next life runs what the last one had accepted, once, with its original key", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = incarnation();
    const held = one.db.hold();
    expect(verdict(await one.submit(call))).toBe("accepted");
    await held.arrived();
    const { object, time } = one;
    const next = incarnation({ object, time });
    time.advance(INTENT_GRACE_MS - 1);
    await next.sweep();
    expect(await journalSize(tenant)).toBe(0);
    expect((await stored(next)).alarmAtMs).toBe(time.nowMs + 1);
    time.advance(1);

    await next.sweep();

    expect(await next.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    expect(await waiting(next)).toEqual([]);
    // 51a: what the last life had sent arrives after all.
    held.release("late");
    await ended(one, call);
    await one.db.deliverLate();
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("41: of a life that dies too leaves it to the next", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    const { object, time } = one;
    const second = incarnation({ object, time });
    time.advance(INTENT_PAUSE_MS_MAX);
    const held = second.db.hold();
    const dying = second.sweep();
    await held.arrived();

    const third = incarnation({ object, time });
    await third.sweep();

    expect(await third.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    held.release();
    await dying;
    expect(await waiting(third)).toEqual([]);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });

  it("54: carries out what was accepted also in a database that is nearly full by then; what is new is not taken", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call], { databaseBytesMax: 1 });
    one.db.heal();
    const fresh = detached(tenant);
    // A lookup tells how large the database is.
    await one.lookUp(fresh);
    expect(verdict(await one.submit(fresh))).toBe("temporarily-unavailable");

    one.time.advance(INTENT_PAUSE_MS);
    await one.time.passing(one.sweep());

    expect(await one.submit(attached(call))).toMatchObject({ kind: "outcome", replayed: true });
    expect(verdict(await one.submit(fresh))).toBe("temporarily-unavailable");
  });

  it("54: tries again while D1 is away, after ever longer pauses, until it is done", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    const pauses: number[] = [];
    for (let tries = 1; tries <= 8; tries++) {
      const { intents, alarmAtMs } = await stored(one);
      expect(intents).toMatchObject([{ attempts: tries }]);
      const pauseMs = (intents[0]?.due_at_ms ?? 0) - one.time.nowMs;
      expect(alarmAtMs).toBeLessThanOrEqual(one.time.nowMs + pauseMs);
      pauses.push(pauseMs);
      one.time.advance(pauseMs);
      await one.time.passing(one.sweep());
    }
    expect(pauses.map((ms) => ms / INTENT_PAUSE_MS)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    one.db.heal();
    one.time.advance(INTENT_PAUSE_MS_MAX);

    await one.sweep();

    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    expect(await waiting(one)).toEqual([]);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("50: finds what was committed without being heard of, and is done", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = incarnation();
    one.db.next("lost-after");
    one.db.nextReads(...Array.from({ length: 50 }, () => "lost" as const));
    expect(verdict(await one.submit(call))).toBe("accepted");
    expect(verdict(await ended(one, call))).toBe("outcome-unknown-yet");
    expect(await waiting(one)).toEqual([call.key]);
    one.db.heal();
    one.time.advance(INTENT_PAUSE_MS_MAX);

    await one.sweep();

    expect(await waiting(one)).toEqual([]);
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });

  it("45: that comes twice, at once and late runs it once", async () => {
    const tenant = await books();
    const calls = [detached(tenant), detached(tenant)];
    const one = await accepting(calls);
    one.db.heal();
    one.time.advance(60 * 60 * 1000);

    await one.run((engine) => Promise.all([engine.sweep(), engine.sweep()]));
    await one.sweep();

    expect(await waiting(one)).toEqual([]);
    expect(await effectsByKey(tenant)).toEqual(new Map(calls.map(({ key }) => [key, 1])));
    await expectSoundBooks(tenant);
  });

  it("45: that comes while it runs does not run it again, counts no try of it, and does not come again at once", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = incarnation();
    const held = one.db.hold();
    await one.submit(call);
    await held.arrived();
    one.time.advance(INTENT_GRACE_MS);

    await one.sweep();

    const { intents, alarmAtMs } = await stored(one);
    expect(intents).toMatchObject([{ attempts: 0 }]);
    expect(alarmAtMs).toBeGreaterThan(one.time.nowMs);
    held.release();
    await ended(one, call);
    expect(one.batches).toHaveLength(1);
    expect(await waiting(one)).toEqual([]);
  });

  it(`runs ${INTENTS_PER_ALARM_MAX} at a time, and comes again at once for more`, async () => {
    const tenant = await books();
    const calls = Array.from({ length: INTENTS_PER_ALARM_MAX + 5 }, () => detached(tenant));
    const one = await accepting(calls);
    one.db.heal();
    one.time.advance(INTENT_PAUSE_MS_MAX);

    await one.sweep();
    expect(await waiting(one)).toHaveLength(5);
    expect((await stored(one)).alarmAtMs).toBeLessThanOrEqual(one.time.nowMs);
    await one.sweep();

    expect(await waiting(one)).toEqual([]);
    expect(await balanceOf(tenant, "bob")).toBe(calls.length);
    await expectSoundBooks(tenant);
  });

  it("is set to what is due first: copies do not put an accepted request off, nor does a sweep", async () => {
    const tenant = await books();
    const one = incarnation();
    await one.submit(payment(tenant, "alice", "bob", 1));
    await one.advance(COPY_IDLE_MS);
    const sweepAtMs = (await stored(one)).alarmAtMs ?? 0;
    one.db.always("lost-before", "lost");
    const call = detached(tenant);

    expect(verdict(await one.submit(call))).toBe("accepted");
    const healAtMs = one.time.nowMs + INTENT_GRACE_MS;
    expect(sweepAtMs).toBeGreaterThan(healAtMs);
    expect((await stored(one)).alarmAtMs).toBe(healAtMs);
    await ended(one, call);
    one.db.heal();
    await one.submit(payment(tenant, "alice", "bob", 1));
    await one.advance(COPY_IDLE_MS);
    expect((await stored(one)).alarmAtMs).toBeLessThanOrEqual(one.time.nowMs + INTENT_PAUSE_MS);
    // A sweep with nothing to do yet.
    await one.sweep();
    expect((await stored(one)).alarmAtMs).toBeLessThanOrEqual(one.time.nowMs + INTENT_PAUSE_MS);
    one.time.advance(INTENT_PAUSE_MS);
    await one.sweep();

    expect(await waiting(one)).toEqual([]);
    expect((await stored(one)).alarmAtMs).toBe(sweepAtMs);
    expect(await balanceOf(tenant, "bob")).toBe(3);
  });

  it("53: does not fail where storage does not take when to try again, which would have it dropped in the end: it comes again", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const storage = new FaultyStorage();
    const one = await accepting([call], { storage: storage.around });
    storage.unwritable = "intents";
    one.time.advance(INTENT_PAUSE_MS_MAX);

    await one.time.passing(one.sweep());

    expect(one.alerts.map(({ event }) => event)).toContain("heal-failed");
    expect((await stored(one)).alarmAtMs).not.toBeNull();
    storage.unwritable = undefined;
    one.db.heal();
    await one.sweep();
    expect(await waiting(one)).toEqual([]);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });

  it("gives up, aloud, when the key's life is over: what it never carried out has no effect", async () => {
    const { tenant, one } = await acceptingRestock();
    one.time.advance(60_000);

    await one.time.passing(one.sweep());

    expect(one.alerts.map(({ event }) => event)).toContain("intent-abandoned");
    expect(await waiting(one)).toEqual([]);
    expect(await quantityOf(tenant, "mug")).toBe(0);
  });

  it("does not come again at once for an operation that is gone, and runs it when it is back", async () => {
    const { tenant, call, one } = await acceptingRestock();
    const { object, time } = one;
    const rolledBack = incarnation({ object, time, operations: [] });
    time.advance(INTENT_PAUSE_MS_MAX);
    await rolledBack.sweep();

    const { intents, alarmAtMs } = await stored(rolledBack);
    expect(intents).toMatchObject([{ key: call.key }]);
    expect(alarmAtMs).toBeGreaterThan(time.nowMs);

    const back = incarnation({ object, time, operations: [restockBriefly] });
    time.setTo(alarmAtMs ?? 0);
    await back.sweep();
    expect(await waiting(back)).toEqual([]);
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });

  it("60: runs an operation that broke again, once it is mended", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const { operation, setBroken } = fragileRestock("plan");
    const one = incarnation({ operations: [operation] });
    const call = callOf(
      tenant,
      operation.name,
      { pieces: 1 },
      { params: { sku: "mug" }, detached: true },
    );
    expect(verdict(await one.submit(call))).toBe("accepted");
    expect(verdict(await ended(one, call))).toBe("internal-error");
    setBroken(false);
    one.time.advance(INTENT_GRACE_MS);

    await one.sweep();

    expect(await waiting(one)).toEqual([]);
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });
});

describe("53: storage that fails after the 202", () => {
  it("53: leaves an input that this life's own alarm erases, and then comes for what waits alone", async () => {
    const tenant = await books();
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const call = detached(tenant);
    const held = one.db.hold();
    expect(verdict(await one.submit(call))).toBe("accepted");
    storage.broken = true;
    held.release();
    expect(verdict(await ended(one, call))).toBe(201);
    storage.broken = false;
    expect(await waiting(one)).toEqual([call.key]);
    // Another one waits, so that there is something to come for.
    const other = detached(tenant);
    one.db.always("lost-before", "lost");
    expect(verdict(await one.submit(other))).toBe("accepted");
    await ended(one, other);
    one.time.advance(INTENT_GRACE_MS);

    await one.time.passing(one.sweep());

    const { intents, alarmAtMs } = await stored(one);
    expect(intents.map(({ key }) => key)).toEqual([other.key]);
    expect(alarmAtMs).toBeGreaterThan(one.time.nowMs);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
  });

  it("53: does not hide the outcome, and the alarm finds it", async () => {
    const tenant = await books();
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const call = detached(tenant);
    const held = one.db.hold();
    expect(verdict(await one.submit(call))).toBe("accepted");
    storage.broken = true;
    held.release();

    expect(verdict(await ended(one, call))).toBe(201);

    storage.broken = false;
    const { object, time } = one;
    const next = incarnation({ object, time });
    time.advance(INTENT_GRACE_MS);
    await next.sweep();
    expect(await waiting(next)).toEqual([]);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });
});

describe("an accepted request that is stuck", () => {
  it("is an issue from a quarter of an hour on, runs once when it is taken up again, and is an issue no more", async () => {
    const tenant = await books();
    const call = detached(tenant);
    const one = await accepting([call]);
    // Reads are answered, and so are the statements that stand alone: the issue can be raised.
    one.db.always("lost-before", "none");
    const issues = async () => {
      const { data } = await listIssues(env.DB, { state: undefined, after: "", limit: 100 });
      return data.filter((issue) => issue.tenant === tenant);
    };
    expect(await issues()).toEqual([]);
    one.time.advance(IN_FLIGHT_TOO_LONG_MS);
    await one.time.passing(one.sweep());
    await one.quiet();
    expect(await issues()).toMatchObject([
      {
        kind: "accepted-too-long",
        subject: keyHash(tenant, call.key),
        key: call.key,
        object: one.object,
        state: "open",
      },
    ]);

    one.db.heal();
    const { length: sent } = one.batches;
    // It has a time of its own, which the reconciliation does not know better.
    expect(await one.run((engine) => engine.redrive(call.key, "reconciliation"))).toBe("running");
    expect(one.batches).toHaveLength(sent);
    const redrive = () => one.run((engine) => engine.redrive(call.key, "operator"));
    const redriven = await one.run((engine) =>
      Promise.all([
        engine.redrive(call.key, "operator"),
        engine.redrive(call.key, "operator"),
        engine.redrive(call.key, "reconciliation"),
      ]),
    );
    expect(redriven).toEqual(["taken-up", "running", "running"]);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    expect(await redrive()).toBeUndefined();
    await one.quiet();
    expect(await issues()).toMatchObject([{ key: null, object: null, state: "resolved" }]);
    await expectSoundBooks(tenant);
  });
});
