import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { advise } from "../../../src/advisor/advice.ts";
import { type Group, newGroup, noCounts } from "../../../src/advisor/group.ts";
import { mergeGroups } from "../../../src/advisor/merge.ts";
import { observe } from "../../../src/advisor/observation.ts";
import { restore, snapshotOf } from "../../../src/advisor/snapshot.ts";
import {
  ADVISOR_CLASSES_MAX,
  ADVISOR_OUTAGES_MAX,
  ADVISOR_SNAPSHOT_BYTES_MAX,
} from "../../../src/kernel/limits.ts";
import { property } from "../property.ts";

type Seen = { readonly status: number; readonly went: boolean; readonly ageMs: number };

const seen: fc.Arbitrary<Seen[]> = fc.array(
  fc.record({
    status: fc.constantFrom(0, 409, 429, 500, 503),
    went: fc.boolean(),
    ageMs: fc.integer({ min: 0, max: 100_000 }),
  }),
  { maxLength: 60 },
);

const lived = (past: readonly Seen[], group: Group = newGroup(0), fromMs = 0): Group => {
  past.forEach(({ status, went, ageMs }, at) => {
    const failure = { status, code: `c${at % 3}` };
    observe(group, {
      atMs: fromMs + at * 400,
      durationMs: 10 + (at % 5),
      failure: went ? undefined : failure,
      before: ageMs === 0 ? undefined : { failure, ageMs: 0, toAgeMs: ageMs },
      predicted: ageMs === 0 ? undefined : { context: "class", raw: ageMs / 100_000 },
    });
  });
  return group;
};

describe("A snapshot", () => {
  property(
    "restores a group that advises as the one it was taken of",
    fc.property(seen, (past) => {
      const group = lived(past);
      const restored = restore(snapshotOf(group));
      if (restored === undefined) throw new Error("It was not read.");
      const question = { failure: { status: 503, code: "c1" }, retries: 0, ageMs: 200 };
      const [mine, theirs] = [group, restored].map((one) =>
        advise(one, question, 60_000, () => 0.9),
      );
      expect(theirs).toEqual(mine);
      // What one question does not hang on is there too; what is held is of the isolate, and stays with it.
      expect(restored).toEqual({ ...group, held: [] });
    }),
    100,
  );

  it("from before there were doubts and lines of calibration is read, with what it knows", () => {
    const group = lived([{ status: 503, went: true, ageMs: 500 }]);
    const text = snapshotOf(group)
      .replaceAll(/"doubt":[^,}]+,"refutedAtMs":[^,}]+/gu, '"since":1')
      .replaceAll(/"line":\{[^}]+\}/gu, '"error":0.1');
    expect(text).not.toContain("doubt");
    expect(text).not.toContain("line");
    const [counts] = restore(text)?.table.classes.values() ?? [];
    expect(counts?.ended[0]).toBeGreaterThan(0.9);
    expect(counts?.doubt).toBe(0);
  });

  for (const text of ["", "{}", "null", '{"version":2}', "[1", "x".repeat(200_000)]) {
    it(`that is not one of ours is not read: ${text.slice(0, 20)}`, () => {
      expect(restore(text)).toBeUndefined();
    });
  }

  it("is bounded, however many codes and outages there were", () => {
    const group = newGroup(0);
    for (let at = 0; at < 1_000; at++) {
      const failure = { status: 200 + (at % 300), code: `code-${at}-${"x".repeat(200)}` };
      observe(group, {
        atMs: at * 1_000,
        durationMs: 5,
        failure: undefined,
        before: { failure, ageMs: 0, toAgeMs: 500_000 },
      });
    }
    for (let at = 0; at < 200; at++) {
      const atMs = 2_000_000 + at * 60_000;
      const down = { status: 503, code: "" };
      for (let n = 0; n < 40; n++)
        observe(group, { atMs: atMs + n, durationMs: 5, failure: n < 30 ? down : undefined });
    }
    expect(group.table.classes.size).toBe(ADVISOR_CLASSES_MAX);
    expect(group.health.outages.length).toBeLessThanOrEqual(ADVISOR_OUTAGES_MAX);
    const text = snapshotOf(group);
    expect(text.length).toBeLessThan(ADVISOR_SNAPSHOT_BYTES_MAX);
    expect(restore(text)).toBeDefined();
  });
});

describe("Groups of several isolates", () => {
  property(
    "merge to what one that saw it all has counted, and stand where the latest stands",
    fc.property(seen, seen, (first, second) => {
      const told = lived(first);
      const shared = restore(snapshotOf(told));
      if (shared === undefined) throw new Error("It was not read.");
      const isolate: Group = { ...shared, untold: noCounts() };
      lived(second, isolate, 1_000_000);
      const object = restore(snapshotOf(told));
      const news = restore(snapshotOf(isolate, "untold"));
      if (object === undefined || news === undefined) throw new Error("It was not read.");
      mergeGroups(object, news, 2_000_000);
      const total = ({ table }: Group): number =>
        [...table.classes.values()].reduce(
          (sum, { ended }) => sum + ended.reduce((all, count) => all + count, 0),
          0,
        );
      // Counts are forgotten a little while time passes.
      expect(total(object)).toBeGreaterThanOrEqual(total(isolate) - 0.5);
      if (second.length > 0) expect(object.health.up).toBe(isolate.health.up);
    }),
    100,
  );

  it("tell of one outage once, though each has seen it", () => {
    const [one, other] = [newGroup(0), newGroup(0)];
    one.health.outages.push({ fromMs: 1_000, toMs: 9_000 });
    other.health.outages.push({ fromMs: 1_200, toMs: 9_500 });
    mergeGroups(one, other, 10_000);
    expect(one.health.outages).toEqual([{ fromMs: 1_000, toMs: 9_500 }]);
  });

  it("pass on what was refuted, and doubts as well as that they are gone", () => {
    const object = newGroup(0);
    const codes = ["turned", "other"];
    const isolate: { group: Group } = { group: newGroup(0) };
    /** Retries that outlive everything, or end at once; then the object is told, and answers. */
    const told = (code: string, went: boolean, times: number, fromMs: number): void => {
      isolate.group = { ...isolate.group, untold: noCounts() };
      const failure = { status: 409, code };
      for (let at = 0; at < times; at++) {
        observe(isolate.group, {
          atMs: fromMs + at * 20_000,
          durationMs: 5,
          failure: went ? undefined : failure,
          before: { failure, ageMs: 0, toAgeMs: 10_000 },
        });
      }
      const news = restore(snapshotOf(isolate.group, "untold"));
      if (news === undefined) throw new Error("It was not read.");
      mergeGroups(object, news, fromMs);
      const shared = restore(snapshotOf(object));
      if (shared === undefined) throw new Error("It was not read.");
      isolate.group = shared;
    };
    const [turned = "", other = ""] = codes.map((code) => `409:${code}`);
    for (const code of codes) told(code, false, 60, 0);
    told("turned", true, 1, 2_000_000);
    expect(object.table.classes.get(turned)?.doubt).toBeGreaterThan(1);
    told("turned", true, 1, 2_100_000);
    // Over two exchanges, and yet it is refuted, and what had been counted forgotten.
    expect(object.table.classes.get(turned)?.outlived[0]).toBeLessThan(3);
    expect(object.table.classes.get(other)?.doubt).toBeGreaterThan(2);
    told("other", false, 20, 2_200_000);
    expect(object.table.classes.get(other)?.doubt).toBe(0);
  });
});
