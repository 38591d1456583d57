/** What the states of an exchange hold to, in whatever order events come, and however long they take. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ExchangeEvent,
  type ExchangeState,
  firstCall,
  type Terms,
  transition,
} from "../../../src/gateway/exchange-decision.ts";
import { EXCHANGE_ASKS_MAX } from "../../../src/kernel/limits.ts";
import { property } from "../property.ts";

const T0 = 1_800_000_000_000;

const termsOf = fc.record({
  policy: fc.record({
    timeoutMs: fc.integer({ min: 1, max: 60_000 }),
    honoursKey: fc.boolean(),
    status: fc.option(
      fc.record({
        path: fc.constant("/status/{key}"),
        absenceIsFinal: fc.boolean(),
        quietMs: fc.integer({ min: 0, max: 60_000 }),
      }),
    ),
    heal: fc.record({
      attemptsMax: fc.integer({ min: 1, max: 6 }),
      elapsedMsMax: fc.integer({ min: 0, max: 600_000 }),
    }),
  }),
  createdAtMs: fc.constant(T0),
});

const pauseMs = fc.integer({ min: 0, max: 30_000 });
/** Mostly the word of the last try, sometimes of an earlier one. */
const lag = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 3 }));

const step = fc.record({
  passMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 90_000 })),
  lag,
  event: fc.oneof(
    fc.constant({ kind: "due" } as const),
    fc.constant({ kind: "hastened" } as const),
    fc.record({ kind: fc.constant("held-back" as const), afterMs: pauseMs }),
    fc.record({
      kind: fc.constant("judged" as const),
      verdict: fc.constantFrom("final", "not-executed", "maybe-executed"),
      pauseMs,
    }),
    fc.constant({ kind: "oversize" } as const),
    fc.record({ kind: fc.constant("interrupted" as const), pauseMs }),
    fc.record({
      kind: fc.constant("asked" as const),
      found: fc.constantFrom("outcome", "absent", "unknown"),
      tookMs: fc.integer({ min: 0, max: 60_000 }),
      stored: fc.boolean(),
      pauseMs,
    }),
    fc.record({ kind: fc.constant("resolved" as const), executed: fc.boolean() }),
  ),
});

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

type Moment = {
  readonly before: ExchangeState;
  readonly event: ExchangeEvent;
  readonly after: ExchangeState | undefined;
  readonly nowMs: number;
};

/** Everything that happens to one exchange. */
const history = (terms: Terms, steps: readonly Step[]): Moment[] => {
  let state = firstCall(1, T0);
  let nowMs = T0;
  const moments: Moment[] = [];
  for (const { passMs, lag: behind, event: drawn } of steps) {
    nowMs += passMs;
    const attempt = state.attempt - behind;
    const event: ExchangeEvent =
      drawn.kind === "judged" || drawn.kind === "oversize"
        ? { ...drawn, attempt }
        : drawn.kind === "asked"
          ? { ...drawn, attempt, askedAtMs: nowMs - drawn.tookMs }
          : drawn;
    const after = transition(state, event, terms, nowMs);
    moments.push({ before: state, event, after, nowMs });
    state = after ?? state;
  }
  return moments;
};

const histories = (check: (moments: readonly Moment[], terms: Terms) => void) =>
  fc.property(termsOf, fc.array(step, { maxLength: 40 }), (terms, steps) =>
    check(history(terms, steps), terms),
  );

const isClosed = ({ kind }: ExchangeState) => kind === "final" || kind === "free";

describe("an exchange, whatever happens in whatever order", () => {
  property(
    "76, 77: is never sent again after it may have been executed, unless the upstream runs a key once, or has denied it after the quiet period",
    histories((moments, { policy }) => {
      let mayHaveRun = false;
      for (const { before, event, after } of moments) {
        if (event.kind === "asked" && event.found === "absent" && after !== undefined) {
          const { sentAtMs } = before;
          const isProof =
            policy.status?.absenceIsFinal === true &&
            event.askedAtMs >= sentAtMs + policy.timeoutMs + policy.status.quietMs;
          if (isProof) mayHaveRun = false;
        }
        if (after?.kind === "calling" && before.kind !== "calling") {
          expect(!mayHaveRun || policy.honoursKey).toBe(true);
        }
        const isDoubt =
          event.kind === "interrupted" ||
          (event.kind === "judged" && event.verdict === "maybe-executed");
        if (after !== undefined && isDoubt) mayHaveRun = true;
      }
    }),
    2_000,
  );

  property(
    "is never called free after it may have been executed, but by a person or by proof",
    histories((moments, { policy }) => {
      for (const { before, event, after } of moments) {
        if (after?.kind !== "free" || event.kind === "resolved") continue;
        expect(!before.doubtful || (event.kind === "asked" && event.found === "absent")).toBe(true);
        if (before.doubtful) expect(policy.status?.absenceIsFinal).toBe(true);
        expect(event.kind === "judged" ? event.verdict : "not-executed").toBe("not-executed");
      }
    }),
    2_000,
  );

  property(
    "does not change any more once it is final or free",
    histories((moments) => {
      for (const { before, after } of moments) if (isClosed(before)) expect(after).toBeUndefined();
    }),
    2_000,
  );

  property(
    "has bounded tries, in number and in time",
    histories((moments, { policy: { heal } }) => {
      for (const { after } of moments) {
        if (after === undefined) continue;
        expect(after.sends).toBeLessThanOrEqual(heal.attemptsMax);
        expect(after.asks).toBeLessThanOrEqual(EXCHANGE_ASKS_MAX);
        if (after.kind !== "paused" || after.asks > 0) continue;
        expect(after.dueAtMs - T0).toBeLessThanOrEqual(heal.elapsedMsMax);
      }
    }),
    2_000,
  );

  property(
    "counts every try, so that the word of an earlier one is not taken for the last one's",
    histories((moments) => {
      for (const { before, event, after } of moments) {
        if (after === undefined) continue;
        expect(after.attempt).toBe(before.attempt + (event.kind === "due" ? 1 : 0));
        if ("attempt" in event) expect(event.attempt).toBe(before.attempt);
      }
    }),
    2_000,
  );

  it("77: believes an absence by when it asked, not by when it heard: the call may have come in between", () => {
    const terms: Terms = {
      policy: {
        timeoutMs: 100,
        honoursKey: false,
        status: { path: "/status/{key}", absenceIsFinal: true, quietMs: 50 },
        heal: { attemptsMax: 2, elapsedMsMax: 10_000 },
      },
      createdAtMs: T0,
    };
    const paused = transition(firstCall(1, T0), { kind: "interrupted", pauseMs: 0 }, terms, T0);
    const asking = paused && transition(paused, { kind: "due" }, terms, T0);
    const absent = (askedAtMs: number) =>
      asking &&
      transition(
        asking,
        { kind: "asked", attempt: 2, askedAtMs, found: "absent", stored: false, pauseMs: 0 },
        terms,
        T0 + 5_000,
      );
    expect(absent(T0 + 149)).toMatchObject({ kind: "paused", next: "ask" });
    expect(absent(T0 + 150)).toMatchObject({ kind: "paused", next: "send", doubtful: false });
  });

  it("is resolved by a person only while it is uncertain, and only once", () => {
    const terms: Terms = {
      policy: {
        timeoutMs: 1,
        honoursKey: false,
        status: null,
        heal: { attemptsMax: 1, elapsedMsMax: 0 },
      },
      createdAtMs: T0,
    };
    const calling = firstCall(1, T0);
    const resolved = { kind: "resolved", executed: true } as const;
    expect(transition(calling, resolved, terms, T0)).toBeUndefined();
    const uncertain = transition(calling, { kind: "interrupted", pauseMs: 0 }, terms, T0);
    expect(uncertain?.kind).toBe("uncertain");
    const final = uncertain && transition(uncertain, resolved, terms, T0);
    expect(final).toMatchObject({ kind: "final", by: "person" });
    expect(final && transition(final, { ...resolved, executed: false }, terms, T0)).toBeUndefined();
    // The answer that comes after all is too late.
    const late = { kind: "judged", attempt: 1, verdict: "final", pauseMs: 0 } as const;
    expect(uncertain && transition(uncertain, late, terms, T0)).toBeUndefined();
  });
});
