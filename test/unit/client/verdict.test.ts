/** What the client makes of an answer: each rule, and which of two rules wins. */
import { describe, expect, it } from "vitest";
import { judge, type Marks, marksOf } from "../../../src/client/verdict.ts";
import { type ProblemCode, PROBLEMS } from "../../../src/contract/problems.ts";

const marks = (change: Partial<Marks>): Marks => ({
  status: 200,
  code: null,
  expiresAtMs: null,
  replayed: false,
  accepted: false,
  shouldRetry: null,
  afterMs: null,
  ...change,
});

const verdictOf = (change: Partial<Marks>) => judge(marks(change)).is;

describe("an answer without a problem document", () => {
  it.each([
    [200, "final"],
    [201, "final"],
    [204, "final"],
    [202, "final"],
    [301, "blocked"],
    [307, "blocked"],
    [0, "blocked"],
    [400, "final"],
    [401, "blocked"],
    [402, "final"],
    [403, "blocked"],
    [404, "final"],
    [408, "retry"],
    [409, "retry"],
    [422, "final"],
    [423, "retry"],
    [425, "retry"],
    [429, "retry"],
    [500, "retry"],
    [501, "final"],
    [502, "retry"],
    [503, "retry"],
    [504, "retry"],
  ])("of status %i is %s", (status, is) => {
    expect(verdictOf({ status })).toBe(is);
  });
});

describe("an answer of the problem table", () => {
  const all = Object.keys(PROBLEMS) as ProblemCode[];

  it.each(all)("%s is retried exactly if the table says that a retry can help", (code) => {
    const { status, shouldRetry } = PROBLEMS[code];
    expect(verdictOf({ status, code }) === "retry").toBe(shouldRetry);
  });

  it.each(all)("%s is final if it is stored, whatever else it says", (code) => {
    const { status } = PROBLEMS[code];
    expect(verdictOf({ status, code, expiresAtMs: 1, shouldRetry: true })).toBe("final");
  });

  it("frees the key where the request itself was refused, and keeps the intent where a token or a person is missing", () => {
    expect(verdictOf({ status: 400, code: "request-invalid" })).toBe("free");
    expect(verdictOf({ status: 413, code: "body-too-large" })).toBe("free");
    expect(verdictOf({ status: 401, code: "unauthenticated" })).toBe("blocked");
    expect(verdictOf({ status: 403, code: "forbidden" })).toBe("blocked");
    expect(verdictOf({ status: 409, code: "outcome-uncertain" })).toBe("blocked");
  });

  it("never sends an expired or a mismatched key again", () => {
    for (const code of [
      "idempotency-key-expired",
      "outcome-erased",
      "idempotency-key-reused",
    ] as const) {
      expect(verdictOf({ status: PROBLEMS[code].status, code })).toBe("final");
    }
  });
});

describe("the server's word on this very answer", () => {
  it("outweighs the table and the status, both ways", () => {
    expect(verdictOf({ status: 409, shouldRetry: false })).toBe("final");
    expect(verdictOf({ status: 503, shouldRetry: false })).toBe("final");
    expect(verdictOf({ status: 418, shouldRetry: true })).toBe("retry");
    expect(verdictOf({ status: 400, code: "request-invalid", shouldRetry: true })).toBe("retry");
  });

  it("does not make a retry of missing credentials, of a redirect or of a success", () => {
    for (const status of [200, 302, 401, 403]) {
      expect(verdictOf({ status, shouldRetry: true })).not.toBe("retry");
    }
  });

  it("202 to respond-async is no outcome; any other 202 is", () => {
    expect(judge(marks({ status: 202, accepted: true, afterMs: 7 }))).toEqual({
      is: "retry",
      afterMs: 7,
    });
  });
});

describe("the marks of an answer", () => {
  const read = (status: number, headers: Record<string, string>, problem = {}) =>
    marksOf(status, new Headers(headers), problem, Date.parse("2026-01-01T00:00:00Z"));

  it("advice is read from the problem, else from Retry-After in seconds or as a date", () => {
    const date = { "Retry-After": "Thu, 01 Jan 2026 00:00:09 GMT" };
    expect(read(503, { "Retry-After": "2" }, { retry: { afterMs: 1234 } }).afterMs).toBe(1234);
    expect(read(503, { "Retry-After": "2" }, { retry: { afterMs: -1 } }).afterMs).toBe(2000);
    expect(read(503, { "Retry-After": "2" }).afterMs).toBe(2000);
    expect(read(503, date).afterMs).toBe(9000);
    expect(read(503, { "Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT" }).afterMs).toBe(0);
    expect(read(503, { "Retry-After": "soon" }).afterMs).toBeNull();
    expect(read(503, {}).afterMs).toBeNull();
  });

  it("replay, expiry and the headers of unchanged SDKs are read", () => {
    const seen = read(402, {
      "Idempotent-Replayed": "true",
      "Idempotency-Expires": "Fri, 02 Jan 2026 00:00:00 GMT",
      "Stripe-Should-Retry": "false",
    });
    expect(seen).toMatchObject({
      replayed: true,
      expiresAtMs: Date.parse("2026-01-02T00:00:00Z"),
      shouldRetry: false,
    });
    expect(read(503, { "X-Should-Retry": "true" }).shouldRetry).toBe(true);
    expect(read(202, { "Preference-Applied": "respond-async, wait=5" }).accepted).toBe(true);
    expect(read(202, {}).accepted).toBe(false);
  });
});
