import { describe, expect, it } from "vitest";
import { withTimeout } from "../../../src/kernel/timeout.ts";

describe("withTimeout", () => {
  it("gives what the work gives, when it comes in time", async () => {
    await expect(withTimeout(Promise.resolve(5), 1_000)).resolves.toBe(5);
    await expect(withTimeout(Promise.reject(new Error("x")), 1_000)).rejects.toThrow("x");
  });

  it("leaves no timer behind: a timer keeps an object in memory, and billed", async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    await withTimeout(Promise.resolve(5), 60_000);
    await withTimeout(Promise.reject(new Error("x")), 60_000).catch(() => undefined);
    const after = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    expect(after).toBe(before);
  });
});
