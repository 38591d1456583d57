import { expect, it } from "vitest";
import { systemClock, wholeSeconds } from "../../../src/kernel/clock.ts";

it.each([
  [0, 0],
  [999, 0],
  [1_000, 1],
  [1_999, 1],
  [1_800_000_000_999, 1_800_000_000],
])("56: %i ms is second %i: rounded down, so that no layer expires a key early", (ms, seconds) => {
  expect(wholeSeconds(ms)).toBe(seconds);
});

it("the system's clock counts milliseconds since the epoch", () => {
  expect(Math.abs(systemClock() - Date.now())).toBeLessThan(1_000);
});
