/** What an object and a database have room for: beyond it a new key gets 503 with a time, stays free, and runs later. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  RETRY_AFTER_DEFAULT_MS,
  RETRY_FULL_MS,
  UPSTREAM_CALLS_MAX,
  WAITERS_PER_KEY_MAX,
} from "../../src/kernel/limits.ts";
import type { ExchangeCall } from "../../src/objects/exchange-call.ts";
import type { UpstreamRequest } from "../../src/objects/exchange-upstream.ts";
import { until } from "../support/faulty-database.ts";
import { exchangeCall, rowOf, tenantOf, useExchanges, verdict } from "./support/exchanges.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

/** One upstream alone may not take all flights. */
const toUpstream = (tenant: string, binding: string, body?: Uint8Array): ExchangeCall =>
  exchangeCall(tenant, {
    policy: { upstream: { kind: "service", binding } },
    ...(body === undefined ? {} : { body }),
  });

describe("an object with much under way", () => {
  it.each([
    ["128 calls", 64, undefined],
    ["32 MiB of requests", 16, new Uint8Array(1024 * 1024).fill(1)],
  ])(
    "takes no more than %s: 503 with a time, the key is free, and what was used is answered all the same",
    async (_name, each, body) => {
      const upstream = new Upstream();
      const object = incarnation({ upstream });
      const tenant = tenantOf();
      const used = exchangeCall(tenant);
      await object.exchange(used);
      const calls = ["A", "B"].flatMap((binding) =>
        Array.from({ length: each }, () => toUpstream(tenant, binding, body)),
      );
      upstream.faults.push(...calls.map(() => "hang" as const));
      const underWay = calls.map((call) => object.exchange(call));
      await until(() => upstream.calls === 1 + calls.length);
      const more = toUpstream(tenant, "C", body);

      expect(await object.exchange(more)).toMatchObject({
        code: "temporarily-unavailable",
        afterMs: RETRY_AFTER_DEFAULT_MS,
      });
      expect(await rowOf(more)).toBeNull();
      expect(await object.exchange(used)).toMatchObject({ status: 201, replayed: true });

      upstream.release();
      for (const heard of await Promise.all(underWay)) expect(verdict(heard)).toBe(201);
      expect(await object.exchange(more)).toMatchObject({ status: 201, replayed: false });
      expect(upstream.calls).toBe(calls.length + 2);
    },
  );
});

describe("67: one key", () => {
  it("has no more than 100 who wait for it: the next one hears 423 at once, and nobody calls", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    const patient = { ...call, waitMs: 50_000 };
    const heard: (number | string)[] = [];
    const waiting = Array.from({ length: WAITERS_PER_KEY_MAX + 3 }, async () => {
      const one = await object.exchange(patient);
      heard.push(verdict(one));
      return one;
    });
    await until(() => heard.length === 3);
    expect(heard).toEqual(Array.from({ length: 3 }, () => "request-in-flight"));
    upstream.release();
    await Promise.all([first, ...waiting]);
    expect(heard.filter((one) => one === 201)).toHaveLength(WAITERS_PER_KEY_MAX);
    expect(upstream.calls).toBe(1);
  });
});

describe("one upstream", () => {
  it("has no more than 64 calls of an object at a time: a new key waits, and stays free; another upstream's do not", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const calls = Array.from({ length: UPSTREAM_CALLS_MAX }, () => toUpstream(tenant, "A"));
    upstream.faults.push(...calls.map(() => "hang" as const));
    const underWay = calls.map((call) => object.exchange(call));
    await until(() => upstream.calls === calls.length);
    const more = toUpstream(tenant, "A");

    expect(await object.exchange(more)).toMatchObject({
      code: "temporarily-unavailable",
      afterMs: RETRY_AFTER_DEFAULT_MS,
    });
    expect(await rowOf(more)).toBeNull();
    expect(verdict(await object.exchange(toUpstream(tenant, "B")))).toBe(201);
    expect(upstream.calls).toBe(calls.length + 1);

    upstream.release();
    for (const heard of await Promise.all(underWay)) expect(verdict(heard)).toBe(201);
    expect(await object.exchange(more)).toMatchObject({ status: 201, replayed: false });
  });
});

describe("a database that is nearly full", () => {
  it("takes no new key: 503 with a time before the claim, nothing is sent, and retries are answered", async () => {
    const upstream = new Upstream();
    const tenant = tenantOf();
    // Of this one, this object has no copy.
    const elsewhere = exchangeCall(tenant);
    const other = incarnation({ upstream });
    await other.exchange(elsewhere);
    await other.settled();
    const asked: string[] = [];
    const object = incarnation({
      upstream,
      parts: {
        databaseBytesMax: 1,
        forward: (name) => {
          asked.push(name);
          return Promise.resolve({ kind: "problem", code: "request-in-flight" });
        },
      },
    });
    const used = exchangeCall(tenant);
    // It has not said yet how large it is.
    expect(await object.exchange(used)).toMatchObject({ status: 201 });
    await object.settled();
    const { delivered } = object.db;
    const fresh = exchangeCall(tenant);

    expect(await object.exchange(fresh)).toMatchObject({
      code: "temporarily-unavailable",
      afterMs: RETRY_FULL_MS,
    });
    expect(await rowOf(fresh)).toBeNull();
    expect(object.db.delivered).toBe(delivered);
    expect(await object.exchange(used)).toMatchObject({ status: 201, replayed: true });
    const reused = exchangeCall(tenant, { key: used.key, fingerprint: "another" });
    expect(verdict(await object.exchange(reused))).toBe("idempotency-key-reused");
    await object.exchange(elsewhere);
    expect(asked).toEqual([other.object]);
    expect(upstream.calls).toBe(2);
  });

  it("that refuses to grow is left alone for a while; then a new key runs", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const used = exchangeCall(tenant);
    await object.exchange(used);
    await object.settled();
    const call = exchangeCall(tenant);
    object.db.always("full", "none");
    const refused = await object.time.passing(object.exchange(call));
    object.db.always("none", "none");
    const { delivered } = object.db;

    expect(["temporarily-unavailable", "outcome-unknown-yet"]).toContain(verdict(refused));
    expect(await object.exchange(call)).toMatchObject({ code: "temporarily-unavailable" });
    expect(object.db.delivered).toBe(delivered);
    expect(await object.exchange(used)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.calls).toBe(1);
    object.time.advance(RETRY_FULL_MS);
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: false });
  });
});

describe("53: an intent that cannot be flushed", () => {
  it("53: is not called for, though its write succeeded: the runtime holds the call back, and the next life takes the claim over", async () => {
    const sent: string[] = [];
    const parts = {
      // The runtime's own way out: what is held back must have been on its way.
      send: (_upstream: unknown, [url, init]: UpstreamRequest) => {
        sent.push(new Headers(init.headers).get("idempotency-key") ?? "");
        return env.UPSTREAM.fetch(url, init);
      },
    };
    const countOf = async ({ key }: ExchangeCall): Promise<number> =>
      (await env.UPSTREAM.fetch(`https://upstream.invalid/count/${key}`)).json();
    const storage = new FaultyStorage();
    const upstream = new Upstream();
    const object = incarnation({ upstream, storage: storage.around, parts });
    const tenant = tenantOf();
    const before = exchangeCall(tenant);
    expect(await object.exchange(before)).toMatchObject({ status: 200 });
    expect(await countOf(before)).toBe(1);
    storage.flushBroken = true;
    const call = exchangeCall(tenant);

    await expect(object.exchange(call)).rejects.toThrow("Durable Object was reset");
    expect(sent).toEqual([before.key, call.key]);
    expect(await countOf(call)).toBe(0);
    expect(await rowOf(call)).toMatchObject({ state: "in-flight" });

    const next = incarnation({ upstream, object: object.object, time: object.time, parts });
    expect(await next.exchange(call)).toMatchObject({ status: 200, replayed: false });
    expect(await countOf(call)).toBe(1);
    expect(await next.exchange(before)).toMatchObject({ status: 200, replayed: true });
  });
});
