import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { prefersAsync, waitMsOf } from "../../../src/http/prefer.ts";
import { WAIT_SECONDS_MAX } from "../../../src/kernel/limits.ts";
import { property, text } from "../property.ts";

describe("Prefer: wait", () => {
  it.each([
    ["wait=5", 5_000],
    ["wait=0", 0],
    ["wait=20", 20_000],
    ["WAIT=5", 5_000],
    ["  wait = 5 ", 5_000],
    ['wait="5"', 5_000],
    ["wait=5;foo=bar", 5_000],
    ["respond-async, wait=10", 10_000],
    ["wait=10, respond-async", 10_000],
    ["return=minimal,wait=3,handling=lenient", 3_000],
    ["wait=5, wait=10", 5_000],
  ])("%j is a wait of %i ms", (header, ms) => {
    expect(waitMsOf(header)).toBe(ms);
  });

  it("is held to the longest wait there is", () => {
    expect(waitMsOf("wait=21")).toBe(WAIT_SECONDS_MAX * 1_000);
    expect(waitMsOf("wait=99999")).toBe(WAIT_SECONDS_MAX * 1_000);
  });

  it.each([
    undefined,
    "",
    "wait",
    "wait=",
    "wait=-1",
    "wait=1.5",
    "wait=soon",
    "wait=5s",
    "await=5",
    "no-wait=5",
    "wait-for=5",
    "foo=wait=5",
    "respond-async; wait=5",
    "wait=NaN",
    "wait=Infinity",
  ])("%j asks for no wait", (header) => {
    expect(waitMsOf(header)).toBe(0);
  });

  property(
    "67: is a whole number of seconds within the limit, whatever is sent",
    fc.property(
      fc.oneof(
        text,
        fc.tuple(fc.integer(), text).map(([n, more]) => `wait=${n}${more}`),
      ),
      (header) => {
        const ms = waitMsOf(header);
        expect(ms >= 0 && ms <= WAIT_SECONDS_MAX * 1_000 && ms % 1_000 === 0).toBe(true);
      },
    ),
  );

  it("of hostile length is read in no time", () => {
    const started = performance.now();
    for (const header of [
      "wait ".repeat(5_000),
      `wait=5${" ".repeat(20_000)}x`,
      ",".repeat(30_000),
      `${" ".repeat(30_000)}wait`,
    ]) {
      waitMsOf(header);
    }
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe("Prefer: respond-async", () => {
  it.each([
    "respond-async",
    "Respond-Async",
    " respond-async ",
    "respond-async, wait=10",
    "wait=10, respond-async",
    "return=minimal,respond-async;foo=bar,handling=lenient",
  ])("%j asks for it", (header) => {
    expect(prefersAsync(header)).toBe(true);
  });

  it.each([
    undefined,
    "",
    "wait=10",
    "respond-asynchronously",
    "do-not-respond-async",
    "return=respond-async",
    "respond async",
  ])("%j does not", (header) => {
    expect(prefersAsync(header)).toBe(false);
  });
});
