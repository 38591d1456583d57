/** When the client tries again, and when it stops. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ADVICE_SPREAD,
  BACKOFF_MS,
  BACKOFF_MS_MAX,
  RETRY_TOKENS_MAX,
} from "../../../src/client/limits.ts";
import { RetryBudget } from "../../../src/client/retry-budget.ts";
import { nextStep, type Situation } from "../../../src/client/retry-decision.ts";
import { property } from "../property.ts";

const situation = (change: Partial<Situation>): Situation => ({
  nowMs: 1_000,
  failures: 1,
  adviceMs: null,
  giveUpAtMs: 1_000_000,
  safeUntilMs: 2_000_000,
  random: 0.5,
  ...change,
});

describe("the next step", () => {
  it("without advice waits a random part of a pause that doubles up to its maximum", () => {
    const waits = [1, 2, 3, 20].map((failures) => nextStep(situation({ failures, random: 1 })));
    expect(waits).toEqual(
      [BACKOFF_MS, 2 * BACKOFF_MS, 4 * BACKOFF_MS, BACKOFF_MS_MAX].map((ms) => ({
        do: "wait",
        untilMs: 1_000 + ms,
      })),
    );
    expect(nextStep(situation({ random: 0 }))).toEqual({ do: "wait", untilMs: 1_000 });
  });

  property(
    "is never before what the server advised, and little after it",
    fc.property(
      fc.nat(60_000),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (adviceMs, random) => {
        const step = nextStep(situation({ adviceMs, random }));
        if (step.do !== "wait") throw new Error("It had time.");
        expect(step.untilMs).toBeGreaterThanOrEqual(1_000 + adviceMs);
        expect(step.untilMs).toBeLessThanOrEqual(1_001 + adviceMs * (1 + ADVICE_SPREAD));
      },
    ),
  );

  it("gives up at the deadline and tells when a later call may try; the key's age weighs more", () => {
    const late = { adviceMs: 60_000, giveUpAtMs: 50_000, random: 0 };
    expect(nextStep(situation(late))).toEqual({
      do: "give-up",
      why: "deadline",
      notBeforeMs: 61_000,
    });
    expect(nextStep(situation({ ...late, safeUntilMs: 61_000 }))).toMatchObject({ why: "key-age" });
  });
});

describe("the retry budget of an origin", () => {
  const never = new AbortController().signal;
  const budget = () => {
    const slept: number[] = [];
    let nowMs = 0;
    const parts = {
      now: () => nowMs,
      random: () => 1,
      sleep: (ms: number) => {
        slept.push(ms);
        nowMs += ms;
        return Promise.resolve();
      },
    };
    return { it: new RetryBudget(parts), slept };
  };
  const spend = async (of: RetryBudget) => {
    for (let i = 0; i < RETRY_TOKENS_MAX; i++) expect((await of.admit(never)).probe).toBe(false);
  };

  it("lets as many retries go as there are tokens, then one at a time, each in its turn", async () => {
    const { it: of } = budget();
    await spend(of);
    const first = await of.admit(never);
    const order: string[] = [];
    const second = of.admit(never).then((pass) => {
      order.push("second");
      return pass;
    });
    const third = of.admit(never).then((pass) => {
      order.push("third");
      return pass;
    });
    await Promise.resolve();
    expect(order).toEqual([]);
    first.end(true);
    (await second).end(true);
    (await third).end(true);
    expect(first.probe).toBe(true);
    expect(order).toEqual(["second", "third"]);
  });

  it("waits ever longer between probes that fail, and not at all after one that is answered", async () => {
    const { it: of, slept } = budget();
    await spend(of);
    for (const answered of [false, false, true, false, true]) (await of.admit(never)).end(answered);
    expect(slept).toEqual([BACKOFF_MS, 2 * BACKOFF_MS, BACKOFF_MS]);
  });

  it("is refilled by successes at the first try alone: ten of them pay for one retry", async () => {
    const { it: of } = budget();
    await spend(of);
    (await of.admit(never)).end(true);
    for (let i = 0; i < 11; i++) of.succeededAtOnce();
    expect((await of.admit(never)).probe).toBe(false);
    expect((await of.admit(never)).probe).toBe(true);
  });

  it("loses nobody's turn when one in line gives up", async () => {
    const { it: of } = budget();
    await spend(of);
    const first = await of.admit(never);
    const leaving = new AbortController();
    const left = of.admit(leaving.signal);
    const after = of.admit(never);
    leaving.abort(new Error("enough"));
    await expect(left).rejects.toThrow("enough");
    first.end(true);
    expect((await after).probe).toBe(true);
  });
});
