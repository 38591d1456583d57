import { describe, expect, it } from "vitest";
import * as limits from "../../../src/kernel/limits.ts";

describe("the limits of the contract", () => {
  it.each([
    ["KEY_LENGTH_MIN", limits.KEY_LENGTH_MIN, 16],
    ["KEY_LENGTH_MAX", limits.KEY_LENGTH_MAX, 255],
    ["BODY_BYTES_MAX", limits.BODY_BYTES_MAX, 64 * 1024],
    ["STORED_RESPONSE_BYTES_MAX", limits.STORED_RESPONSE_BYTES_MAX, 256 * 1024],
    ["JSON_DEPTH_MAX", limits.JSON_DEPTH_MAX, 32],
    ["WAIT_SECONDS_MAX", limits.WAIT_SECONDS_MAX, 20],
    ["WAITERS_PER_KEY_MAX", limits.WAITERS_PER_KEY_MAX, 100],
    ["WAITERS_PER_OBJECT_MAX", limits.WAITERS_PER_OBJECT_MAX, 1_000],
    ["KEY_LIFETIME_SECONDS", limits.KEY_LIFETIME_SECONDS, 24 * 3600],
    ["TOMBSTONE_SECONDS", limits.TOMBSTONE_SECONDS, 30 * 24 * 3600],
    ["COMMIT_BUDGET_MS", limits.COMMIT_BUDGET_MS, 5_000],
    ["GROUP_OPERATIONS_MAX", limits.GROUP_OPERATIONS_MAX, 64],
    ["GROUP_STATEMENTS_MAX", limits.GROUP_STATEMENTS_MAX, 500],
    ["GROUP_BYTES_MAX", limits.GROUP_BYTES_MAX, 1024 * 1024],
  ])("%s is what was promised", (_, limit, promised) => {
    expect(limit).toBe(promised);
  });
});

describe("limits that hold each other up", () => {
  it("a lost answer can be looked up and sent again within the budget", () => {
    expect(2 * limits.SEND_TIMEOUT_MS).toBeLessThan(limits.COMMIT_BUDGET_MS);
  });

  it("a group can be split or sent again within D1's 1,000 queries", () => {
    expect(2 * limits.GROUP_STATEMENTS_MAX).toBeLessThanOrEqual(1_000);
  });

  it("what is stored fits a row of D1, and a whole group fits an RPC message", () => {
    expect(limits.STORED_RESPONSE_BYTES_MAX).toBeLessThan(2_000_000);
    expect(limits.GROUP_OPERATIONS_MAX * limits.STORED_RESPONSE_BYTES_MAX).toBeLessThan(
      32 * 1024 ** 2,
    );
  });

  it("the queue holds at least one full group", () => {
    expect(limits.QUEUE_OPERATIONS_MAX).toBeGreaterThanOrEqual(limits.GROUP_OPERATIONS_MAX);
  });

  it("amounts stay exact when they are added up", () => {
    expect(Number.isSafeInteger(limits.AMOUNT_MINOR_MAX * 1_000)).toBe(true);
  });
});
