import { describe, expect, it } from "vitest";
import { findingOn, verdictOn, verdictOnFailure } from "../../../src/gateway/outcome-rule.ts";

const plain = { finalStatuses: null, honoursKey: false };

describe("what an upstream's answer means", () => {
  it("76: every status but 408, 425, 429 and 5xx is an outcome; 429 alone was not executed", () => {
    for (let status = 200; status < 600; status++) {
      const expected =
        status === 429
          ? "not-executed"
          : status === 408 || status === 425 || status >= 500
            ? "maybe-executed"
            : "final";
      expect([status, verdictOn(status, plain, false)]).toEqual([status, expected]);
      expect([status, verdictOn(status, plain, true)]).toEqual([status, expected]);
    }
  });

  it("a route's own list of final statuses is the whole list, and 429 off it is still not executed", () => {
    const own = { finalStatuses: [200, 500], honoursKey: false };
    expect([200, 500, 404, 429].map((status) => verdictOn(status, own, false))).toEqual([
      "final",
      "final",
      "maybe-executed",
      "not-executed",
    ]);
  });

  it("76: 'I am still at it' of an upstream that honours keys is no outcome of a key that was sent before", () => {
    const honours = { finalStatuses: null, honoursKey: true };
    for (const status of [409, 423]) {
      expect(verdictOn(status, honours, false)).toBe("final");
      expect(verdictOn(status, honours, true)).toBe("maybe-executed");
      expect(verdictOn(status, { ...honours, finalStatuses: [status] }, true)).toBe("final");
    }
  });

  it("77: a connection that broke proves nothing once the request was sent, and all before", () => {
    expect(verdictOnFailure(true)).toBe("maybe-executed");
    expect(verdictOnFailure(false)).toBe("not-executed");
  });

  it("only 200 tells an outcome, and only 404 an absence", () => {
    for (let status = 200; status < 600; status++) {
      const expected = status === 200 ? "outcome" : status === 404 ? "absent" : "unknown";
      expect(findingOn(status)).toBe(expected);
    }
  });
});
