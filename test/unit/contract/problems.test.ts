import { describe, expect, it } from "vitest";
import {
  isProblemCode,
  problemDocument,
  type ProblemCode,
  PROBLEMS,
  type Problem,
  retryAfterSeconds,
} from "../../../src/contract/problems.ts";

const ORIGIN = "https://latchkey.example";
const codes = Object.keys(PROBLEMS).filter(isProblemCode);

/** What the contract promises to clients: code, status, which key to use next, whether a retry can help. */
const contract: Readonly<
  Record<ProblemCode, readonly [status: number, use: Problem["use"], shouldRetry: boolean]>
> = {
  "idempotency-key-missing": [400, "new-key", false],
  "idempotency-key-invalid": [400, "new-key", false],
  "request-invalid": [400, "same-key", false],
  unauthenticated: [401, "same-key", false],
  forbidden: [403, "same-key", false],
  "not-found": [404, "never", false],
  "method-not-allowed": [405, "never", false],
  "body-too-large": [413, "same-key", false],
  "unsupported-media-type": [415, "same-key", false],
  "idempotency-key-reused": [422, "new-key", false],
  "request-in-flight": [423, "same-key", true],
  "idempotency-key-expired": [410, "new-key", false],
  "outcome-erased": [410, "never", false],
  "outcome-uncertain": [409, "never", false],
  "response-not-stored": [409, "never", false],
  "resolution-refused": [409, "never", false],
  "nothing-to-redrive": [409, "never", false],
  "insufficient-funds": [402, "new-key", false],
  "out-of-stock": [409, "new-key", false],
  "refund-exceeds-payment": [409, "new-key", false],
  "unknown-account": [409, "new-key", false],
  "currency-mismatch": [409, "new-key", false],
  "unknown-payment": [404, "new-key", false],
  "unknown-product": [404, "new-key", false],
  "unknown-order": [404, "new-key", false],
  "order-already-cancelled": [409, "new-key", false],
  "already-exists": [409, "new-key", false],
  "limit-exceeded": [409, "new-key", false],
  "rate-limited": [429, "same-key", true],
  "operation-failed": [500, "new-key", false],
  "internal-error": [500, "same-key", true],
  "temporarily-unavailable": [503, "same-key", true],
  "upstream-unreachable": [502, "same-key", true],
  "unprotected-call-failed": [502, "never", false],
  "outcome-unknown-yet": [503, "same-key", true],
};

describe("the table of problems", () => {
  it.each(Object.entries(contract))(
    "%s is %j, as the contract says",
    (code, [status, use, retry]) => {
      if (!isProblemCode(code)) throw new Error(`${code} is not in the table`);
      expect(PROBLEMS[code]).toMatchObject({ status, use, shouldRetry: retry });
    },
  );

  it("has nothing that the contract does not have", () => {
    expect(codes.toSorted()).toEqual(Object.keys(contract).toSorted());
  });

  it.each(codes)("%s has a status of 4xx or 5xx, and texts for people", (code) => {
    const { status, title, cause, cure }: Problem = PROBLEMS[code];
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(title).toMatch(/^[A-Z].*[^.]$/);
    for (const sentence of [cause, cure]) expect(sentence).toMatch(/^[A-Z].*\.$/s);
  });

  it("never lets a retry loop by itself where a person has to act: only same-key is retried", () => {
    const retried = codes.filter((code) => PROBLEMS[code].shouldRetry);
    expect(retried.length).toBeGreaterThan(0);
    for (const code of retried) expect(PROBLEMS[code].use, `of ${code}`).toBe("same-key");
  });

  it("lets every 5xx that was not stored be retried, with the same key only; without a key nothing is safe", () => {
    for (const code of codes) {
      const { status, use, shouldRetry }: Problem = PROBLEMS[code];
      if (status < 500) continue;
      expect([use, shouldRetry], `of ${code}`).toEqual(
        code === "operation-failed"
          ? ["new-key", false]
          : code === "unprotected-call-failed"
            ? ["never", false]
            : ["same-key", true],
      );
    }
  });

  it("never advises a new key where the effect may have happened", () => {
    for (const code of [
      "outcome-unknown-yet",
      "outcome-uncertain",
      "response-not-stored",
    ] as const) {
      expect(PROBLEMS[code].use).not.toBe("new-key");
    }
  });
});

describe("isProblemCode", () => {
  it.each(["constructor", "toString", "__proto__", "", "Forbidden", "no-such-code"])(
    "%j is none",
    (code) => {
      expect(isProblemCode(code)).toBe(false);
    },
  );
});

describe("the problem document", () => {
  it("is RFC 9457 with the rule for a retry, and nothing else", () => {
    expect(problemDocument("insufficient-funds", ORIGIN)).toEqual({
      type: `${ORIGIN}/problems/insufficient-funds`,
      title: PROBLEMS["insufficient-funds"].title,
      status: 402,
      detail: PROBLEMS["insufficient-funds"].cause,
      code: "insufficient-funds",
      retry: { use: "new-key", reason: PROBLEMS["insufficient-funds"].cure },
    });
  });

  it("says what varies: detail, instance, learned time, further members", () => {
    expect(
      problemDocument("request-in-flight", ORIGIN, {
        detail: "Running.",
        instance: "/v1/idempotency-keys/k",
        afterMs: 250,
        members: { mismatched: ["amountMinor"] },
      }),
    ).toMatchObject({
      detail: "Running.",
      instance: "/v1/idempotency-keys/k",
      retry: { use: "same-key", afterMs: 250 },
      mismatched: ["amountMinor"],
    });
  });

  it("keeps a learned time of 0, and leaves out one that is not known", () => {
    expect(problemDocument("rate-limited", ORIGIN, { afterMs: 0 })["retry"]).toHaveProperty(
      "afterMs",
      0,
    );
    expect(problemDocument("rate-limited", ORIGIN)["retry"]).not.toHaveProperty("afterMs");
    expect(problemDocument("rate-limited", ORIGIN)).not.toHaveProperty("instance");
  });

  it("takes an operation's own problem under its own code", () => {
    const problem: Problem = {
      status: 409,
      title: "Shop closed",
      use: "new-key",
      shouldRetry: false,
      cause: "It is night.",
      cure: "Come back.",
    };
    expect(problemDocument("shop-closed", ORIGIN, { problem })).toMatchObject({
      type: `${ORIGIN}/problems/shop-closed`,
      status: 409,
      title: "Shop closed",
      code: "shop-closed",
    });
  });

  it("tells nothing of a code that nobody described, but that it is an internal error", () => {
    expect(problemDocument("no-such-code", ORIGIN)).toMatchObject({
      status: 500,
      title: PROBLEMS["internal-error"].title,
    });
  });

  it("is the same bytes every time: what is stored can be rendered once", () => {
    const make = () => JSON.stringify(problemDocument("out-of-stock", ORIGIN, { detail: "x" }));
    expect(make()).toBe(make());
  });
});

describe("Retry-After", () => {
  it.each([
    [0, 1],
    [1, 1],
    [999, 1],
    [1_000, 1],
    [1_001, 2],
    [59_999.5, 60],
    [-5, 1],
  ])("%d ms is said as %i s: rounded up, never 0", (ms, seconds) => {
    expect(retryAfterSeconds(ms)).toBe(seconds);
  });
});
