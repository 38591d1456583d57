import { expect, it } from "vitest";
import { isScope, SCOPES } from "../../../src/contract/scopes.ts";

it("27: the scopes are those of the contract", () => {
  expect(SCOPES.toSorted()).toEqual([
    "ledger:fund",
    "ops:act",
    "ops:read",
    "ops:support",
    "orders:write",
    "payments:write",
    "read",
    "stock:write",
  ]);
  for (const scope of SCOPES) expect(isScope(scope)).toBe(true);
});

it("a scope of an operation of one's own can be granted", () => {
  for (const text of ["seats:write", "loyalty-points:read"]) expect(isScope(text)).toBe(true);
});

it.each(["ops:", "ops:root", "ops:write", "ops:act "])(
  "27: %j is no operators' scope, and nobody's own",
  (text) => {
    expect(isScope(text)).toBe(false);
  },
);

it.each(["", "READ", "read ", "payments:*", "payments", "constructor", "ops"])(
  "27: %j grants nothing",
  (text) => {
    expect(isScope(text)).toBe(false);
  },
);
