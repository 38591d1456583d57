import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  hasEmptySegments,
  isPathPattern,
  isTrickPath,
  matchesPath,
} from "../../../src/gateway/path-pattern.ts";
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
  it.each([
    ["/v1/../a", "a dot segment"],
    ["/v1/%2e%2E/a", "an encoded one"],
    ["/v1/.", "one at the end"],
    ["/v1/..;/a", "one with a parameter"],
    ["/v1/..%2fa", "one before an encoded slash"],
    ["/v1/a%2F..%2Fb", "one between encoded slashes"],
    ["/v1/a%5c..", "one behind an encoded backslash"],
    ["/v1/a\\b", "a backslash"],
    ["/v1/..%2fb%ff", "one beside bytes that are no UTF-8"],
    ["/v1/%2e%2E%5cb%zz", "one beside an escape that is none"],
  ])("%s is one: %s", (path) => expect(isTrickPath(path)).toBe(true));

  it.each(["/", "/v1/", "/v1/a.b", "/v1/...", "/v1/.well-known", "/v1/a%2Fb", "/v1/a%2F.b"])(
    "%s is none",
    (path) => expect(isTrickPath(path)).toBe(false),
  );

  it.each([
    ["//", true],
    ["//v1/a", true],
    ["/v1//a", true],
    ["/v1/a//", true],
    ["/", false],
    ["/v1/a/", false],
  ])("whether %s has empty segments: %s", (path, expected) =>
    expect(hasEmptySegments(path)).toBe(expected),
  );
});
