import { describe, expect, it } from "vitest";
import { DURATIONS_KEPT } from "../../../src/kernel/limits.ts";
import { Durations } from "../../../src/objects/durations.ts";

const measured = (...ms: number[]): Durations => {
  const durations = new Durations();
  for (const one of ms) durations.record("payments.create", one);
  return durations;
};

describe("how long a run in flight will go on", () => {
  it("is the median of what longer runs took, less what has passed", () => {
    expect(measured(100, 300, 200).remainingMs("payments.create", 0)).toBe(200);
    expect(measured(100, 300, 200).remainingMs("payments.create", 150)).toBe(150);
    expect(measured(100, 300, 200).remainingMs("payments.create", 200)).toBe(100);
  });

  it("is a second when nothing was measured", () => {
    expect(measured().remainingMs("payments.create", 0)).toBe(1_000);
    expect(measured(5).remainingMs("refunds.create", 10)).toBe(1_000);
  });

  it("doubles for a run that is slower than any before: never a promise of now", () => {
    expect(measured(100).remainingMs("payments.create", 100)).toBe(1_000);
    expect(measured(100).remainingMs("payments.create", 7_000)).toBe(7_000);
  });

  it("comes from the recent past of its own operation", () => {
    const durations = measured(...Array.from({ length: DURATIONS_KEPT }, () => 10));
    durations.record("refunds.create", 9_000);
    for (let i = 0; i < DURATIONS_KEPT; i++) durations.record("payments.create", 500);
    expect(durations.remainingMs("payments.create", 0)).toBe(500);
  });

  it("is not decided by a few outliers", () => {
    expect(measured(10, 10, 10, 10, 30_000).remainingMs("payments.create", 0)).toBe(10);
  });

  it("is always more than nothing", () => {
    for (const elapsed of [0, 1, 99, 100, 101, 1e6]) {
      expect(measured(100, 50).remainingMs("payments.create", elapsed)).toBeGreaterThan(0);
    }
  });
});
