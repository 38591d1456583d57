/** What an object stores of outcomes, when, and how it gets rid of it. */
import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  COPY_FAILURES_MAX,
  COPY_IDLE_MS,
  COPY_LAG_MAX,
  INTENT_GRACE_MS,
  SEND_TIMEOUT_MS,
  SWEEP_INTERVAL_MS,
  SWEEP_PAGE_KEYS,
  SWEEP_REST_MS_PER_ROW,
  SWEEP_RETRY_MS,
  SWEEP_SCAN_ROWS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import { operations } from "../../src/operations/registry.ts";
import {
  balanceOf,
  expectSoundBooks,
  journalRow,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import { until } from "../support/faulty-database.ts";
import { bodyOf, callOf, payment, tally, verdict } from "./support/calls.ts";
import { restock, restockBriefly } from "./support/custom-operations.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { VirtualTime } from "./support/virtual-time.ts";

const incarnation = useEngines();

const KEY_LIFETIME_MS = 60_000;
const TOMBSTONE_MS = TOMBSTONE_SECONDS * 1000;

/** Under a key that lives for a minute. */
const brief = (tenant: string): KeyCall =>
  callOf(tenant, restockBriefly.name, { pieces: 1 }, { params: { sku: "mug" } });

const sweeper = (options: Parameters<typeof incarnation>[0] = {}) =>
  incarnation({ ...options, operations: [restock, restockBriefly] });

/** Lets the object be quiet for long enough to write what it has not written. */
// Twice: the timer that ran while the last of them came in is set once more.
const idle = (one: Incarnation): Promise<void> => one.advance(2 * COPY_IDLE_MS);

/** What is in the object's storage. */
const stored = (one: Incarnation) =>
  one.run(async (_engine, { storage }) => ({
    tables: storage.sql
      .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE name NOT GLOB '_cf_*'")
      .toArray()
      .map(({ name }) => name),
    alarmAtMs: await storage.getAlarm(),
  }));

/** The states of the stored copies, counted. */
const copiesByState = (one: Incarnation): Promise<Record<string, number>> =>
  one.run((_engine, { storage }) =>
    Object.fromEntries(
      storage.sql
        .exec<{ state: string; n: number }>(
          "SELECT json_extract(copy, '$.record.state') AS state, COUNT(*) AS n FROM copies GROUP BY state",
        )
        .toArray()
        .map(({ state, n }) => [state, n]),
    ),
  );

const EMPTY = { tables: [], alarmAtMs: null };

describe("copies", () => {
  it("an object that was only asked stores nothing", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);

    await one.lookUp(call);
    await one.submit(payment(tenant, "alice", "alice", 1));
    one.db.always("lost-before", "lost");
    await one.time.passing(one.submit(call));
    await one.sweep();
    await idle(one);

    expect(await stored(one)).toEqual(EMPTY);
    expect(await journalSize(tenant)).toBe(0);
  });

  it("are written when the object is quiet, not with the reply, and all in one transaction with their alarm", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const calls = Array.from({ length: 50 }, () => payment(tenant, "alice", "bob", 1));
    const startedAtMs = one.time.nowMs;

    expect(tally(await one.submitAll(calls))).toEqual({ 201: 50 });

    expect(storage.transactions).toBe(0);
    expect(await stored(one)).toEqual(EMPTY);
    await idle(one);
    expect(storage.transactions).toBe(1);
    expect(await copiesByState(one)).toEqual({ final: 50 });
    const { alarmAtMs } = await stored(one);
    const expiresAtMs = Math.floor(startedAtMs / 1000) * 1000 + 24 * 60 * 60 * 1000;
    expect(alarmAtMs).toBe(expiresAtMs);
  });

  it("wait while a request is in flight, so that they hold back no reply", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    await one.submit(payment(tenant, "alice", "bob", 1));
    const held = one.db.hold();
    const reply = one.submit(payment(tenant, "alice", "bob", 1));
    await held.arrived();

    await idle(one);
    expect(storage.transactions).toBe(0);

    held.release();
    expect(verdict(await reply)).toBe(201);
    await idle(one);
    expect(storage.transactions).toBe(1);
    expect(await copiesByState(one)).toEqual({ final: 2 });
  });

  it(`are written between two batches when ${COPY_LAG_MAX} are behind, though the object is never quiet`, async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const calls = Array.from({ length: COPY_LAG_MAX + 100 }, () =>
      payment(tenant, "alice", "bob", 1),
    );

    expect(tally(await one.submitAll(calls))).toEqual({ 201: calls.length });

    expect(storage.transactions).toBe(1);
    const { final = 0 } = await copiesByState(one);
    expect(final).toBeGreaterThanOrEqual(COPY_LAG_MAX);
    expect(final).toBeLessThan(calls.length);
    await idle(one);
    expect(await copiesByState(one)).toEqual({ final: calls.length });
  });

  it("53: hold up no commit while storage does not answer: what waits goes when it has been waited for", async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    storage.alarmStalled = true;
    const calls = Array.from({ length: COPY_LAG_MAX }, () => payment(tenant, "alice", "bob", 1));
    expect(tally(await one.submitAll(calls))).toEqual({ 201: calls.length });

    const behind = [1, 2].map(() => one.submit(payment(tenant, "alice", "bob", 1)));
    await until(() => storage.stalls > 0);
    await one.advance(SEND_TIMEOUT_MS);

    expect(tally(await Promise.all(behind))).toEqual({ 201: 2 });
    expect(storage.transactions).toBe(0);
    storage.alarmStalled = false;
    await idle(one);
    await expectSoundBooks(tenant);
  });

  it("replay what they hold while D1 is away, also in the object's next life", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const made = payment(tenant, "alice", "bob", 60);
    const refused = payment(tenant, "alice", "bob", 60);
    const before = await one.submitAll([made, refused]);
    await idle(one);
    const next = incarnation({ object: one.object });
    for (const { db } of [one, next]) db.always("lost-before", "lost");

    for (const life of [one, next]) {
      const after = await life.submitAll([made, refused]);
      expect(after).toMatchObject([{ replayed: true }, { replayed: true }]);
      expect(after.map(bodyOf)).toEqual(before.map(bodyOf));
      expect(life.db.reads).toBe(0);
    }
  });

  it("are taken from D1 too: what one read there is replayed without it", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const call = payment(tenant, "alice", "bob", 60);
    const object = `test/${crypto.randomUUID()}`;
    const before = await incarnation({ object }).submit(call);
    const other = incarnation({ object });
    await other.submit(call);
    await idle(other);
    const next = incarnation({ object });
    next.db.always("lost-before", "lost");

    expect(bodyOf(await next.submit(call))).toBe(bodyOf(before));
  });

  it("69: are kept by the object that the row names, and by no other: an erasure reaches them all", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const call = payment(tenant, "alice", "bob", 60);
    await incarnation().submit(call);
    const other = incarnation();

    expect(await other.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    await idle(other);

    expect((await stored(other)).tables).toEqual([]);
  });

  it("that cannot be read are no copies: D1 answers", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const one = incarnation();
    const calls = [payment(tenant, "alice", "bob", 1), payment(tenant, "alice", "bob", 1)];
    const before = await one.submitAll(calls);
    await idle(one);
    await one.run((_engine, { storage }) => {
      storage.sql.exec("UPDATE copies SET copy = '{\"record\":1}' WHERE key = ?", calls[0]?.key);
      storage.sql.exec("UPDATE copies SET copy = 'no json' WHERE key = ?", calls[1]?.key);
    });

    const after = await incarnation({ object: one.object }).submitAll(calls);

    expect(after).toMatchObject([{ replayed: true }, { replayed: true }]);
    expect(after.map(bodyOf)).toEqual(before.map(bodyOf));
    await expectSoundBooks(tenant);
  });

  it("79: of another generation of the database are ignored: what a restore has undone runs again", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const call = callOf(tenant, restock.name, { pieces: 1 }, { params: { sku: "mug" } });
    await one.submit(call);
    await idle(one);
    // The restore goes back to before the claim and its effect.
    await env.DB.batch([
      env.DB.prepare("DELETE FROM journal WHERE tenant = ?").bind(tenant),
      env.DB.prepare("UPDATE products SET quantity = 0 WHERE tenant = ?").bind(tenant),
    ]);

    const restored = sweeper({ object: one.object, epoch: 1 });

    expect(await restored.submit(call)).toMatchObject({ kind: "outcome", replayed: false });
    expect(await quantityOf(tenant, "mug")).toBe(1);
    // The copy of the new generation takes the place of the old one.
    await idle(restored);
    const next = sweeper({ object: one.object, epoch: 1 });
    next.db.always("lost-before", "lost");
    expect(await next.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
  });
});

describe("53: storage that fails", () => {
  it("53: D1 serves, and every effect happens once", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    storage.broken = true;
    const calls = Array.from({ length: 10 }, () => payment(tenant, "alice", "bob", 1));

    const first = await one.submitAll(calls);
    await idle(one);
    const retries = await one.submitAll(calls);
    const next = incarnation({ object: one.object, storage: storage.around });
    const later = await next.submitAll(calls);

    expect(tally(first)).toEqual({ 201: 10 });
    expect(retries.map(bodyOf)).toEqual(first.map(bodyOf));
    expect(later.map(bodyOf)).toEqual(first.map(bodyOf));
    expect(await balanceOf(tenant, "bob")).toBe(10);
    await expectSoundBooks(tenant);
  });

  it(`53: is left alone after ${COPY_FAILURES_MAX} failures in a row, also when it works again`, async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    await one.submit(payment(tenant, "alice", "bob", 1));
    await idle(one);
    const calls = Array.from({ length: COPY_FAILURES_MAX + 1 }, () =>
      payment(tenant, "alice", "bob", 1),
    );
    for (const [failures, call] of calls.entries()) {
      storage.broken = failures < COPY_FAILURES_MAX;
      expect(verdict(await one.submit(call))).toBe(201);
      await idle(one);
    }

    expect(await copiesByState(one)).toEqual({ final: 1 });
    expect(tally(await one.submitAll(calls))).toEqual({ 201: calls.length });
    await expectSoundBooks(tenant);
  });

  it("53: and works again before that loses no copy", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    for (let round = 1; round <= 2; round++) {
      storage.broken = true;
      for (let failures = 1; failures < COPY_FAILURES_MAX; failures++) {
        await one.submit(payment(tenant, "alice", "bob", 1));
        await idle(one);
      }
      storage.broken = false;
      await one.submit(payment(tenant, "alice", "bob", 1));
      await idle(one);
    }

    expect(await copiesByState(one)).toEqual({ final: 2 * COPY_FAILURES_MAX });
  });

  it("53: and undoes the table with the first copy has it made again with the next, and the alarm has nothing to fail at", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    storage.unwritable = "copies";
    await one.submit(payment(tenant, "alice", "bob", 1));
    await idle(one);
    expect((await stored(one)).tables).toEqual([]);
    await one.sweep();
    storage.unwritable = undefined;
    await one.submit(payment(tenant, "alice", "bob", 1));
    await idle(one);

    expect(await copiesByState(one)).toEqual({ final: 2 });
    expect(one.alerts).toEqual([]);
  });

  it("53: an alarm that could not be set is set with the next copies", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    storage.alarmBroken = true;
    await one.submit(payment(tenant, "alice", "bob", 1));
    await idle(one);
    storage.alarmBroken = false;
    await one.submit(payment(tenant, "alice", "bob", 1));
    await idle(one);

    expect(await copiesByState(one)).toEqual({ final: 2 });
    expect((await stored(one)).alarmAtMs).not.toBeNull();
  });
});

describe("the sweep", () => {
  it("45: turns what has expired into tombstones, a page at a time, and sets its next alarm", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const count = SWEEP_PAGE_KEYS + 20;
    const calls = Array.from({ length: count }, () => brief(tenant));
    expect(tally(await one.submitAll(calls))).toEqual({ 200: count });
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);

    await one.sweep();

    expect(await copiesByState(one)).toEqual({ expired: SWEEP_PAGE_KEYS, final: 20 });
    expect(await journalByState(tenant)).toEqual({ expired: SWEEP_PAGE_KEYS, final: 20 });
    // The rest is due now.
    expect((await stored(one)).alarmAtMs).toBe(one.time.nowMs);

    await one.sweep();

    expect(await copiesByState(one)).toEqual({ expired: count });
    expect(await journalByState(tenant)).toEqual({ expired: count });
    const [call] = calls;
    const row = call && (await journalRow(tenant, call.key));
    expect(row).toMatchObject({ state: "expired", body: null, link: "/v1/products/mug" });
    // Nothing is due before the tombstones are.
    expect((await stored(one)).alarmAtMs).toBe((row?.expires_at_s ?? 0) * 1000 + TOMBSTONE_MS);
    expect(await quantityOf(tenant, "mug")).toBe(count);
  });

  it("a tombstone answers 410 with a link to what the key made, and is no key for another request", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const call = brief(tenant);
    await one.submit(call);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS + TOMBSTONE_MS - 2_000);
    await one.sweep();

    const { time } = one;
    for (const life of [one, sweeper({ time, object: one.object }), sweeper({ time })]) {
      expect(await life.submit(call)).toEqual({
        kind: "problem",
        code: "idempotency-key-expired",
        members: { link: "/v1/products/mug" },
      });
      const other = callOf(
        tenant,
        restockBriefly.name,
        { pieces: 2 },
        { key: call.key, params: { sku: "mug" } },
      );
      expect(verdict(await life.submit(other))).toBe("idempotency-key-reused");
      expect(await life.lookUp(call)).toMatchObject({ state: "expired", link: "/v1/products/mug" });
    }
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });

  it("forgets tombstones that are due, and gives the object's storage back with the last of them", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const calls = [brief(tenant), brief(tenant)];
    await one.submitAll(calls);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);
    await one.sweep();
    expect((await stored(one)).tables).toEqual(["copies"]);
    const call = calls[0] ?? brief(tenant);
    expect(verdict(await one.submit(call))).toBe("idempotency-key-expired");
    one.time.advance(TOMBSTONE_MS);

    await one.sweep();

    expect(await stored(one)).toEqual(EMPTY);
    expect(await journalSize(tenant)).toBe(0);
    const next = sweeper({ object: one.object, time: one.time });
    next.time.advance(60_000);
    expect(await one.lookUp(call)).toEqual({ state: "free" });
    // The life that remembered the key has forgotten it, too, and stores again when there is something to store.
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: false });
    await idle(one);
    expect(await copiesByState(one)).toEqual({ final: 1 });
    expect((await stored(one)).alarmAtMs).not.toBeNull();
  });

  it("45: that empties the storage leaves an alarm for what comes then, though somebody has looked when it was set before", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    await one.submit(brief(tenant));
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS + TOMBSTONE_MS);
    await one.run((_engine, { storage }) => storage.setAlarm(one.time.nowMs + 1));
    const held = one.db.hold();
    const sweeping = one.sweep();
    await held.arrived();
    const invalid = callOf(tenant, restock.name, {}, { params: { sku: "mug" }, detached: true });
    expect(verdict(await one.submit(invalid))).toBe("request-invalid");
    held.release();
    await sweeping;
    expect(await stored(one)).toEqual(EMPTY);

    await one.submit(brief(tenant));
    await idle(one);

    expect((await stored(one)).alarmAtMs).not.toBeNull();
  });

  it("45: that comes a month late finds expired and forgotten keys at once", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    await one.submit(brief(tenant));
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS + TOMBSTONE_MS);
    const young = brief(tenant);
    await one.submit(young);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);

    await one.sweep();

    expect(await journalByState(tenant)).toEqual({ expired: 1 });
    expect(await copiesByState(one)).toEqual({ expired: 1 });
  });

  it("45: twice, and twice at once, does what one does", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const old = brief(tenant);
    await one.submit(old);
    one.time.advance(KEY_LIFETIME_MS);
    const young = brief(tenant);
    await one.submit(young);
    await idle(one);

    await one.run((engine) => Promise.all([engine.sweep(), engine.sweep()]));
    const once = { copies: await copiesByState(one), ...(await stored(one)) };
    await one.sweep();

    expect({ copies: await copiesByState(one), ...(await stored(one)) }).toEqual({
      ...once,
      // Counted from the sweep, not from the last alarm.
      alarmAtMs: one.time.nowMs + SWEEP_INTERVAL_MS,
    });
    expect(once.copies).toEqual({ expired: 1, final: 1 });
    expect(await one.submit(young)).toMatchObject({ kind: "outcome", replayed: true });
    expect(verdict(await one.submit(old))).toBe("idempotency-key-expired");
    expect(await quantityOf(tenant, "mug")).toBe(2);
  });

  it("45: that ends after another one of the same page forgets nothing that was written in between", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    await one.submit(brief(tenant));
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);
    const held = [one.db.hold(), one.db.hold()] as const;
    const sweeps = [one.sweep(), one.sweep()] as const;
    for (const { arrived } of held) await arrived();
    held[0].release();
    await Promise.race(sweeps);
    await one.submit(brief(tenant));
    await idle(one);

    held[1].release();
    await Promise.all(sweeps);

    // The tombstone is due in a month, the copy behind it within a minute: as soon as the pass has rested.
    expect((await stored(one)).alarmAtMs).toBe(
      one.time.nowMs + SWEEP_INTERVAL_MS - 2 * COPY_IDLE_MS,
    );
  });

  it("45: that fails does not fail its alarm, which would be dropped in the end: it comes again", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const call = brief(tenant);
    await one.submit(call);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);
    one.db.always("lost-before", "lost");

    await one.sweep();

    expect(one.alerts).toMatchObject([{ event: "sweep-failed" }]);
    expect((await stored(one)).alarmAtMs).toBe(one.time.nowMs + SWEEP_RETRY_MS);
    expect(await copiesByState(one)).toEqual({ final: 1 });
    one.db.heal();
    await one.sweep();
    expect(await copiesByState(one)).toEqual({ expired: 1 });
    expect(await journalByState(tenant)).toEqual({ expired: 1 });
  });

  it("45: whose answer is lost leaves record and copy to agree in the next one", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const call = brief(tenant);
    await one.submit(call);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);
    one.db.next("lost-after");

    await one.sweep();
    expect(await journalByState(tenant)).toEqual({ expired: 1 });
    expect(await copiesByState(one)).toEqual({ final: 1 });
    expect(verdict(await one.submit(call))).toBe("idempotency-key-expired");

    await one.sweep();
    expect(await copiesByState(one)).toEqual({ expired: 1 });
  });

  it("45: is what the object's own alarm does", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    // So long ago that by the real clock the key has expired, and so lately that the alarm has not rung.
    const one = sweeper({ time: new VirtualTime(Date.now() - SWEEP_INTERVAL_MS + 60_000) });
    await one.submit(brief(tenant));
    await idle(one);

    expect(await runDurableObjectAlarm(env.KEY_OBJECT.getByName(one.object))).toBe(true);

    expect(await copiesByState(one)).toEqual({ expired: 1 });
    expect(await journalByState(tenant)).toEqual({ expired: 1 });
    expect((await stored(one)).alarmAtMs).toBeGreaterThan(Date.now() + TOMBSTONE_MS / 2);
  });

  it("45: that empties the storage leaves an alarm for copies that are written after it", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    await one.submit(brief(tenant));
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS + TOMBSTONE_MS);
    // Not written yet when the alarm rings.
    await one.submit(brief(tenant));

    await one.run(async (engine, { storage }) => {
      // The runtime takes the alarm away before it calls.
      await storage.deleteAlarm();
      await engine.sweep();
    });
    await idle(one);

    expect(await copiesByState(one)).toEqual({ final: 1 });
    expect((await stored(one)).alarmAtMs).not.toBeNull();
  });

  it("57: does not touch a key in flight or uncertain, however late it is", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const calls = [brief(tenant), brief(tenant), brief(tenant)];
    await one.submitAll(calls);
    await idle(one);
    // As an external effect under way would be recorded.
    const states = ["in-flight", "uncertain"];
    for (const [i, state] of states.entries()) {
      await env.DB.prepare("UPDATE journal SET state = ? WHERE tenant = ? AND key = ?")
        .bind(state, tenant, calls[i]?.key)
        .run();
    }
    one.time.advance(KEY_LIFETIME_MS + TOMBSTONE_MS);

    await one.sweep();

    expect(await journalByState(tenant)).toEqual({ "in-flight": 1, uncertain: 1 });
    const another = sweeper({ time: one.time });
    const replies = await another.submitAll(calls.slice(0, 2));
    expect(replies.map(verdict)).toEqual(["request-in-flight", "outcome-uncertain"]);
  });

  it("57: meets a run in flight, and that run ends with its outcome", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = sweeper();
    const old = brief(tenant);
    await one.submit(old);
    await idle(one);
    one.time.advance(KEY_LIFETIME_MS);
    const held = one.db.hold();
    const young = brief(tenant);
    const reply = one.submit(young);
    await held.arrived();

    await one.sweep();
    held.release();

    expect(verdict(await reply)).toBe(200);
    expect(await journalByState(tenant)).toEqual({ expired: 1, final: 1 });
    expect(await one.submit(young)).toMatchObject({ kind: "outcome", replayed: true });
    expect(await quantityOf(tenant, "mug")).toBe(2);
  });
});

describe("the sweep of an object with many copies", () => {
  const MANY = 25_000;

  /**
   * An object that holds one copy of a real outcome, and many that were made of it: of every `each`, one is due with it
   * after a minute, the rest in a day. Then its next life, which knows nothing of them.
   */
  const crowded = async (each: number, count = MANY) => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 0 } });
    // Ahead of the real clock, so that the runtime rings no alarm of its own.
    const before = sweeper({ time: new VirtualTime(Date.now() + 24 * 60 * 60 * 1000) });
    await before.submit(brief(tenant));
    await idle(before);
    await before.run((_engine, { storage }) =>
      storage.sql.exec(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO copies (key, tenant, epoch, due_at_s, copy)
         SELECT printf('key-%012d', i), tenant, epoch, due_at_s + later,
           json_set(copy, '$.record.expiresAtS', due_at_s + later)
         FROM (SELECT *, IIF(i % ?2 = 0, 0, 86400) AS later FROM n, copies)`,
        count - 1,
        each,
      ),
    );
    return { tenant, ...nextLife(before) };
  };

  const nextLife = ({ object, time }: Incarnation, epoch = 0) => {
    const storage = new FaultyStorage();
    const one = incarnation({
      object,
      time,
      epoch,
      storage: storage.around,
      operations: [...operations, restockBriefly],
    });
    return { one, storage };
  };

  /** Rings as long as the alarm is set for now. Returns how many copies each ring has read. */
  const ring = async (one: Incarnation, storage: FaultyStorage): Promise<number[]> => {
    const reads: number[] = [];
    do {
      const { read } = storage.rowsOf("copies");
      await one.sweep();
      reads.push(storage.rowsOf("copies").read - read);
    } while ((await stored(one)).alarmAtMs === one.time.nowMs);
    return reads;
  };

  /** A page, and each that is due on it once more. */
  const READ_MAX = SWEEP_SCAN_ROWS + SWEEP_PAGE_KEYS;

  it("45: reads a bounded number of them at each alarm, and ends with all swept that are due, and no other", async () => {
    const { one, storage } = await crowded(10);
    one.time.advance(KEY_LIFETIME_MS);

    const reads = await ring(one, storage);

    expect(Math.max(...reads)).toBeLessThanOrEqual(READ_MAX);
    expect(reads).toHaveLength(Math.ceil(MANY / SWEEP_SCAN_ROWS) + 1);
    expect(await copiesByState(one)).toEqual({ expired: MANY / 10, final: MANY - MANY / 10 });
    // Two days later all that is left, in the pages of as many as a sweep may hold.
    one.time.advance(2 * 24 * 60 * 60 * 1000);
    const rest = await ring(one, storage);
    expect(Math.max(...rest)).toBeLessThanOrEqual(READ_MAX);
    expect(await copiesByState(one)).toEqual({ expired: MANY });
  });

  it("is one row written for each that expires, as its copy was when it was made", async () => {
    const { one, storage } = await crowded(10, 1_000);
    one.time.advance(KEY_LIFETIME_MS);
    const before = storage.rowsOf("copies");

    await ring(one, storage);

    expect(storage.rowsOf("copies").written - before.written).toBe(100);
  });

  it("does not begin with an alarm for an accepted request: that reads none of them", async () => {
    const { tenant, one, storage } = await crowded(10);
    await ring(one, storage);
    const accept = async () => {
      one.db.always("lost-before", "lost");
      const call = payment(tenant, "alice", "bob", 1, { detached: true });
      expect(verdict(await one.submit(call))).toBe("accepted");
      expect(
        verdict(await one.time.passing(one.submit({ ...call, detached: false, waitMs: 20_000 }))),
      ).not.toBe(201);
      one.db.heal();
      one.time.advance(INTENT_GRACE_MS);
      const { read } = storage.rowsOf("copies");
      await one.sweep();
      return { call, read: storage.rowsOf("copies").read - read };
    };

    // Nothing is due yet; and then something is all the time, but the last pass rests.
    for (const waitMs of [0, KEY_LIFETIME_MS]) {
      one.time.advance(waitMs);
      const { call, read } = await accept();
      expect(read).toBe(0);
      expect(await one.submit({ ...call, detached: false })).toMatchObject({ replayed: true });
    }
    expect(await balanceOf(tenant, "bob")).toBe(2);
    // The alarm that was set meanwhile is no later than the end of the rest.
    const { alarmAtMs } = await stored(one);
    expect(alarmAtMs).toBeLessThanOrEqual(one.time.nowMs + SWEEP_INTERVAL_MS);
    one.time.setTo(alarmAtMs ?? 0);
    await ring(one, storage);
    expect(await copiesByState(one)).toMatchObject({ expired: MANY / 10 });
  });

  it("does not miss a copy that is written behind it while it is under way", async () => {
    const { tenant, one, storage } = await crowded(MANY);
    // The one that is due is swept with the first page; all others are due in a day.
    one.time.advance(KEY_LIFETIME_MS);
    await one.sweep();
    const early = callOf(
      tenant,
      restockBriefly.name,
      { pieces: 1 },
      { key: "!".repeat(20), params: { sku: "mug" } },
    );
    await one.submit(early);
    await idle(one);
    await ring(one, storage);

    const { alarmAtMs } = await stored(one);
    expect(alarmAtMs).toBeLessThanOrEqual(one.time.nowMs + SWEEP_INTERVAL_MS);
    one.time.setTo(alarmAtMs ?? 0);
    await ring(one, storage);

    expect(await one.lookUp(early)).toMatchObject({ state: "expired" });
    const [state] = await one.run((_engine, object) =>
      object.storage.sql
        .exec(
          "SELECT json_extract(copy, '$.record.state') AS state FROM copies WHERE key = ?",
          early.key,
        )
        .toArray(),
    );
    expect(state).toEqual({ state: "expired" });
  });

  it("loses nothing when the object is restarted in its middle, or D1 is away", async () => {
    const { one, storage } = await crowded(1, 3_000);
    one.time.advance(KEY_LIFETIME_MS);
    await one.sweep();
    await one.sweep();
    one.db.always("lost-before", "lost");
    await one.sweep();
    expect(await copiesByState(one)).toEqual({ expired: 2 * SWEEP_PAGE_KEYS, final: 2_000 });
    const { alarmAtMs } = await stored(one);
    expect(alarmAtMs).toBe(one.time.nowMs + SWEEP_RETRY_MS);

    const next = nextLife(one);
    await ring(next.one, next.storage);

    expect(await copiesByState(next.one)).toEqual({ expired: 3_000 });
    // The life before it would have gone on where it was.
    one.db.heal();
    await ring(one, storage);
    expect(await copiesByState(one)).toEqual({ expired: 3_000 });
  });

  it("rests between two passes for as long as its rows are worth: a million of them an hour", async () => {
    const count = 300_000;
    const { one, storage } = await crowded(count, count);
    const reads = await ring(one, storage);
    expect(Math.max(...reads)).toBeLessThanOrEqual(READ_MAX);
    const restsUntilMs = one.time.nowMs + count * SWEEP_REST_MS_PER_ROW;
    expect(restsUntilMs).toBeGreaterThan(one.time.nowMs + SWEEP_INTERVAL_MS);

    expect((await stored(one)).alarmAtMs).toBe(restsUntilMs);
    one.time.setTo(restsUntilMs - 1_000);
    expect(await ring(one, storage)).toEqual([0]);
    expect((await stored(one)).alarmAtMs).toBe(restsUntilMs);
  });

  it("79: leaves a copy alone that is younger than the page: of a key that a restore has freed, and that ran anew", async () => {
    const { tenant, one: before } = await crowded(1, 1);
    const call = brief(tenant);
    await before.submit(call);
    await idle(before);
    before.time.advance(KEY_LIFETIME_MS);
    await env.DB.prepare("DELETE FROM journal WHERE tenant = ?").bind(tenant).run();
    const { one } = nextLife(before, 1);
    const held = one.db.hold();
    const swept = one.sweep();
    await held.arrived();
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: false });
    await idle(one);

    held.release();
    await swept;

    expect(await copiesByState(one)).toEqual({ final: 1 });
    expect((await stored(one)).alarmAtMs).toBeGreaterThan(one.time.nowMs);
    const { one: next } = nextLife(one, 1);
    next.db.always("lost-before", "lost");
    expect(await next.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
  });
});

const journalByState = async (tenant: string): Promise<Record<string, number>> => {
  const { results } = await env.DB.prepare(
    "SELECT state, COUNT(*) AS n FROM journal WHERE tenant = ? GROUP BY state",
  )
    .bind(tenant)
    .all<{ state: string; n: number }>();
  return Object.fromEntries(results.map(({ state, n }) => [state, n]));
};
