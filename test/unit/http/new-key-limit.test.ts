import { describe, expect, it } from "vitest";
import { isOverNewKeyLimit } from "../../../src/http/new-key-limit.ts";

/** Lets `limit` calls pass, and keeps what it was asked. */
const limiter = (limit: number) => {
  const asked: string[] = [];
  return {
    asked,
    limit: ({ key }: { key: string }) => Promise.resolve({ success: asked.push(key) <= limit }),
  };
};

describe("65: new keys are counted", () => {
  it("for the tenant, and a retry is not a new key", async () => {
    const counter = limiter(2);
    const over = async (key: string) => isOverNewKeyLimit(counter, "limit-tenant", key);
    expect([await over("k1"), await over("k1"), await over("k2"), await over("k1")]).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(counter.asked).toEqual(["limit-tenant", "limit-tenant"]);
  });

  it("63: and one over the limit is refused, and counted again when it comes back", async () => {
    const counter = limiter(0);
    const over = async () => isOverNewKeyLimit(counter, "limit-tenant", "k-over");
    expect([await over(), await over()]).toEqual([true, true]);
    expect(counter.asked).toHaveLength(2);
  });

  it("24: of each tenant for itself", async () => {
    const counter = limiter(10);
    await isOverNewKeyLimit(counter, "limit-a", "k1");
    await isOverNewKeyLimit(counter, "limit-b", "k1");
    expect(counter.asked).toEqual(["limit-a", "limit-b"]);
  });

  it("not where nothing limits, nor where there is no key", async () => {
    const counter = limiter(0);
    await expect(isOverNewKeyLimit(undefined, "limit-tenant", "k")).resolves.toBe(false);
    await expect(isOverNewKeyLimit(counter, "limit-tenant", undefined)).resolves.toBe(false);
    expect(counter.asked).toEqual([]);
  });
});
