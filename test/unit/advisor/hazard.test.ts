import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addCounts,
  age,
  BUCKET_ENDS_MS,
  BUCKETS,
  doubt,
  emptyCounts,
  hazardsOf,
  hazardsOfPrior,
  lasting,
  learnEnded,
  learnOutlived,
  refute,
} from "../../../src/advisor/hazard.ts";
import { priorOf } from "../../../src/advisor/prior.ts";
import { ADVISOR_BUCKET_COUNT_MAX } from "../../../src/kernel/limits.ts";
import { property } from "../property.ts";

const ages = fc.integer({ min: 0, max: 600_000 });
const hazards = fc.array(fc.double({ min: 0, max: 0.99, noNaN: true }), {
  minLength: BUCKETS,
  maxLength: BUCKETS,
});

describe("A hazard", () => {
  property(
    "gives chances, and what lasts longer is never likelier",
    fc.property(hazards, ages, ages, ages, (given, ...times) => {
      const [from = 0, middle = 0, to = 0] = times.toSorted((a, b) => a - b);
      const soon = lasting(given, from, middle);
      const late = lasting(given, from, to);
      expect(late).toBeGreaterThanOrEqual(0);
      expect(soon).toBeLessThanOrEqual(1);
      expect(late).toBeLessThanOrEqual(soon + 1e-12);
    }),
  );

  property(
    "one retry that succeeded is one success, wherever between the tries it may have ended",
    fc.property(hazards, ages, ages, (given, one, other) => {
      const [from, to] = [Math.min(one, other), Math.max(one, other)];
      fc.pre(to > from);
      const counts = emptyCounts(0);
      learnEnded(counts, given, from, to);
      const ended = counts.ended.reduce((sum, count) => sum + count, 0);
      expect(ended).toBeGreaterThan(0);
      expect(ended).toBeLessThanOrEqual(1 + 1e-9);
      for (const count of counts.outlived) expect(count).toBeGreaterThanOrEqual(0);
    }),
  );

  for (const status of [0, 402, 404, 409, 429, 500, 503, 418]) {
    it(`of ${status} recovers in the end as often as is believed before any was seen`, () => {
      const prior = priorOf(status);
      const end = BUCKET_ENDS_MS.at(-1) ?? 0;
      expect(1 - lasting(hazardsOfPrior(prior), 0, end)).toBeCloseTo(prior.share, 1);
    });
  }

  it("comes near what is seen: nine in ten that end at once make 0.9", () => {
    const counts = emptyCounts(0);
    const prior = priorOf(500);
    for (let at = 0; at < 300; at++) {
      if (at % 10 === 0) learnOutlived(counts, 0, 100);
      else learnEnded(counts, hazardsOf(counts, counts, prior), 0, 100);
    }
    expect(hazardsOf(counts, counts, prior)[0]).toBeCloseTo(0.9, 1);
  });

  it("of a class without experience is that of its kind", () => {
    const parent = emptyCounts(0);
    for (let at = 0; at < 300; at++) learnOutlived(parent, 0, 100);
    const [first = 1] = hazardsOf(undefined, parent, priorOf(503));
    expect(first).toBeLessThan((hazardsOfPrior(priorOf(503))[0] ?? 0) / 2);
  });

  it("forgets half in some 34 minutes, and remembers no more than its bound", () => {
    const counts = emptyCounts(0);
    for (let at = 0; at < 1_000; at++) learnOutlived(counts, 0, 100);
    expect(counts.outlived[0]).toBeCloseTo(ADVISOR_BUCKET_COUNT_MAX, 5);
    age(counts, 34.3 * 60_000);
    expect(counts.outlived[0]).toBeCloseTo(ADVISOR_BUCKET_COUNT_MAX / 2, 0);
  });

  it("of several places is the same as of one that saw it all", () => {
    const [one, other, all] = [emptyCounts(0), emptyCounts(0), emptyCounts(0)];
    for (let at = 0; at < 20; at++) {
      learnOutlived(at % 2 === 0 ? one : other, 0, 1_000);
      learnOutlived(all, 0, 1_000);
    }
    addCounts(one, other);
    one.outlived.forEach((count, bucket) => expect(count).toBeCloseTo(all.outlived[bucket] ?? -1));
  });

  it("is not forgotten by time alone to less than ten observations: what is met once an hour is known", () => {
    const counts = emptyCounts(0);
    for (let at = 0; at < 40; at++) learnOutlived(counts, 0, 100);
    age(counts, 100 * 3_600_000);
    expect(counts.outlived[0]).toBeCloseTo(10, 5);
  });

  it("is doubted by two outcomes that it all but ruled out, not by one, nor by what it expects", () => {
    const counts = emptyCounts(0);
    expect(doubt(counts, 0.01)).toBe(false);
    expect(doubt(counts, 0.01)).toBe(true);
    const expected = emptyCounts(0);
    for (let at = 0; at < 1_000; at++)
      expect(doubt(expected, at % 5 === 0 ? 0.2 : 0.8)).toBe(false);
  });

  it("that one place has refuted is refuted where it is merged into, and not twice", () => {
    const [one, other] = [emptyCounts(0), emptyCounts(0)];
    for (let at = 0; at < 60; at++) learnOutlived(one, 0, 100);
    refute(other, 5_000);
    for (let at = 0; at < 5; at++) learnOutlived(other, 0, 100);
    addCounts(one, other);
    expect(one.outlived[0]).toBeLessThan(6);
    addCounts(one, { ...emptyCounts(0), refutedAtMs: 5_000 });
    expect(one.outlived[0]).toBeGreaterThan(5);
  });
});
