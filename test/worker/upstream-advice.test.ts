/** What is learned of an API behind the gateway says when it is called, and never whether a call is sent again. */
import { describe, expect, it } from "vitest";
import { UPSTREAM_PROBE_MS } from "../../src/kernel/limits.ts";
import { Advisor } from "../../src/objects/advice.ts";
import { UpstreamAdvice } from "../../src/objects/upstream-advice.ts";
import { until } from "../support/faulty-database.ts";
import {
  exchangeCall,
  PAUSE_MS,
  rowOf,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";
import { VirtualTime } from "./support/virtual-time.ts";

const incarnation = useExchanges();

/** As the calls of these tests name it. */
const UPSTREAM = "service:UPSTREAM";
/** Failures in a row that make an API down, and successes that make it well again. */
const DOWN_AFTER = 3;
const UP_AFTER = 3;

const newIsolate = () => {
  const time = VirtualTime.ahead();
  return { time, advisor: new Advisor(time.clock, () => 0.5) };
};

/** An isolate that has seen ten outages of twenty seconds, with the failures that their calls met. */
const experienced = () => {
  const isolate = newIsolate();
  const { time } = isolate;
  const advice = new UpstreamAdvice(isolate.advisor);
  const call = (failure: { status: number; code: string } | undefined) =>
    advice.ended({
      tenant: "t",
      key: crypto.randomUUID(),
      upstream: UPSTREAM,
      startedAtMs: time.clock(),
      endedAtMs: time.clock(),
      failure,
      hintMs: undefined,
      leftMs: 600_000,
      sendsLeft: 10,
    });
  for (let outage = 0; outage < 10; outage++) {
    for (let at = 0; at < 50; at++) call(undefined);
    for (let at = 0; at < DOWN_AFTER; at++) call({ status: 503, code: "things" });
    time.advance(20_000);
    for (let at = 0; at < UP_AFTER; at++) call(undefined);
    time.advance(60_000);
  }
  for (let at = 0; at < 50; at++) call(undefined);
  return isolate;
};

/** Fails as often as it takes until the API is seen to be down; each call has a key of its own. */
const bringDown = async (object: ReturnType<typeof incarnation>, upstream: Upstream) => {
  for (let at = 0; at < DOWN_AFTER; at++) {
    upstream.faults.push(503);
    await object.exchange(exchangeCall(tenantOf(), { policy: { honoursKey: true } }));
  }
};

describe("an API that is down", () => {
  it("is left alone: nothing is claimed, the key is free, and one call at a time finds out whether it is well again", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    await bringDown(object, upstream);
    const call = exchangeCall(tenantOf());

    const held = await object.exchange(call);
    expect(held).toMatchObject({
      code: "temporarily-unavailable",
      afterMs: UPSTREAM_PROBE_MS,
    });
    expect(await rowOf(call)).toBeNull();
    expect(upstream.calls).toBe(DOWN_AFTER);

    object.time.advance(UPSTREAM_PROBE_MS);
    upstream.faults.push("hang");
    const probe = object.exchange(call);
    await until(() => upstream.calls === DOWN_AFTER + 1);
    object.time.advance(20_000);
    expect(verdict(await object.exchange(exchangeCall(tenantOf())))).toBe(
      "temporarily-unavailable",
    );
    upstream.release();
    expect(await probe).toMatchObject({ status: 201, replayed: false });
    for (let at = 1; at < UP_AFTER; at++) {
      expect(await object.exchange(exchangeCall(tenantOf()))).toMatchObject({ status: 201 });
    }
    const both = [exchangeCall(tenantOf()), exchangeCall(tenantOf())];
    const heard = await Promise.all(both.map(async (one) => object.exchange(one)));
    for (const one of heard) expect(one).toMatchObject({ status: 201 });
  });

  it("is known to be to every object of the isolate: each key may have one of its own", async () => {
    const upstream = new Upstream();
    const { time, advisor } = newIsolate();
    for (let at = 0; at < DOWN_AFTER; at++) {
      upstream.faults.push(503);
      const alone = incarnation({ upstream, time, advisor });
      await alone.exchange(exchangeCall(tenantOf()));
    }
    const next = incarnation({ upstream, time, advisor });
    expect(verdict(await next.exchange(exchangeCall(tenantOf())))).toBe("temporarily-unavailable");
    expect(upstream.calls).toBe(DOWN_AFTER);
  });

  it("is not one that says 429: it is well, and left alone for a while all the same", async () => {
    const upstream = new Upstream();
    const { time, advisor } = newIsolate();
    const object = incarnation({ upstream, time, advisor });
    for (let at = 0; at < 5; at++) {
      upstream.faults.push(429);
      await object.exchange(exchangeCall(tenantOf()));
    }
    expect(new UpstreamAdvice(advisor).isDown(UPSTREAM)).toBe(false);
    expect(await object.exchange(exchangeCall(tenantOf()))).toMatchObject({
      code: "temporarily-unavailable",
      afterMs: UPSTREAM_PROBE_MS,
    });
    object.time.advance(UPSTREAM_PROBE_MS);
    expect(await object.exchange(exchangeCall(tenantOf()))).toMatchObject({ status: 201 });
  });
});

describe("where outages were seen", () => {
  it("who is turned away is told when such outages usually end, and how likely that is", async () => {
    const upstream = new Upstream();
    const { time, advisor } = experienced();
    const object = incarnation({ upstream, time, advisor });
    await bringDown(object, upstream);
    const turnedAway = await object.exchange(exchangeCall(tenantOf()));
    expect(turnedAway).toMatchObject({ code: "temporarily-unavailable" });
    if (turnedAway.kind !== "problem") throw new Error("It was called.");
    expect(turnedAway.afterMs).toBeGreaterThan(10_000);
    expect(turnedAway.afterMs).toBeLessThan(31_000);
    expect(turnedAway.successProbability).toBeGreaterThan(0.2);
    expect(turnedAway.reason).toContain("such times usually go on");
  });

  it("a heal waits as long as they usually last, not the fixed pause, and is carried out once", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    const { time, advisor } = experienced();
    const object = incarnation({ upstream, time, advisor });
    await bringDown(object, upstream);
    time.advance(1_000);
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });
    upstream.faults.push(503);
    const startedMs = time.clock();
    // A probe: it is sent, and fails.
    const heard = await object.exchange(call);
    expect(heard).toMatchObject({ code: "request-in-flight" });
    if (heard.kind !== "problem") throw new Error("It was answered.");
    expect(heard.afterMs).toBeGreaterThan(10 * PAUSE_MS);
    time.setTo(startedMs + (heard.afterMs ?? 0));
    expect(await object.exchange(call)).toMatchObject({ status: 201 });
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("what may have been carried out by an API that runs no key once is not sent again, however sure advice is", async () => {
    const upstream = new Upstream();
    const { time, advisor } = experienced();
    const object = incarnation({ upstream, time, advisor });
    upstream.faults.push("reset-after");
    const call = exchangeCall(tenantOf());
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    time.advance(60_000);
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    expect(upstream.calls).toBe(1);
  });

  it("a heal is due before its route's bound, whatever is advised, and the bound holds", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    const { time, advisor } = experienced();
    const object = incarnation({ upstream, time, advisor });
    await bringDown(object, upstream);
    time.advance(1_000);
    const heal = { attemptsMax: 10, elapsedMsMax: 6_000 };
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true, heal } });
    upstream.faults.push(503);
    const startedMs = time.clock();
    const heard = await object.exchange(call);
    if (heard.kind !== "problem") throw new Error("It was answered.");
    expect(heard.code).toBe("request-in-flight");
    expect(startedMs + (heard.afterMs ?? 0)).toBeLessThanOrEqual(startedMs + heal.elapsedMsMax);
    time.advance(heal.elapsedMsMax);
    upstream.faults.push(503);
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
  });
});

describe("where nothing was learned", () => {
  it("the fixed pause stands", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push(503);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });
    expect(await object.exchange(call)).toMatchObject({
      code: "request-in-flight",
      afterMs: PAUSE_MS,
    });
  });
});
