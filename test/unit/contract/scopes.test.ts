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

it.each(["", "READ", "read ", "payments:*", "payments", "constructor", "ops"])(
  "27: %j grants nothing",
  (text) => {
    expect(isScope(text)).toBe(false);
  },
);
