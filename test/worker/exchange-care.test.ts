/** What the alarm and an earlier life of an object may not do: send beside a call, take what is another claim's, hurry. */
import { describe, expect, it } from "vitest";
import { env } from "cloudflare:workers";
import type { Database } from "../../src/journal/database.ts";
import { takeOver } from "../../src/journal/settlements.ts";
import { ORPHAN_AGE_MS } from "../../src/kernel/limits.ts";
import { Exchanges } from "../../src/objects/exchanges.ts";
import { until } from "../support/faulty-database.ts";
import {
  ASKABLE,
  exchangeCall,
  PAUSE_MS,
  POLICY,
  rowOf,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

describe("a retry", () => {
  it("never runs while another is in flight, however often the alarm goes off and somebody asks", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    // Past the end of the call by the clock, and it hangs all the same.
    for (let i = 0; i < 4; i++) {
      object.time.advance(30_000);
      await object.alarm();
      expect(verdict(await object.exchange(call))).toBe("request-in-flight");
      expect(await object.run((engine) => engine.redrive(call.key, "operator"))).toBe("running");
    }
    expect(upstream.calls).toBe(1);
    upstream.release();
    expect(await first).toMatchObject({ status: 201, replayed: false });
    expect(upstream.calls).toBe(1);
  });

  it("is left to the call's own end by the reconciliation, where an earlier life may still be at it", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push("hang");
    const zombie = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });
    const late = zombie.exchange(call);
    await until(() => upstream.calls === 1);
    const next = incarnation({ upstream, object: zombie.object, time: zombie.time });
    const redriven = await next.run((engine) => engine.redrive(call.key, "reconciliation"));
    expect([redriven, upstream.calls]).toEqual(["running", 1]);
    next.time.advance(60_000);
    expect(await next.run((engine) => engine.redrive(call.key, "reconciliation"))).toBe("taken-up");
    expect(upstream.calls).toBe(2);
    upstream.release();
    await late;
    expect(upstream.effectsOf(call.key)).toBe(1);
  });
});

describe("45: two alarms at once", () => {
  it("sweep a key once: what is claimed under it in between stays, and is called once", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    await object.exchange(call);
    await object.settled();
    object.time.advance((POLICY.keyLifetimeSeconds + POLICY.tombstoneSeconds + 1) * 1_000);
    const slow = object.db.hold();
    const first = object.alarm();
    await slow.arrived();
    await object.alarm();
    expect(await rowOf(call)).toBeNull();

    upstream.faults.push("hang");
    const anew = object.exchange(call);
    await until(() => upstream.calls === 2);
    slow.release();
    await first;
    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    upstream.release();
    expect(await anew).toMatchObject({ status: 201, replayed: false });
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.calls).toBe(2);
  });
});

describe("a claim whose object died before it called", () => {
  /** The row is in flight, and nothing was called; and what the next life of its object knows. */
  const claimed = async () => {
    const upstream = new Upstream();
    const storage = new FaultyStorage();
    const dead = incarnation({ upstream, storage: storage.around });
    const call = exchangeCall(tenantOf());
    const held = dead.db.hold();
    const unheard = dead.exchange(call);
    await held.arrived();
    storage.broken = true;
    held.release("stalled-after");
    await dead.db.stalled(1);
    const end = async (): Promise<void> => {
      dead.db.endStalls();
      await dead.time.passing(unheard);
    };
    const row = await rowOf(call);
    if (row?.state !== "in-flight") throw new Error("It was not claimed.");
    const next = incarnation({ upstream, object: dead.object, time: dead.time });
    return { upstream, call, row, next, end };
  };

  it("57: is released by nobody but its own object, and not before it is old: its request may be about to be called", async () => {
    const { upstream, call, row, next, end } = await claimed();
    const recover = (object: string) =>
      next.run((engine) => engine.recover(call.tenant, call.key, object));
    await recover(row.object);
    expect(await rowOf(call)).toEqual(row);
    next.time.advance(ORPHAN_AGE_MS);
    await recover("another/0");
    expect(await rowOf(call)).toEqual(row);
    await recover(row.object);
    expect(await rowOf(call)).toBeNull();
    expect(next.alerts).toEqual(["orphaned-claim-released"]);
    expect(upstream.calls).toBe(0);
    await end();
  });

  it("42: is taken over by one of two that have seen it so", async () => {
    const { call, row, end } = await claimed();
    const seen = { tenant: call.tenant, key: call.key, nonce: row.nonce, attempt: row.attempt };
    expect(await takeOver(env.DB, seen, "first")).toBe(true);
    expect(await takeOver(env.DB, seen, "second")).toBe(false);
    expect(await rowOf(call)).toMatchObject({ nonce: "first", attempt: row.attempt + 1 });
    await end();
  });

  it("42: is taken over while its own life hears of the claim: that finds the other's call, and makes none", async () => {
    const upstream = new Upstream();
    const gate = { isCommitted: false, isOpen: false };
    const slow: Database = {
      prepare: (text) => env.DB.prepare(text),
      batch: async <Row>(statements: D1PreparedStatement[]) => {
        const results = await env.DB.batch<Row>(statements);
        gate.isCommitted = true;
        await until(() => gate.isOpen);
        return results;
      },
    };
    const one = incarnation({ upstream, parts: { databaseFor: () => Promise.resolve(slow) } });
    const call = exchangeCall(tenantOf());
    const first = one.exchange(call);
    await until(() => gate.isCommitted);
    const next = incarnation({ upstream, object: one.object, time: one.time });

    expect(await next.exchange(call)).toMatchObject({ status: 201, replayed: false });
    gate.isOpen = true;

    expect(verdict(await first)).toBe("temporarily-unavailable");
    expect(await next.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.calls).toBe(1);
    expect(await rowOf(call)).toMatchObject({ state: "final", attempt: 2 });
  });

  it.each([
    ["is uncertain by now", "state = 'uncertain'"],
    ["has its outcome by now", "state = 'final', headers = '{}', body = ''"],
    ["was tried again meanwhile", "attempt = attempt + 1"],
  ])(
    "76: is not taken over if it %s: a call that may have been made is not made again",
    async (_, change) => {
      const { call, row, end } = await claimed();
      const seen = { tenant: call.tenant, key: call.key, nonce: row.nonce, attempt: row.attempt };
      await env.DB.prepare(`UPDATE journal SET ${change} WHERE tenant = ? AND key = ?`)
        .bind(call.tenant, call.key)
        .run();
      const before = await rowOf(call);

      expect(await takeOver(env.DB, seen, "late")).toBe(false);

      expect(await rowOf(call)).toEqual(before);
      await end();
    },
  );
});

describe("an exchange that is closed", () => {
  it.each([
    ["final", {}, "none", 201],
    ["uncertain, and cannot be asked for", {}, "reset-after", "outcome-uncertain"],
  ] as const)(
    "68: keeps no credential and no body of its call: %s",
    async (_how, policy, fault, heard) => {
      const upstream = new Upstream();
      upstream.faults.push(fault);
      const object = incarnation({ upstream });
      const body = new TextEncoder().encode("card=4242424242424242");
      const call = exchangeCall(tenantOf(), { policy, body });
      expect(verdict(await object.exchange(call))).toBe(heard);
      const kept = await object.run((_engine, { storage }) =>
        JSON.stringify(
          storage.sql.exec("SELECT record, CAST(bytes AS TEXT) AS bytes FROM exchanges").toArray(),
        ),
      );
      expect(kept).toContain(call.key);
      expect(kept).not.toContain("Bearer upstream");
      expect(kept).not.toContain("4242");
    },
  );

  it("68: but for the question: of an uncertain one that can be asked for the headers stay, and the body goes", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-after");
    const object = incarnation({ upstream });
    const policy = { status: ASKABLE, heal: { attemptsMax: 1, elapsedMsMax: -1 } };
    const call = exchangeCall(tenantOf(), { policy });
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    const [exchange, bytes] = await object.run((_engine, { storage }) => {
      const rows = new Exchanges(storage);
      return [rows.find(call.key), rows.bytes(call.key).byteLength] as const;
    });
    expect(exchange?.input?.headers).toContainEqual(["authorization", "Bearer upstream"]);
    expect(bytes).toBe(0);
  });
});

describe("Retry-After while a call is under way", () => {
  it("is how long such calls usually go on, and never past the end of this one", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const policy = { timeoutMs: 60_000 };
    upstream.answer = () => {
      object.time.advance(20_000);
      return Response.json({});
    };
    for (let i = 0; i < 3; i++) await object.exchange(exchangeCall(tenant, { policy }));

    upstream.answer = () => Response.json({});
    upstream.faults.push("hang");
    const call = exchangeCall(tenant, { policy });
    const slow = object.exchange(call);
    await until(() => upstream.calls === 4);
    const advised = async (): Promise<number | undefined> => {
      const heard = await object.exchange(call);
      return heard.kind === "problem" ? heard.afterMs : undefined;
    };
    expect(await advised()).toBe(20_000);
    object.time.advance(15_000);
    expect(await advised()).toBe(5_000);
    // Slower than any before: as long again, but no longer than it may take.
    object.time.advance(30_000);
    expect(await advised()).toBe(20_000);
    expect(await object.run((engine) => engine.lookUp(call.key))).toMatchObject({
      state: "in-flight",
      afterMs: 20_000,
    });
    upstream.release();
    await slow;
  });

  it("58: is no longer for a clock that was set back an hour", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    upstream.answer = () => {
      object.time.advance(3_000);
      return Response.json({});
    };
    await object.exchange(exchangeCall(tenant));
    upstream.faults.push("hang");
    const call = exchangeCall(tenant);
    const slow = object.exchange(call);
    await until(() => upstream.calls === 2);
    object.time.advance(-3_600_000);
    expect(await object.exchange(call)).toMatchObject({ afterMs: 3_000 });
    object.time.advance(3_600_000);
    upstream.release();
    await slow;
  });

  it("is a second where nothing is known of such calls", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const slow = object.exchange(call);
    await until(() => upstream.calls === 1);
    expect(await object.exchange(call)).toMatchObject({ afterMs: PAUSE_MS });
    upstream.release();
    await slow;
  });
});
