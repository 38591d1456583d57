/** D1 is restored to an earlier time, and the objects are not: what is outside the database was done all the same. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { ExchangeCall, Resolution } from "../../src/objects/exchange-call.ts";
import { operationCallOf } from "../../src/objects/operation-exchange.ts";
import { openBooks } from "./support/books.ts";
import { callOf } from "./support/calls.ts";
import { exchangeCall, rowOf, tenantOf, useExchanges, verdict } from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

/** What a restore to before the claim does to it. */
const forget = async ({ tenant, key }: ExchangeCall): Promise<void> => {
  await env.DB.prepare("DELETE FROM journal WHERE tenant = ? AND key = ?").bind(tenant, key).run();
};

/** A call that is under way, and whose claim D1 has lost meanwhile. It hangs until the upstream is released. */
const calledAndForgotten = async () => {
  const upstream = new Upstream();
  upstream.faults.push("hang");
  const object = incarnation({ upstream });
  const call = exchangeCall(tenantOf());
  const first = object.exchange(call);
  await untilCalled(call, upstream);
  await forget(call);
  return { upstream, object, call, first };
};

const untilCalled = async (call: ExchangeCall, upstream: Upstream): Promise<void> => {
  while ((await rowOf(call)) === null || upstream.calls === 0) await scheduler.wait(1);
};

/** The whole row, but for who asked. */
const wholeRowOf = async ({ tenant, key }: ExchangeCall) => {
  const row = await env.DB.prepare("SELECT * FROM journal WHERE tenant = ? AND key = ?")
    .bind(tenant, key)
    .first();
  if (row === null) return null;
  const { actor: _actor, request_id: _id, key_hash: _hash, attempt: _attempt, ...rest } = row;
  return rest;
};

const auditOf = async ({ tenant }: ExchangeCall) => {
  const { results } = await env.DB.prepare(
    "SELECT kind, actor, detail ->> 'writtenAgain' AS again FROM audit WHERE tenant = ? ORDER BY seq",
  )
    .bind(tenant)
    .all();
  return results;
};

/** What an object hears that knows nothing of the key, once keys are spread anew; and whom it asks instead of calling. */
const heardElsewhere = async (call: ExchangeCall, upstream: Upstream) => {
  const asked: string[] = [];
  const heard = await incarnation({
    upstream,
    parts: {
      forward: (object) => {
        asked.push(object);
        return Promise.resolve({ kind: "problem", code: "request-in-flight" });
      },
    },
  }).exchange(call);
  return asked.length > 0 ? asked : verdict(heard);
};

const record = { reason: "Seen there.", by: "latchkey t1", atMs: 1_800_000_000_000 };
const notExecuted: Resolution = {
  outcome: { kind: "not-executed" },
  record: { ...record, outcome: "not-executed", status: null, digest: "d2" },
};

describe("79: a claim that D1 has lost while the call was under way", () => {
  it.each([
    ["final", 201],
    ["uncertain", "outcome-uncertain"],
  ] as const)(
    "79: is written again when it is %s, so that another object does not call",
    async (state, heard) => {
      const upstream = new Upstream();
      upstream.faults.push("hang");
      const object = incarnation({ upstream });
      const call = exchangeCall(tenantOf());
      const first = object.exchange(call);
      await untilCalled(call, upstream);
      const claim = await wholeRowOf(call);
      await forget(call);
      if (state === "final") upstream.release();
      else await object.timeOut(call);

      expect(verdict(await first)).toBe(heard);
      await object.settled();
      const again = await wholeRowOf(call);
      expect(again).toMatchObject({ state, object: object.object });
      const { state: _s, status: _st, headers: _h, body: _b, link: _l, ...claimed } = claim ?? {};
      expect(again).toMatchObject(claimed);
      expect(object.alerts).toContain("row-written-again");
      expect(object.alerts).not.toContain("settlement-without-row");
      // The claim was audited when it was made; that row would be gone with a real restore.
      expect(await auditOf(call)).toEqual([
        { kind: "started", actor: "somebody", again: null },
        { kind: "started", actor: "service", again: 1 },
        { kind: "outcome", actor: "service", again: null },
      ]);
      expect(await heardElsewhere(call, upstream)).toEqual(
        state === "final" ? [object.object] : heard,
      );
      expect(upstream.calls).toBe(1);
    },
  );

  it("79: is written once, however often its batch arrives, and with a lost answer too", async () => {
    const { upstream, object, call, first } = await calledAndForgotten();
    object.db.next("none", "twice-lost");
    upstream.release();
    await first;
    await object.settled();
    await object.nextAlarm();

    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
    expect((await auditOf(call)).map(({ kind }) => kind)).toEqual([
      "started",
      "started",
      "outcome",
    ]);
    expect(object.alerts).not.toContain("settlement-without-row");
  });

  it("79: is not written over the row of another claim, and somebody is told", async () => {
    const { upstream, object, call, first } = await calledAndForgotten();
    const other = incarnation({ upstream, time: object.time });
    expect(await other.exchange(call)).toMatchObject({ status: 201, replayed: false });
    await other.settled();
    const row = await wholeRowOf(call);
    upstream.release();
    await first;
    await object.settled();

    expect(row).toMatchObject({ object: other.object, state: "final" });
    expect(await wholeRowOf(call)).toEqual(row);
    expect(object.alerts).toContain("settlement-without-row");
  });

  it("79: that a person sets free keeps the person's word, and stays free when a late batch would write it again", async () => {
    const upstream = new Upstream();
    upstream.faults.push(500);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    await object.exchange(call);
    await object.settled();
    await forget(call);
    // It is sent, arrives twice, and the second time after the key was set free.
    await object.run((_engine, { storage }) =>
      storage.sql.exec("UPDATE exchanges SET settle_at_ms = ?, due_at_ms = ?", 0, 0),
    );
    object.db.next("none", "twice-late");
    await object.alarm();
    expect(await rowOf(call)).toMatchObject({ state: "uncertain" });
    await forget(call);

    const say = () => object.run((engine) => engine.resolve(call.tenant, call.key, notExecuted));
    expect(await say()).toEqual({ kind: "resolved" });
    await object.db.deliverLate();
    expect(await rowOf(call)).toBeNull();
    const { results } = await env.DB.prepare("SELECT outcome FROM resolutions WHERE tenant = ?")
      .bind(call.tenant)
      .all();
    expect(results).toEqual([{ outcome: "not-executed" }]);
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: false });
  });
});

describe("79: what D1 has lost of keys that were settled", () => {
  it("79: is told again by every object once, when RESTORE_EPOCH is raised", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const done = exchangeCall(tenant);
    const doubtful = exchangeCall(tenant);
    const open = exchangeCall(tenant);
    await object.exchange(done);
    await object.exchange(open);
    upstream.faults.push(500);
    await object.exchange(doubtful);
    await object.settled();
    const before = await Promise.all([done, open, doubtful].map(wholeRowOf));
    await forget(done);
    await forget(doubtful);
    // This one's claim is in what was restored, and its outcome is not.
    await env.DB.prepare("UPDATE journal SET state = 'in-flight' WHERE tenant = ? AND key = ?")
      .bind(tenant, open.key)
      .run();

    const next = incarnation({
      upstream,
      object: object.object,
      time: object.time,
      parts: { epoch: 1 },
    });
    expect(await next.exchange(done)).toMatchObject({ status: 201, replayed: true });
    await next.nextAlarm();
    await next.settled();

    expect(await Promise.all([done, open, doubtful].map(wholeRowOf))).toEqual(before);
    expect(await heardElsewhere(doubtful, upstream)).toBe("outcome-uncertain");
    expect(await heardElsewhere(done, upstream)).toEqual([object.object]);
    expect(upstream.calls).toBe(3);
    // And not again in its next life.
    const later = incarnation({
      upstream,
      object: object.object,
      time: object.time,
      parts: { epoch: 1 },
    });
    await forget(done);
    await later.exchange(done);
    expect((await later.alarmAtMs()) ?? 0).toBeGreaterThan(later.time.nowMs + 60_000);
  });

  it("79: is told again by the hourly pass, if the claim is there and in flight for long", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    await object.exchange(call);
    await object.settled();
    const before = await wholeRowOf(call);
    await env.DB.prepare("UPDATE journal SET state = 'in-flight' WHERE tenant = ?")
      .bind(call.tenant)
      .run();

    await object.run((engine) => engine.recover(call.tenant, call.key, object.object));
    await object.alarm();
    expect(await wholeRowOf(call)).toEqual(before);
    expect(upstream.calls).toBe(1);
  });

  it("79: is left as it is of an operation, whose effects in the database are gone with it: somebody is told", async () => {
    const upstream = new Upstream();
    upstream.answer = () => Response.json({ id: "tr_1", state: "paid" });
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const tenant = await openBooks({ accounts: { alice: 1_000 } });
    const call = operationCallOf(
      callOf(tenant, "payouts.create", {
        account: "alice",
        amountMinor: 300,
        currency: "EUR",
        destination: "DE00",
      }),
      env.FINGERPRINT_SECRET,
    );
    const first = object.exchange(call);
    await untilCalled(call, upstream);
    await forget(call);
    upstream.release();

    expect(await first).toMatchObject({ status: 201 });
    await object.settled();
    expect(await rowOf(call)).toBeNull();
    expect(object.alerts).toContain("settlement-without-row");
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.calls).toBe(1);
  });
});
