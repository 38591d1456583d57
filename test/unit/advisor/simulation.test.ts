import { describe, expect, it } from "vitest";
import { measure } from "../../../sim/measure.ts";
import { advised } from "../../../sim/policies/advised.ts";
import { fixed } from "../../../sim/policies/fixed.ts";
import { WORKLOADS } from "../../../sim/workloads.ts";
import { run, type MakePolicy } from "../../../sim/world.ts";

const overload = async (policy: MakePolicy) => {
  const workload = WORKLOADS.find(({ name }) => name === "c");
  if (workload === undefined) throw new Error("There is no such workload.");
  return measure(await run({ ...workload, spanMs: 8 * 60_000 }, policy, 3));
};

describe("An overload that feeds on retries", () => {
  it("is not fed by the advisor (seed 3)", async () => {
    const { success, peak } = await overload(advised());
    expect(success).toBeGreaterThan(99.9);
    expect(peak).toBeLessThan(1.5);
  });

  it("is kept alive by exponential backoff: the workload is what it says (seed 3)", async () => {
    const exponential = fixed({ retries: 5, baseMs: 200, capMs: 20_000, codes: "usual" });
    expect((await overload(exponential)).success).toBeLessThan(80);
  });
});
