/** An API that is down is tried by calls: who is admitted as the probe and then calls nobody must not keep it down. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { ExchangePolicy } from "../../src/gateway/exchange.ts";
import { Advisor } from "../../src/objects/advice.ts";
import { operationCallOf } from "../../src/objects/operation-exchange.ts";
import { UPSTREAM_CALLS_MAX } from "../../src/kernel/limits.ts";
import { ExternalSteps } from "../../src/objects/external-steps.ts";
import { UpstreamAdvice } from "../../src/objects/upstream-advice.ts";
import { operations } from "../../src/operations/registry.ts";
import { type HeldBatch, until } from "../support/faulty-database.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { openBooks } from "./support/books.ts";
import { callOf } from "./support/calls.ts";
import { exchangeCall, POLICY, useExchanges, verdict } from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";
import { VirtualTime } from "./support/virtual-time.ts";

const incarnation = useExchanges();
const HONOURS: ExchangePolicy = { ...POLICY, honoursKey: true };

const payout = (tenant: string, amountMinor: number) =>
  operationCallOf(
    callOf(tenant, "payouts.create", {
      account: "alice",
      amountMinor,
      currency: "EUR",
      destination: "DE00",
    }),
    env.FINGERPRINT_SECRET,
  );

describe("a processor that is well again", () => {
  it.each([
    ["nobody else asks", 0],
    ["somebody asks, a little earlier, for what is refused before any call", 1],
  ])("is called for who can pay, though %s", async (_name, others) => {
    const upstream = new Upstream();
    upstream.answer = () => Response.json({ id: "tr_1", state: "paid" }, { status: 200 });
    const tenant = await openBooks({ accounts: { alice: 10_000 } });
    const poor = await openBooks({ accounts: { alice: 1 } });
    const object = incarnation({
      upstream,
      processor: { ...HONOURS, heal: { attemptsMax: 1, elapsedMsMax: 1_000 } },
    });
    upstream.faults.push(503, 503, 503);
    for (let i = 0; i < 3; i++) await object.exchange(payout(tenant, 10));
    expect(verdict(await object.exchange(payout(tenant, 10)))).toBe("temporarily-unavailable");
    // It is well from here on. Each second somebody asks for what he cannot pay, and somebody for what he can.
    const heard: (number | string)[] = [];
    for (let second = 0; second < 120; second++) {
      object.time.advance(1_000);
      for (let i = 0; i < others; i++) await object.exchange(payout(poor, 5_000));
      heard.push(verdict(await object.exchange(payout(tenant, 10))));
    }
    expect(heard).toContain(201);
  });
});

describe("a claim that its object never called for", () => {
  it.each([
    ["that is up", 0],
    ["that was down", 3],
  ])("is carried out by its retry, as the first call to an API %s", async (_name, failures) => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = `t-${crypto.randomUUID().slice(0, 8)}`;
    const call = exchangeCall(tenant);
    // Its batch commits, and nobody is told; the object gives up before it hears.
    const claimed = { ...exchangeCall(tenant), object: object.object };
    await env.DB.prepare(
      "INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, state, status, created_at_ms, expires_at_s, forget_at_s) VALUES (?, ?, 'upstream/things', 1, 'fingerprint-1', ?, 'n', 'in-flight', 200, ?, ?, ?)",
    )
      .bind(
        tenant,
        call.key,
        claimed.object,
        object.time.nowMs,
        Math.floor(object.time.nowMs / 1000) + 3_600,
        Math.floor(object.time.nowMs / 1000) + 10_800,
      )
      .run();
    for (let i = 0; i < failures; i++) {
      upstream.faults.push(503);
      await object.exchange(exchangeCall(tenant, { policy: { honoursKey: true } }));
    }
    const heard: (number | string)[] = [];
    for (let i = 0; i < 60 && !heard.includes(201); i++) {
      object.time.advance(5_000);
      heard.push(verdict(await object.exchange(call)));
    }
    expect(heard).toContain(201);
    expect(upstream.effectsOf(call.key)).toBe(1);
  });
});

describe("a tenant whose requests the API answers with 500", () => {
  it("does not keep another tenant from it", async () => {
    const upstream = new Upstream();
    const time = VirtualTime.ahead();
    const advisor = new Advisor(time.clock, () => 0.5);
    const object = incarnation({ upstream, time, advisor });
    const other = incarnation({ upstream, time, advisor });
    const noisy = `noisy-${crypto.randomUUID().slice(0, 8)}`;
    const quiet = `quiet-${crypto.randomUUID().slice(0, 8)}`;
    let answered = 0;
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 5; i++) {
        object.time.advance(150);
        upstream.faults.push(500);
        await object.exchange(exchangeCall(noisy));
        upstream.faults.length = 0;
      }
      object.time.advance(250);
      if (verdict(await other.exchange(exchangeCall(quiet))) === 201) answered += 1;
    }
    expect(answered).toBeGreaterThan(30);
  });
});

describe("what is ours to answer for", () => {
  it.each([
    ["at once", 0],
    ["in half a second", 500],
  ])(
    "does not keep a processor down that answers at once, where the database settles %s",
    async (_name, settlesInMs) => {
      const upstream = new Upstream();
      upstream.answer = () => Response.json({ id: "tr_1", state: "paid" }, { status: 200 });
      const tenant = await openBooks({ accounts: { alice: 10_000 } });
      const heal = { attemptsMax: 1, elapsedMsMax: 1_000 };
      const time = VirtualTime.ahead();
      const advisor = new Advisor(time.clock, () => 0.5);
      const object = incarnation({ upstream, time, advisor, processor: { ...HONOURS, heal } });
      // It is known to answer at once.
      for (let i = 0; i < 3; i++) {
        upstream.faults.push("hang");
        const heard = object.exchange(payout(tenant, 10));
        await until(() => upstream.calls > i);
        object.time.advance(20);
        upstream.release();
        expect(verdict(await heard)).toBe(201);
      }
      while (!new UpstreamAdvice(advisor).isDown("service:UPSTREAM")) {
        upstream.faults.push(503);
        await object.exchange(payout(tenant, 10));
      }
      const health = new UpstreamAdvice(advisor);
      expect(health.isDown("service:UPSTREAM")).toBe(true);
      const settlements: HeldBatch[] = [];
      upstream.answer = () => {
        // The next batch of this object is the one that settles it.
        settlements.push(object.db.hold());
        return Response.json({ id: "tr_1", state: "paid" }, { status: 200 });
      };
      for (let i = 0; i < 6 && health.isDown("service:UPSTREAM"); i++) {
        object.time.advance(10_000);
        const before = settlements.length;
        const heard = object.exchange(payout(tenant, 10));
        await until(() => settlements.length > before);
        const settlement = settlements.at(-1);
        await settlement?.arrived();
        object.time.advance(settlesInMs);
        settlement?.release();
        expect(verdict(await heard)).toBe(201);
      }
      expect(health.isDown("service:UPSTREAM")).toBe(false);
    },
  );

  it("does not close the way to an API: outcomes that our own storage does not take are not its failures", async () => {
    const upstream = new Upstream();
    const time = VirtualTime.ahead();
    const advisor = new Advisor(time.clock, () => 0.5);
    for (let i = 0; i < 4; i++) {
      const storage = new FaultyStorage();
      const object = incarnation({ upstream, time, advisor, storage: storage.around });
      upstream.answer = (key) => {
        storage.broken = true;
        return Response.json({ made: key }, { status: 201 });
      };
      await object
        .exchange(exchangeCall(`t-${crypto.randomUUID().slice(0, 8)}`))
        .catch(() => undefined);
      storage.broken = false;
    }
    expect(new UpstreamAdvice(advisor).isDown("service:UPSTREAM")).toBe(false);
  });

  it.each([
    ["one less than", UPSTREAM_CALLS_MAX - 1],
    ["as many as", UPSTREAM_CALLS_MAX],
  ])(
    "gives its place back: after %s the calls that may be under way, of which a step could not say what to send, the next is sent",
    async (_name, broken) => {
      const upstream = new Upstream();
      const tenant = await openBooks({ accounts: { alice: 10_000 } });
      let isBroken = true;
      const real = new ExternalSteps({
        operations,
        processorNamed: () => ({ terms: HONOURS, token: "processor-token" }),
      });
      const steps = Object.assign(Object.create(real) as ExternalSteps, {
        has: (name: string) => real.has(name),
        policyOf: (name: string) => real.policyOf(name),
        validate: real.validate.bind(real),
        hold: real.hold.bind(real),
        outcome: real.outcome.bind(real),
        effectsOf: real.effectsOf.bind(real),
        releaseOf: real.releaseOf.bind(real),
        sending: (...of: Parameters<ExternalSteps["sending"]>) => {
          if (isBroken) throw new Error("It cannot be said.");
          return real.sending(...of);
        },
      });
      upstream.answer = () => Response.json({ id: "tr_1", state: "paid" }, { status: 200 });
      const object = incarnation({ upstream, parts: { steps } });
      for (let i = 0; i < broken; i++) await object.exchange(payout(tenant, 1));
      isBroken = false;
      expect(verdict(await object.exchange(payout(tenant, 1)))).toBe(201);
    },
  );
});
