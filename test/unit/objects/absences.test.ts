import { expect, it } from "vitest";
import { ABSENCE_UNKNOWN_MS, BATCH_LIFE_MS } from "../../../src/kernel/limits.ts";
import { Absences } from "../../../src/objects/absences.ts";

/** One life of an object, and what it is kept alive for. */
const life = () => {
  let nowMs = 1_000_000;
  const kept: Promise<unknown>[] = [];
  const pauses: { readonly ms: number; readonly over: () => void }[] = [];
  const absences = new Absences({
    clock: () => nowMs,
    pause: (ms) => new Promise((resolve) => pauses.push({ ms, over: resolve })),
    keepAlive: (work) => kept.push(work),
  });
  return {
    absences,
    kept,
    pauses,
    of: (key: string) => absences.of(key, nowMs),
    advance: (ms: number) => {
      nowMs += ms;
    },
  };
};

it("an object stays until it can say that a key is free: whoever comes back when told finds the same life", async () => {
  const { of, kept, pauses, advance } = life();
  expect(of("key")).toEqual({ state: "unknown-yet", afterMs: ABSENCE_UNKNOWN_MS });
  expect(kept).toHaveLength(1);
  expect(pauses[0]?.ms).toBeGreaterThan(ABSENCE_UNKNOWN_MS);

  advance(ABSENCE_UNKNOWN_MS);
  expect(of("key")).toEqual({ state: "free" });
  pauses[0]?.over();
  await kept[0];
});

it("many who ask are one pause, and the next one after it is another", async () => {
  const { of, kept, pauses } = life();
  of("one");
  of("other");
  expect(new Set(kept).size).toBe(1);
  expect(pauses).toHaveLength(1);
  pauses[0]?.over();
  await kept[0];

  of("one");
  expect(pauses).toHaveLength(2);
});

it("absence is not evidence: neither a send without an answer nor an earlier life's is outlived by the other", () => {
  const { absences, of, advance } = life();
  absences.unanswered("key");
  // The send is past its life sooner than what an earlier life of the object may have sent.
  advance(BATCH_LIFE_MS);
  expect(of("key")).toEqual({
    state: "unknown-yet",
    afterMs: ABSENCE_UNKNOWN_MS - BATCH_LIFE_MS,
  });

  advance(ABSENCE_UNKNOWN_MS);
  expect(of("key")).toEqual({ state: "free" });
  absences.unanswered("key");
  absences.unanswered("other");
  expect(of("key")).toEqual({ state: "unknown-yet", afterMs: BATCH_LIFE_MS });
  advance(BATCH_LIFE_MS);
  expect(of("key")).toEqual({ state: "free" });
});
