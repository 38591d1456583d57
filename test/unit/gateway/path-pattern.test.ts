import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isPathPattern, isTrickPath, matchesPath } from "../../../src/gateway/path-pattern.ts";
import { property } from "../property.ts";

describe("a path pattern", () => {
  it.each([
    ["/", "/", true],
    ["/**", "/", true],
    ["/**", "/a/b", true],
    ["/v1/charges", "/v1/charges", true],
    ["/v1/charges", "/v1/charges/", false],
    ["/v1/charges", "/v1/Charges", false],
    ["/v1/charges/**", "/v1/charges", true],
    ["/v1/charges/**", "/v1/charges/ch_1/refunds", true],
    ["/v1/charges/**", "/v1/chargesx", false],
    ["/v1/charges/*/capture", "/v1/charges/ch_1/capture", true],
    ["/v1/charges/*/capture", "/v1/charges//capture", false],
    ["/v1/charges/*/capture", "/v1/charges/a/b/capture", false],
    ["/v1/*", "/v1/a%2Fb", true],
    ["/v1/charges", "/v1/%63harges", true],
    ["/v1/charges", "/v1/%zz", false],
  ])("%s of %s: %s", (pattern, path, expected) => {
    expect(isPathPattern(pattern)).toBe(true);
    expect(matchesPath(pattern, path)).toBe(expected);
  });

  it.each(["", "v1", "/v1/ch*", "/**/a", "/a?b", "/a#b", "/a b"])("is not %s", (text) => {
    expect(isPathPattern(text)).toBe(false);
  });

  const segment = fc.constantFrom("a", "b", "c d", "é", "%");
  property(
    "matches what it spells, and with ** whatever begins so",
    fc.property(fc.array(segment, { minLength: 1 }), fc.array(segment), (spelled, more) => {
      const path = `/${spelled.map(encodeURIComponent).join("/")}`;
      const longer = [path, ...more.map(encodeURIComponent)].join("/");
      const pattern = `/${spelled.join("/")}`;
      return (
        matchesPath(pattern, path) &&
        matchesPath(`${pattern}/**`, longer) &&
        matchesPath(pattern, longer) === (more.length === 0)
      );
    }),
  );
});

describe("33: a path that might mean another one", () => {
  it.each(["//", "//v1/a", "/v1//a", "/v1/../a", "/v1/%2e%2E/a", "/v1/.", "/v1/..;/a", "/v1/a\\b"])(
    "%s is one",
    (path) => expect(isTrickPath(path)).toBe(true),
  );
  it.each(["/", "/v1/", "/v1/a.b", "/v1/...", "/v1/.well-known", "/v1/a%2Fb"])(
    "%s is none",
    (path) => expect(isTrickPath(path)).toBe(false),
  );
});
