import { describe, expect, it } from "vitest";
import { roundUp } from "../../../src/console/chart.tsx";
import { curlFor } from "../../../src/console/curl.ts";
import { money } from "../../../src/console/format.tsx";
import { type Evidence, storyOf } from "../../../src/console/story.ts";
import { parseTally, sumOf } from "../../../src/console/tally.ts";

const charged: Evidence = {
  operation: "payments.create",
  kind: "effect",
  code: null,
  isMade: true,
  answers: {},
  differing: [],
  isErased: false,
};

describe("the first sentences of a request", () => {
  it.each([
    [{}, "Charged once."],
    [{ answers: { replayed: 3 } }, "Charged once. Three retries got the same answer."],
    [
      { answers: { "idempotency-key-reused": 1 }, differing: ["amountMinor"] },
      "Charged once. One other request used the same key with other content, in amountMinor: refused.",
    ],
    [
      { kind: "refusal", code: "insufficient-funds" },
      "Refused, and nothing changed: insufficient funds.",
    ],
    [{ kind: "open" }, "Begun, and its outcome is not known yet."],
    [
      { kind: "uncertain" },
      "It may have been carried out, and nobody can tell: look where it would have happened.",
    ],
    [{ kind: "not-executed" }, "Not carried out: the key is free to run."],
    [{ operation: "seats.book", isMade: undefined }, "Done once."],
    [{ isErased: true }, "Charged once. Its answer was erased on request."],
  ] as const)("of %j are: %s", (change, story) => {
    expect(storyOf({ ...charged, ...change })).toBe(story);
  });

  it("never say that something was done which is not there", () => {
    expect(storyOf({ ...charged, isMade: false })).not.toContain("once");
  });
});

it("a command to copy is one shell word each, whatever the key holds, and names what the link names", () => {
  const text = curlFor({
    origin: "https://pay.example",
    method: "POST",
    path: "/v1/payments/{id}/refunds",
    link: "/v1/payments/pay_1/refunds/ref_1",
    key: "a'$(rm)`b`-0123456789",
  });
  expect(text).toContain("'https://pay.example/v1/payments/pay_1/refunds'");
  expect(text).toContain(String.raw`'Idempotency-Key: a'\''$(rm)` + "`b`-0123456789'");
});

it("money has its currency's digits", () => {
  expect([money(-250, "EUR"), money(1250, "JPY"), money(1_234_567, "KWD")]).toEqual([
    "−2.50 EUR",
    "1,250 JPY",
    "1,234.567 KWD",
  ]);
});

it("a grouped row is summed by what its codes mean, and one that cannot be read is empty", () => {
  const { answers } = parseTally({
    answers: {
      a: { replayed: 2, "request-in-flight": 1, "temporarily-unavailable": 4, accepted: 9 },
    },
  });
  expect(sumOf(Object.values(answers))).toEqual({ replayed: 2, conflicts: 1, failed: 4 });
  expect(parseTally("nonsense")).toEqual({ answers: {}, keys: {}, differing: {} });
});

it("a chart's scale ends at a round number that nothing exceeds", () => {
  expect([0, 1, 3, 44, 100, 101].map(roundUp)).toEqual([1, 1, 5, 50, 100, 200]);
});
