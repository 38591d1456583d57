import { describe, expect, it } from "vitest";
import {
  httpDate,
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  JSON_TYPE,
  PROBLEM_TYPE,
  REQUEST_ID,
  SHOULD_RETRY,
} from "../../../src/contract/headers.ts";

describe("the names on the wire", () => {
  it("are those of the contract", () => {
    expect([IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, IDEMPOTENCY_EXPIRES, REQUEST_ID]).toEqual([
      "Idempotency-Key",
      "Idempotent-Replayed",
      "Idempotency-Expires",
      "X-Request-Id",
    ]);
    expect(SHOULD_RETRY).toEqual(["Stripe-Should-Retry", "X-Should-Retry"]);
    expect([JSON_TYPE, PROBLEM_TYPE]).toEqual(["application/json", "application/problem+json"]);
  });
});

describe("httpDate", () => {
  it("is the example of RFC 9110 section 5.6.7", () => {
    expect(httpDate(784_111_777)).toBe("Sun, 06 Nov 1994 08:49:37 GMT");
  });

  it("is read back as the very same second", () => {
    for (const second of [0, 1, 951_782_400, 1_800_000_000, 4_102_444_800]) {
      expect(Date.parse(httpDate(second))).toBe(second * 1000);
      expect(httpDate(second)).toMatch(
        /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/,
      );
    }
  });
});
