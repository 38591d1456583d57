import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit, type Advice, advise, type Question } from "../../../src/advisor/advice.ts";
import { type Group, newGroup } from "../../../src/advisor/group.ts";
import { observe } from "../../../src/advisor/observation.ts";
import { refusalOf, SAFE } from "../../../src/advisor/safety.ts";
import { ADVISOR_RETRIES_MAX } from "../../../src/kernel/limits.ts";
import { randomOf } from "../../../sim/random.ts";
import { property } from "../property.ts";

const half = (): number => 0.5;
const failure = { status: 503, code: "busy" };
const asked = (question: Partial<Question>, group = newGroup(0)): Advice =>
  advise(group, { failure, retries: 0, ageMs: 0, ...question }, 0, half);

/** The first retry of a failure, `ageMs` after it. */
const retried = (
  group: Group,
  of: { status: number; code: string },
  ageMs: number,
  succeeded: boolean,
  atMs: number,
): void =>
  observe(group, {
    atMs,
    durationMs: 20,
    failure: succeeded ? undefined : of,
    before: { failure: of, ageMs: 0, toAgeMs: ageMs },
  });

const firstTry = (group: Group, succeeded: boolean, atMs: number): void =>
  observe(group, { atMs, durationMs: 20, failure: succeeded ? undefined : failure });

describe("Advice never makes an unsafe retry safe:", () => {
  const unsafe = {
    "a request without a key": { ...SAFE, keyed: false },
    "a body that has changed": { ...SAFE, bodyChanged: true },
    "an uncertain outcome at an origin that does not honour keys": {
      ...SAFE,
      uncertain: true,
      honoursKeys: false,
    },
    "a call that the runtime refused as overloaded": { ...SAFE, overloaded: true },
  };
  for (const [name, circumstances] of Object.entries(unsafe)) {
    it(`${name} is not sent again under its key, however well such retries went`, () => {
      const group = newGroup(0);
      for (let at = 0; at < 200; at++) retried(group, failure, 50, true, at * 1_000);
      const advice = asked({ circumstances }, group);
      expect(advice.retry).toBe(false);
      expect(advice.use).not.toBe("same-key");
      expect(advice.successProbability).toBe(0);
    });
  }

  for (const code of [
    "do_not_honor",
    "stolen-card",
    "idempotency-key-reused",
    "outcome-uncertain",
  ]) {
    it(`${code} is a no, whatever was learned`, () => {
      const group = newGroup(0);
      const declined = { status: 402, code };
      for (let at = 0; at < 200; at++) retried(group, declined, 50, true, at * 1_000);
      expect(asked({ failure: declined }, group).retry).toBe(false);
    });
  }

  property(
    "no circumstances, codes or experience turn what safety refuses into a retry",
    fc.property(
      fc.record({
        keyed: fc.boolean(),
        safeMethod: fc.boolean(),
        honoursKeys: fc.boolean(),
        bodyChanged: fc.boolean(),
        uncertain: fc.boolean(),
        overloaded: fc.boolean(),
      }),
      fc.constantFrom("", "busy", "do_not_honor", "idempotency-key-expired"),
      fc.integer({ min: 0, max: 599 }),
      fc.array(fc.boolean(), { maxLength: 30 }),
      (circumstances, code, status, past) => {
        const group = newGroup(0);
        past.forEach((went, at) => retried(group, { status, code }, 50, went, at * 1_000));
        const refused = refusalOf(circumstances, code);
        const advice = asked({ failure: { status, code }, circumstances }, group);
        if (refused !== undefined) expect(advice).toMatchObject({ retry: false, use: refused.use });
      },
    ),
  );
});

describe("Rails:", () => {
  property(
    "a retry is advised not before the server's hint, not after the deadline, with figures that are probabilities",
    fc.property(
      fc.constantFrom(0, 402, 404, 409, 429, 500, 502, 503, 504),
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 600_000 }),
      fc.integer({ min: 0, max: 120_000 }),
      fc.integer({ min: 0, max: 900_000 }),
      fc.boolean(),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (status, retries, ageMs, hintMs, deadlineMs, isDown, drawn) => {
        const group = newGroup(0);
        if (isDown) for (let at = 0; at < 20; at++) firstTry(group, false, at * 10);
        const question = { failure: { status, code: "" }, retries, ageMs, hintMs, deadlineMs };
        const advice = advise(group, question, 1_000, () => drawn);
        const [low, high] = advice.interval;
        for (const figure of [advice.successProbability, advice.confidence, low, high]) {
          expect(figure).toBeGreaterThanOrEqual(0);
          expect(figure).toBeLessThanOrEqual(1);
        }
        if (!advice.retry) return;
        expect(advice.afterMs).toBeGreaterThanOrEqual(Math.min(hintMs, deadlineMs - 3_000));
        expect(advice.afterMs).toBeLessThanOrEqual(deadlineMs);
        expect(low).toBeLessThanOrEqual(advice.successProbability);
        expect(high).toBeGreaterThanOrEqual(advice.successProbability);
      },
    ),
  );

  it("after ten retries it is enough", () => {
    expect(asked({ retries: ADVISOR_RETRIES_MAX }).retry).toBe(false);
    expect(asked({ retries: ADVISOR_RETRIES_MAX - 1 }).retry).toBe(true);
  });

  it("a retry leaves three seconds to be answered in before the deadline", () => {
    const group = newGroup(0);
    const slow = { status: 402, code: "settling" };
    for (let at = 0; at < 60; at++) {
      retried(group, slow, 60_000, false, at * 60_000);
      retried(group, slow, 500_000, true, at * 60_000 + 1);
    }
    const advice = advise(
      group,
      { failure: slow, retries: 0, ageMs: 0, deadlineMs: 200_000 },
      3_600_000,
      () => 0.999,
    );
    expect(advice.retry).toBe(true);
    expect(advice.afterMs).toBeLessThanOrEqual(197_000);
  });

  it("a hint past the deadline ends it", () => {
    expect(asked({ hintMs: 10_001, deadlineMs: 10_000 }).retry).toBe(false);
  });

  it("retries alone cannot refill their budget: where nothing succeeds at once, a doubtful retry is given up", () => {
    const group = newGroup(0);
    const doubtful = { status: 500, code: "x" };
    for (let at = 0; at < 300; at++) retried(group, doubtful, 50, at % 8 === 0, at * 60_000);
    expect(group.tokens.left).toBe(0);
    expect(
      advise(group, { failure: doubtful, retries: 0, ageMs: 0 }, 300 * 60_000, half).retry,
    ).toBe(false);
  });
});

describe("Learning:", () => {
  it("two codes of one status that recover differently are told apart", () => {
    const group = newGroup(0);
    const locked = { status: 409, code: "locked" };
    const conflict = { status: 409, code: "conflict" };
    for (let at = 0; at < 100; at++) {
      firstTry(group, true, at * 10_000);
      retried(group, locked, 800, true, at * 10_000 + 1);
      retried(group, conflict, 800, false, at * 10_000 + 2);
      retried(group, conflict, 500_000, false, at * 10_000 + 3);
    }
    const good = advise(group, { failure: locked, retries: 0, ageMs: 0 }, 1_000_000, half);
    expect(good.retry).toBe(true);
    expect(good.successProbability).toBeGreaterThan(0.8);
    expect(good.afterMs).toBeLessThan(5_000);
    const bad = advise(group, { failure: conflict, retries: 0, ageMs: 0 }, 1_000_000, half);
    expect(bad.retry).toBe(false);
  });

  it("what an outage made fail is not held against its class", () => {
    const group = newGroup(0);
    for (let at = 0; at < 50; at++) firstTry(group, true, at * 100);
    for (let at = 0; at < 30; at++) {
      firstTry(group, false, 6_000 + at * 100);
      retried(group, failure, 900, false, 6_000 + at * 100 + 50);
    }
    expect(group.health.up).toBe(false);
    firstTry(group, false, 30_000);
    expect(group.table.classes.size).toBe(0);
    for (let at = 0; at < 3; at++) firstTry(group, true, 40_000 + at * 100);
    expect(group.health.up).toBe(true);
    // It says when the outage ended, not how long such failures last.
    retried(group, failure, 30_000, true, 40_500);
    expect(group.table.classes.size).toBe(0);
  });

  /** `code` did not recover for an hour, then does: how many of its failures pass until it is retried as a rule. */
  const relearned = (group: Group, code: string, fromMs: number): number => {
    const turned = { status: 409, code };
    for (let at = 0; at < 100; at++) {
      const nowMs = fromMs + at * 10_000;
      const advice = advise(group, { failure: turned, retries: 0, ageMs: 0 }, nowMs, drawn);
      if (advice.retry && advice.policy !== "exploring") return at;
      if (advice.retry) retried(group, turned, advice.afterMs, true, nowMs + advice.afterMs);
    }
    return 100;
  };
  const drawn = randomOf(8);
  const hopeless = (...codes: readonly string[]): Group => {
    const group = newGroup(0);
    for (let at = 0; at < 60; at++) {
      for (const code of codes) retried(group, { status: 409, code }, 400_000, false, at * 60_000);
    }
    for (let at = 0; at < 40; at++) firstTry(group, true, 3_600_000 + at);
    return group;
  };

  it("a code that begins to recover is found out, though its retries are advised against (seed 8)", () => {
    expect(relearned(hopeless("conflict"), "conflict", 3_700_000)).toBeLessThan(60);
  });

  it("a code that always recovered and does no longer is given up within ten retries", () => {
    const group = newGroup(0);
    const turned = { status: 409, code: "locked" };
    for (let at = 0; at < 100; at++) {
      firstTry(group, true, at * 10_000);
      retried(group, turned, 800, true, at * 10_000 + 1);
    }
    // Ten that outlive their retries; what failed is learned from five seconds later.
    for (let at = 0; at < 10; at++) retried(group, turned, 30_000, false, 1_100_000 + at * 20_000);
    firstTry(group, true, 1_310_000);
    const before = group.table.classes.get("409:locked")?.ended[0] ?? 1;
    expect(before).toBeLessThan(1);
    expect(
      advise(group, { failure: turned, retries: 0, ageMs: 0 }, 1_320_000, half).successProbability,
    ).toBeLessThan(0.5);
  });

  it("where one code has changed its meaning, the others are put to the test at once (seed 8)", () => {
    const group = hopeless("conflict", "other");
    relearned(group, "conflict", 3_700_000);
    const other = { failure: { status: 409, code: "other" }, retries: 0, ageMs: 0 };
    const tested = Array.from({ length: 20 }, () => advise(group, other, 5_000_000, drawn).retry);
    expect(tested.filter(Boolean).length).toBeGreaterThan(15);
  });

  it("a code that nothing is known of is tried, where it is told what becomes of retries", () => {
    const group = newGroup(0);
    const unknown = { failure: { status: 422, code: "new" } };
    expect(asked(unknown, group).retry).toBe(false);
    retried(group, failure, 500, true, 1_000);
    expect(asked(unknown, group)).toMatchObject({ retry: true, policy: "exploring" });
    for (let at = 0; at < 20; at++) retried(group, unknown.failure, 500_000, false, at * 60_000);
    expect(asked(unknown, group).retry).toBe(false);
  });

  it("a prediction that was too high is lowered by what came of it", () => {
    const group = newGroup(0);
    const before = asked({}, group).successProbability;
    for (let at = 0; at < 100; at++) {
      observe(group, {
        atMs: at * 60_000,
        durationMs: 20,
        failure: { status: 422, code: "other" },
        before: { failure: { status: 422, code: "other" }, ageMs: 0, toAgeMs: 10 },
        predicted: asked({}, newGroup(0)).predicted,
      });
    }
    expect(asked({}, group).successProbability).toBeLessThan(before);
  });
});

describe("An origin that is down", () => {
  const downGroup = (): Group => {
    const group = newGroup(0);
    for (let at = 0; at < 60; at++) firstTry(group, true, at * 100);
    for (let at = 0; at < 8; at++) firstTry(group, false, 6_000 + at * 100);
    return group;
  };
  const entering = {
    before: undefined,
    advised: undefined,
    isNew: true,
    hasPlace: false,
    leftMs: 300_000,
  };

  it("is seen to be within a few failures, and not for a single one", () => {
    const group = newGroup(0);
    for (let at = 0; at < 60; at++) firstTry(group, true, at * 100);
    firstTry(group, false, 6_100);
    expect(group.health.up).toBe(true);
    expect(downGroup().health.up).toBe(false);
  });

  it("is tried by one at a time", () => {
    const group = downGroup();
    const entries = Array.from({ length: 50 }, () => admit(group, entering, 20_000, half).do);
    expect(entries.filter((entry) => entry === "send")).toHaveLength(1);
  });

  it("is up after three successes in a row, not two, and its outage is remembered", () => {
    const group = downGroup();
    firstTry(group, true, 30_000);
    firstTry(group, true, 30_100);
    expect(group.health.up).toBe(false);
    firstTry(group, true, 30_200);
    expect(group.health.up).toBe(true);
    expect(group.health.outages).toHaveLength(1);
  });

  it("is returned to at about the rate that it is used to, not by all at once", () => {
    const group = downGroup();
    for (let at = 0; at < 3; at++) firstTry(group, true, 30_000 + at * 100);
    const entries = Array.from({ length: 500 }, () => admit(group, entering, 31_000, half).do);
    expect(entries.filter((entry) => entry === "send").length).toBeLessThan(20);
  });

  const reported = (group: Group, atMs: number): void =>
    observe(group, { atMs, durationMs: 0, failure, partial: true });

  it("is not thought to be for failures far apart, told by one who tells of no successes", () => {
    const group = newGroup(0);
    for (let at = 0; at < 50; at++) reported(group, at * 60_000);
    expect(group.health.up).toBe(true);
    for (let at = 0; at < 4; at++) reported(group, 3_600_000 + at * 500);
    expect(group.health.up).toBe(false);
  });

  it("is up again, for such a one, after a long silence", () => {
    const group = newGroup(0);
    for (let at = 0; at < 4; at++) reported(group, at * 500);
    expect(group.health.up).toBe(false);
    reported(group, 600_000);
    expect(group.health.up).toBe(true);
    expect(group.health.outages).toHaveLength(1);
  });
});
