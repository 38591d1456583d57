import { describe, expect, it } from "vitest";
import {
  ACCOUNT_COLUMNS,
  accountId,
  accountReference,
  accountView,
  isSystemAccount,
  openAccount,
  systemAccountId,
  toAccountView,
} from "../../../src/ledger/account.ts";
import { sql, trusted } from "../../../src/kernel/sql.ts";
import { Sqlite } from "../sqlite.ts";

describe("an account's id", () => {
  it.each(["abc", "alice", "acc_01aryz6s41tsv4rrffq69g5fav", "0-0", "a".repeat(64)])(
    "%s may be chosen",
    (id) => {
      expect(accountId.safeParse(id).success).toBe(true);
      expect(accountReference.safeParse(id).success).toBe(true);
    },
  );

  it.each([
    "",
    "ab",
    "a".repeat(65),
    "Alice",
    "_a1",
    "-a1",
    "a b",
    "a/b",
    "a:b",
    "é12",
    "abc\n",
    "' OR 1=1",
  ])("8: %j may not", (id) => {
    expect(accountId.safeParse(id).success).toBe(false);
    expect(accountReference.safeParse(id).success).toBe(false);
  });

  it("of a system account can be named in a transfer, and never chosen", () => {
    const id = systemAccountId("EUR");
    expect(id).toBe("system:EUR");
    expect(accountReference.safeParse(id).success).toBe(true);
    expect(accountId.safeParse(id).success).toBe(false);
  });

  it.each(["system:", "system:eur", "system:EURO", "system:EUR\n", "SYSTEM:EUR"])(
    "%j names no account at all",
    (id) => {
      expect(accountReference.safeParse(id).success).toBe(false);
    },
  );

  it("is a system account's by its prefix alone, also where no schema has judged it yet", () => {
    expect(["system:EUR", "system:", "system:x"].map(isSystemAccount)).toEqual([true, true, true]);
    for (const other of ["alice", "a-system:EUR", "System:EUR", null, 1, ["system:EUR"]]) {
      expect(isSystemAccount(other)).toBe(false);
    }
  });
});

describe("opening an account", () => {
  const account = { id: "alice", currency: "EUR", overdraftLimitMinor: 500, nowMs: 1_000 };

  it("opens the currency's system account with the first, which alone has no limit", () => {
    expect(openAccount(account)).toEqual([
      {
        kind: "insert",
        table: "accounts",
        row: { id: "system:EUR", currency: "EUR", overdraft_limit: null, created_at_ms: 1_000 },
        ifAbsent: true,
      },
      {
        kind: "insert",
        table: "accounts",
        row: { id: "alice", currency: "EUR", overdraft_limit: 500, created_at_ms: 1_000 },
        ifAbsent: false,
      },
    ]);
  });

  it("L: opens it empty: there is no balance to give", () => {
    for (const effect of openAccount(account)) {
      expect(effect.kind === "insert" && Object.keys(effect.row)).not.toContain("balance");
    }
  });
});

describe("an account's view", () => {
  const row = { id: "alice", currency: "EUR", balance: -5, overdraft_limit: 500, created_at_ms: 0 };

  it("is what its schema promises, for a system account too", () => {
    for (const one of [row, { ...row, id: "system:EUR", overdraft_limit: null }]) {
      expect(accountView.safeParse(toAccountView(one)).success).toBe(true);
    }
    expect(toAccountView(row)).toEqual({
      id: "alice",
      currency: "EUR",
      balanceMinor: -5,
      overdraftLimitMinor: 500,
      createdAt: "1970-01-01T00:00:00.000Z",
    });
  });

  it("throws on a row that is none", () => {
    expect(() => toAccountView({ ...row, balance: "5" })).toThrow("balance");
  });

  it("is read from columns that exist", () => {
    const read = sql`SELECT ${trusted(ACCOUNT_COLUMNS.join(", "))} FROM accounts`;
    expect(new Sqlite().rows(read)).toEqual([]);
  });
});
