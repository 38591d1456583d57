/** An API that answers again is called again, however it answers by now. */
import { describe, expect, it } from "vitest";
import { newGroup } from "../../../src/advisor/group.ts";
import { mergeGroups } from "../../../src/advisor/merge.ts";
import { restore, snapshotOf } from "../../../src/advisor/snapshot.ts";
import { originHealth } from "../../../src/gateway/origin-health.ts";
import { Advisor, UPSTREAMS } from "../../../src/objects/advice.ts";
import type { GroupNews } from "../../../src/objects/advisor-call.ts";
import { UpstreamAdvice } from "../../../src/objects/upstream-advice.ts";

const UPSTREAM = "https://api.test";

/** A gateway in front of one API: each request is admitted or turned away, and takes as long as is said. */
const gateway = (random: () => number = () => 0.5) => {
  let nowMs = 1_800_000_000_000;
  let keys = 0;
  const advisor = new Advisor(() => nowMs, random);
  const upstreams = new UpstreamAdvice(advisor);
  const health = originHealth(upstreams);
  return {
    advisor,
    upstreams,
    pass: (ms: number) => {
      nowMs += ms;
    },
    now: () => nowMs,
    /** Whether it was called; a client comes with a new key each time. */
    request: (
      durationMs: number,
      failure?: { status: number; code: string },
      key = `k${(keys += 1)}`,
    ) => {
      if (!health.admit(UPSTREAM, nowMs).admitted) return false;
      const startedAtMs = nowMs;
      nowMs += durationMs;
      health.observe(UPSTREAM, "ended", nowMs);
      upstreams.ended({
        tenant: "t",
        key,
        upstream: UPSTREAM,
        startedAtMs,
        endedAtMs: nowMs,
        failure,
        hintMs: undefined,
        leftMs: 600_000,
        sendsLeft: 4,
      });
      return true;
    },
  };
};

const DOWN = { status: 503, code: "things" };

describe("an API that was down and answers again", () => {
  it("slower than before: it is up before an hour of good answers has passed", () => {
    const { request, pass, upstreams } = gateway();
    for (let i = 0; i < 100; i++) {
      request(30);
      pass(100);
    }
    while (!upstreams.isDown(UPSTREAM)) request(30, DOWN);
    pass(20_000);
    // From now on every answer is a 201, in 200 ms.
    let sent = 0;
    let turnedAway = 0;
    for (let second = 0; second < 3_600; second++) {
      if (request(200)) sent += 1;
      else turnedAway += 1;
      pass(800);
    }
    expect({ down: upstreams.isDown(UPSTREAM), sent, turnedAway }).toMatchObject({ down: false });
  });

  it("on a route that always took long: its other routes' speed does not keep it down", () => {
    const { request, pass, upstreams } = gateway();
    for (let i = 0; i < 200; i++) {
      request(i % 10 === 0 ? 2_000 : 20);
      pass(100);
    }
    while (!upstreams.isDown(UPSTREAM)) request(20, DOWN);
    pass(20_000);
    // At night only the long route is asked for, and it is as well as ever.
    for (let minute = 0; minute < 120; minute++) {
      request(2_000);
      pass(30_000);
    }
    expect(upstreams.isDown(UPSTREAM)).toBe(false);
  });

  it("stays up when what was learned is exchanged, though it was heals that found it well", async () => {
    const one = gateway();
    for (let i = 0; i < 50; i++) {
      one.request(20);
      one.pass(100);
    }
    const keys = ["a", "b", "c"];
    for (const key of keys) one.request(20, DOWN, key);
    expect(one.upstreams.isDown(UPSTREAM)).toBe(true);
    // The object, as far as its merge goes.
    const kept = newGroup(0);
    const exchange = (news: readonly GroupNews[]) =>
      Promise.resolve(
        news.map(({ group, snapshot }) => {
          const learned = restore(snapshot);
          if (learned !== undefined) mergeGroups(kept, learned, one.now());
          return { group, snapshot: snapshotOf(kept) };
        }),
      );
    const namespace = {
      getByName: () => ({ exchange }),
    } as unknown as DurableObjectNamespace;
    await one.advisor.exchange(UPSTREAMS, namespace);
    one.pass(15_000);
    for (const key of keys) {
      expect(one.request(20, undefined, key)).toBe(true);
      one.pass(1_000);
    }
    expect(one.upstreams.isDown(UPSTREAM)).toBe(false);
    one.pass(15_000);
    await one.advisor.exchange(UPSTREAMS, namespace);
    expect(one.upstreams.isDown(UPSTREAM)).toBe(false);
  });
});

describe("learned pauses", () => {
  it("do not spend a route's tries on an outage that the fixed pauses outlast", () => {
    const one = gateway(Math.random);
    // Single 503s that are gone at the first retry, a second later: what a balancer does.
    for (let i = 0; i < 400; i++) {
      one.request(20, i % 8 === 0 ? DOWN : undefined, `k-${i}`);
      if (i % 8 === 0) {
        one.pass(300);
        one.request(20, undefined, `k-${i}`);
      }
      one.pass(2_000);
    }
    let lost = 0;
    for (let round = 0; round < 50; round++) {
      // Now 7 s of them; the fixed pauses (1, 2, 4, 8 s, less up to half) outlast 7.5 s at the least.
      const endsAtMs = one.now() + 7_000;
      const key = `x-${round}`;
      let sends = 0;
      let healed = false;
      while (sends < 5 && !healed) {
        const startedAtMs = one.now();
        sends += 1;
        one.pass(20);
        const failure = one.now() < endsAtMs ? DOWN : undefined;
        const advised = one.upstreams.ended({
          tenant: "t",
          key,
          upstream: UPSTREAM,
          startedAtMs,
          endedAtMs: one.now(),
          failure,
          hintMs: undefined,
          leftMs: 600_000,
          sendsLeft: 5 - sends,
        });
        healed = failure === undefined;
        if (!healed) one.pass(advised ?? 1_000 * 2 ** (sends - 1) * (0.5 + Math.random() / 2));
      }
      if (!healed) lost += 1;
      one.pass(60_000);
      for (let i = 0; i < 10; i++) one.request(20);
    }
    expect(lost).toBe(0);
  });
});
