/** Who is told of a final key: whatever the object dies over, one try at a time, and nowhere but where the route says. */
import { afterEach, describe, expect, it } from "vitest";
import { WEBHOOK_PAUSE_MS, WEBHOOK_TIMEOUT_MS } from "../../src/kernel/limits.ts";
import { until } from "../support/faulty-database.ts";
import { exchangeCall, tenantOf, useExchanges } from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();
const policy = { webhook: { url: "https://hooks.test/told", secretName: "HOOK" } };

/** Whoever is told, and what they answer. */
const receiver = (answers: () => number) => {
  const posts: Request[] = [];
  return {
    posts,
    parts: {
      secretNamed: () => `whsec_${btoa("0123456789abcdef0123456789abcdef")}`,
      post: (request: Request) => {
        posts.push(request);
        return Promise.resolve(new Response(null, { status: answers() }));
      },
    },
  };
};

afterEach(() => {
  globalThis.CRASH_POINTS = false;
  globalThis.latchkeyCrashPoint = undefined;
});

describe("a webhook", () => {
  it("44: is told by the next life's alarm, where the object died between the outcome and the first try", async () => {
    const upstream = new Upstream();
    const { posts, parts } = receiver(() => 204);
    let isDead = false;
    let isOver = false;
    globalThis.CRASH_POINTS = true;
    globalThis.latchkeyCrashPoint = async (point) => {
      if (point !== "exchange-stored" || isDead) return;
      isDead = true;
      await until(() => isOver);
    };
    const dead = incarnation({ upstream, parts });
    const call = exchangeCall(tenantOf(), { policy });
    const unheard = dead.exchange(call);
    await until(() => isDead);
    expect(posts).toEqual([]);

    const next = incarnation({ upstream, parts, object: dead.object, time: dead.time });
    next.time.advance(WEBHOOK_TIMEOUT_MS);
    await next.alarm();
    await next.settled();
    const told = posts.length;
    isOver = true;
    await unheard;
    await dead.settled();
    expect(told).toBe(1);
    // A life that was only slow says it no second time.
    expect(posts).toHaveLength(1);
    expect(upstream.calls).toBe(1);
  });

  it("45: two alarms at once are one try", async () => {
    let isUp = false;
    const { posts, parts } = receiver(() => (isUp ? 204 : 500));
    const object = incarnation({ upstream: new Upstream(), parts });
    await object.exchange(exchangeCall(tenantOf(), { policy }));
    await until(() => posts.length === 1);
    await object.settled();
    isUp = true;
    object.time.advance(WEBHOOK_PAUSE_MS);
    await Promise.all([object.alarm(), object.alarm()]);
    expect(posts).toHaveLength(2);
  });

  it("74: goes to its URL alone: a redirect is not followed, and is no receipt", async () => {
    const { posts, parts } = receiver(() => 302);
    const object = incarnation({ upstream: new Upstream(), parts });
    await object.exchange(exchangeCall(tenantOf(), { policy }));
    await until(() => posts.length === 1);
    await object.settled();
    object.time.advance(WEBHOOK_PAUSE_MS);
    await object.alarm();
    expect(posts.map(({ url, redirect }) => [url, redirect])).toEqual([
      [policy.webhook.url, "manual"],
      [policy.webhook.url, "manual"],
    ]);
  });
});
