import { describe, expect, it } from "vitest";
import {
  adjust,
  type Admission,
  demanded,
  openAdmission,
  pushIn,
  released,
  takePlace,
} from "../../../src/advisor/admission.ts";
import { type Group, newGroup } from "../../../src/advisor/group.ts";
import { healthy } from "../../../src/advisor/health.ts";
import { observe } from "../../../src/advisor/observation.ts";

/** Ten first tries a second, for a minute. */
const inDemand = (): Admission => {
  const admission = openAdmission(0);
  for (let at = 0; at < 600; at++) demanded(admission, at * 100);
  return admission;
};

describe("An origin that was overloaded", () => {
  it("is sent what it was sent when it fell ill again, not the usual, when it is back", () => {
    const admission = inDemand();
    released(admission, true, 60_000);
    const first = admission.rate;
    const late = { status: 0, code: "timeout" };
    for (let at = 1; at < 4; at++) {
      adjust(admission, healthy(0), late, 2_000, 60_000 + at * 1_500);
    }
    released(admission, true, 70_000);
    expect(admission.rate).toBeLessThan(0.7 * first);
    expect(admission.rate).toBeGreaterThan(1);
  });

  it("is not sent both those with places from before it was down and as many new ones", () => {
    const admission = inDemand();
    released(admission, true, 60_000);
    while (takePlace(admission, 60_000) !== undefined);
    released(admission, true, 61_000);
    expect(takePlace(admission, 61_000)).toBeGreaterThan(3_000);
  });

  it("is sent no more in all for those that cannot wait: others go later for them", () => {
    const admission = inDemand();
    released(admission, true, 60_000);
    const before = takePlace(admission, 60_000) ?? -1;
    for (let at = 0; at < 9; at++) pushIn(admission, 60_000);
    expect(takePlace(admission, 60_000)).toBeGreaterThan(before + 800);
  });
});

describe("A latency", () => {
  const answered = (
    group: Group,
    fromMs: number,
    seconds: number,
    tookMs: (s: number) => number,
  ) => {
    for (let at = 0; at < seconds * 15; at++) {
      const atMs = fromMs + at * 67;
      demanded(group.admission, atMs);
      observe(group, { atMs, durationMs: tookMs(at / 15), failure: undefined });
    }
  };
  const limited = (): Group => {
    const group = newGroup(0);
    answered(group, 0, 60, () => 80);
    released(group.admission, true, 60_000);
    return group;
  };

  it("that grows while a queue builds up does not pass for usual: less is sent before anything fails", () => {
    const group = limited();
    const start = group.admission.rate;
    answered(group, 60_000, 30, (second) => 80 + 20 * second);
    expect(group.admission.rate).toBeLessThan(0.6 * start);
    expect(group.health.latencyMs).toBeLessThan(160);
  });

  it("that stays three times as long is usual in the end: an origin that got slower is not starved for good", () => {
    const group = limited();
    answered(group, 60_000, 300, () => 240);
    expect(group.admission.rate).toBeGreaterThan(group.admission.demand);
  });
});
