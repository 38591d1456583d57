/** Several lives of one object, at once or one after the other: only D1 decides. */
import { abortAllDurableObjects } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import type { BatchFault } from "../support/faulty-database.ts";
import {
  balanceOf,
  effectsByKey,
  expectSoundBooks,
  journalRow,
  openBooks,
} from "./support/books.ts";
import { bodyOf, payment, stockChange, tally, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const books = () => openBooks({ accounts: { alice: 1_000, bob: 0 }, products: { mug: 10 } });

describe("42: two live incarnations of one object", () => {
  it("42: with one request at the same time have one effect and one answer", async () => {
    const tenant = await books();
    const one = incarnation();
    const other = incarnation();
    const call = payment(tenant, "alice", "bob", 10);
    const held = [one.db.hold(), other.db.hold()];
    const replies = [one.submit(call), other.submit(call)];
    for (const { arrived } of held) await arrived();
    for (const { release } of held) release();

    const [mine, theirs] = await Promise.all(replies);

    expect([mine, theirs].map((reply) => reply && bodyOf(reply))).toEqual(
      Array.from({ length: 2 }, () => mine && bodyOf(mine)),
    );
    const runs = [mine, theirs].filter((reply) => reply?.kind === "outcome" && !reply.replayed);
    expect(runs).toHaveLength(1);
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("42: with two different requests under one key run one and refuse the other", async () => {
    const tenant = await books();
    const one = incarnation();
    const other = incarnation();
    const call = payment(tenant, "alice", "bob", 10);
    const different = payment(tenant, "alice", "bob", 20, { key: call.key });
    const held = [one.db.hold(), other.db.hold()];
    const replies = [one.submit(call), other.submit(different)];
    for (const { arrived } of held) await arrived();
    for (const { release } of held) release();

    expect(tally(await Promise.all(replies))).toEqual({ 201: 1, "idempotency-key-reused": 1 });
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("42: with the same twenty keys, three times each and all at once, have one effect for each", async () => {
    const tenant = await books();
    const one = incarnation();
    const other = incarnation();
    const calls = Array.from({ length: 20 }, (_, i) =>
      i % 2 === 0
        ? payment(tenant, "alice", "bob", 1, { waitMs: 20_000 })
        : stockChange(tenant, "mug", -1, { waitMs: 20_000 }),
    );
    const crowd = [...calls, ...calls, ...calls];

    const replies = (await Promise.all([one.submitAll(crowd), other.submitAll(crowd)])).flat();

    expect(tally(replies)).toEqual({ 200: 60, 201: 60 });
    calls.forEach((_, i) => {
      const bodies = replies.filter((_reply, at) => at % calls.length === i).map(bodyOf);
      expect(new Set(bodies).size).toBe(1);
    });
    expect(await effectsByKey(tenant)).toEqual(new Map(calls.map(({ key }) => [key, 1])));
    await expectSoundBooks(tenant);
  });

  it("42: one whose answer was lost finds the other's commit and replays it", async () => {
    const tenant = await books();
    const one = incarnation();
    const other = incarnation();
    const call = payment(tenant, "alice", "bob", 10);
    const held = one.db.hold();
    const reply = one.time.passing(one.submit(call));
    await held.arrived();
    const elsewhere = await other.submit(call);
    held.release("lost-after");

    expect(await reply).toMatchObject({ kind: "outcome", replayed: true });
    expect(bodyOf(await reply)).toBe(bodyOf(elsewhere));
    expect(one.batches).toHaveLength(1);
    expect(await balanceOf(tenant, "bob")).toBe(10);
    await expectSoundBooks(tenant);
  });
});

describe("48: the first request ends after its retry", () => {
  it("48: and gets the retry's answer", async () => {
    const tenant = await books();
    const one = incarnation();
    const other = incarnation();
    const call = payment(tenant, "alice", "bob", 10);
    const held = one.db.hold();
    const first = one.submit(call);
    await held.arrived();
    const retry = await other.submit(call);
    held.release();

    expect(retry).toMatchObject({ kind: "outcome", replayed: false });
    expect(await first).toMatchObject({ kind: "outcome", replayed: true });
    expect(bodyOf(await first)).toBe(bodyOf(retry));
    // From its own copy, too.
    expect(bodyOf(await one.submit(call))).toBe(bodyOf(retry));
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("48: and gets the retry's refusal, though there is money by now", async () => {
    const tenant = await openBooks({ accounts: { alice: 0, bob: 0 } });
    const one = incarnation();
    const other = incarnation();
    const call = payment(tenant, "alice", "bob", 10);
    const held = one.db.hold();
    const first = one.submit(call);
    await held.arrived();
    const retry = await other.submit(call);
    await other.submit(payment(tenant, "system:EUR", "alice", 100));
    held.release();

    expect(verdict(retry)).toBe(402);
    expect(bodyOf(await first)).toBe(bodyOf(retry));
    expect(await balanceOf(tenant, "alice")).toBe(100);
    await expectSoundBooks(tenant);
  });
});

describe("44: an object that is reset while a batch is under way", () => {
  it.each<{ fault: BatchFault; where: string; status: number; replayed: boolean }>([
    {
      fault: "stalled-before",
      where: "before the commit: the next life runs",
      status: 201,
      replayed: false,
    },
    {
      fault: "stalled-after",
      where: "after the commit: the next life replays",
      status: 201,
      replayed: true,
    },
  ])("44: $where", async ({ fault, status, replayed }) => {
    const tenant = await books();
    const one = incarnation();
    one.db.next(fault);
    const call = payment(tenant, "alice", "bob", 10);
    const lost = one.submit(call);
    const broken = lost.then(() => undefined, String);
    await one.db.stalled(1);

    await abortAllDurableObjects();

    expect(await broken).toContain("abortAllDurableObjects");
    const next = incarnation({ object: one.object });
    const retry = await next.submit(call);
    expect(verdict(retry)).toBe(status);
    expect(retry).toMatchObject({ replayed });
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("44: while it looks for a lost batch that arrives only after the next life has answered", async () => {
    const tenant = await books();
    const one = incarnation();
    one.db.next("late");
    one.db.nextReads("stalled");
    const call = payment(tenant, "alice", "bob", 10);
    const lost = one.submit(call);
    const broken = lost.then(() => undefined, String);
    await one.db.stalled(1);

    await abortAllDurableObjects();

    expect(await broken).toContain("abortAllDurableObjects");
    const next = incarnation({ object: one.object });
    // It knows nothing of that batch, and knows that it does not.
    expect(await next.lookUp(call)).toMatchObject({ state: "unknown-yet" });
    const retry = await next.submit(call);
    expect(await one.db.deliverLate()).toBe(1);
    expect(retry).toMatchObject({ kind: "outcome", replayed: false });
    expect(bodyOf(await incarnation().submit(call))).toBe(bodyOf(retry));
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    expect(await journalRow(tenant, call.key)).toMatchObject({ deliveries: 1 });
    await expectSoundBooks(tenant);
  });

  it("44: with a full queue loses nobody's key: every one of them runs once when it is retried", async () => {
    const tenant = await books();
    const one = incarnation();
    one.db.next("stalled-after");
    const calls = Array.from({ length: 30 }, () => payment(tenant, "alice", "bob", 1));
    const lost = one.submitAll(calls);
    const broken = lost.then(() => undefined, String);
    await one.db.stalled(1);

    await abortAllDurableObjects();

    expect(await broken).toContain("abortAllDurableObjects");
    const next = incarnation({ object: one.object });
    expect(tally(await next.submitAll(calls))).toEqual({ 201: 30 });
    expect(await effectsByKey(tenant)).toEqual(new Map(calls.map(({ key }) => [key, 1])));
    await expectSoundBooks(tenant);
  });
});
