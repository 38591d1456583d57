import { beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { entryView, ENTRY_COLUMNS, toEntryView } from "../../../src/ledger/entry.ts";
import {
  description,
  parseTransfer,
  paymentId,
  paymentView,
  postTransfer,
  refundPrefix,
  refundView,
  toPaymentView,
  toRefundView,
  type Transfer,
  TRANSFER_COLUMNS,
  TRANSFER_CONSTRAINTS,
  transferGuards,
} from "../../../src/ledger/transfer.ts";
import { isProblemCode } from "../../../src/contract/problems.ts";
import { sql, trusted } from "../../../src/kernel/sql.ts";
import { property } from "../property.ts";
import { Sqlite } from "../sqlite.ts";

const PAYMENT = `pay_${"0".repeat(26)}`;

const transfer: Transfer = {
  id: PAYMENT,
  source: "alice",
  destination: "bob",
  currency: "EUR",
  amountMinor: 100,
  refundOf: null,
  description: null,
  key: "key-0000000000000001",
  nowMs: 1_000,
};

let db: Sqlite;

const open = (id: string, currency: string, overdraft: number | null, balance = 0): void => {
  db.rows(
    sql`INSERT INTO accounts (tenant, id, currency, overdraft_limit, balance, created_at_ms) VALUES ('t', ${id}, ${currency}, ${overdraft}, ${balance}, 0)`,
  );
};

/** The refusal of the first guard that fails, as the journal judges them. */
const refusal = (more: Partial<Transfer>): string | undefined =>
  transferGuards({ ...transfer, ...more }).find(
    (guard) => guard.holds === "never" || !db.holds("t", guard.holds),
  )?.refusal;

/** Posts without asking any guard. */
const post = (more: Partial<Transfer> = {}): void =>
  db.insert("t", postTransfer({ ...transfer, ...more }));

const balances = (): Record<string, unknown> =>
  Object.fromEntries(
    db
      .rows(sql`SELECT id, balance FROM accounts`)
      .map((row) => [String(row["id"]), row["balance"]] as const),
  );

beforeEach(() => {
  db = new Sqlite();
  open("system:EUR", "EUR", null);
  open("system:USD", "USD", null);
  open("alice", "EUR", 0, 100);
  open("bob", "EUR", 50);
  open("dora", "USD", 0, 100);
});

describe("the guards of a transfer", () => {
  it("let through what the accounts cover, to the last cent", () => {
    expect(refusal({})).toBeUndefined();
    expect(refusal({ amountMinor: 101 })).toBe("insufficient-funds");
  });

  it("let an account go below zero as far as its overdraft, and no further", () => {
    expect(refusal({ source: "bob", destination: "alice", amountMinor: 50 })).toBeUndefined();
    expect(refusal({ source: "bob", destination: "alice", amountMinor: 51 })).toBe(
      "insufficient-funds",
    );
  });

  it("let a system account go below zero without a limit", () => {
    expect(refusal({ source: "system:EUR", amountMinor: 1_000_000_000_000 })).toBeUndefined();
  });

  it.each([
    ["unknown-account", { source: "nobody" }],
    ["unknown-account", { destination: "nobody" }],
    ["unknown-account", { source: "nobody", currency: "USD", amountMinor: 1_000 }],
    ["unknown-account", { destination: "nobody", currency: "USD", amountMinor: 1_000 }],
    ["currency-mismatch", { currency: "USD" }],
    ["currency-mismatch", { currency: "USD", amountMinor: 1_000 }],
    ["currency-mismatch", { destination: "dora", amountMinor: 1_000 }],
    ["currency-mismatch", { source: "dora", amountMinor: 1_000 }],
    ["insufficient-funds", { amountMinor: 1_000 }],
  ] as const)("refuse with %s, first things first: %j", (code, more) => {
    expect(refusal(more)).toBe(code);
  });

  it("X: say nothing of a balance or a limit", () => {
    for (const { detail } of transferGuards({ ...transfer, amountMinor: 12_345 })) {
      expect(detail).not.toMatch(/\d/);
    }
  });
});

describe("a transfer, once posted", () => {
  it("L: moves one amount out and in, with an entry on either side", () => {
    post({ amountMinor: 30 });
    expect(balances()).toMatchObject({ alice: 70, bob: 30 });
    expect(
      db.rows(sql`SELECT account, seq, amount, balance, transfer FROM entries ORDER BY account`),
    ).toEqual([
      { account: "alice", seq: 1, amount: -30, balance: 70, transfer: PAYMENT },
      { account: "bob", seq: 1, amount: 30, balance: 30, transfer: PAYMENT },
    ]);
  });

  it("46: is undone by the schema where no guard stood: each of its constraints has a refusal", () => {
    expect(() => post({ amountMinor: 101 })).toThrow("CHECK constraint failed: account_overdraft");
    open("rich", "EUR", 0, Number.MAX_SAFE_INTEGER);
    expect(() => post({ destination: "rich", amountMinor: 1 })).toThrow(
      "CHECK constraint failed: account_balance_range",
    );
    expect(Object.keys(TRANSFER_CONSTRAINTS).toSorted()).toEqual([
      "account_balance_range",
      "account_overdraft",
    ]);
    expect(Object.values(TRANSFER_CONSTRAINTS).every(isProblemCode)).toBe(true);
  });

  it("52: between two currencies, of nothing, of less, or to itself cannot be stored", () => {
    expect(() => post({ destination: "dora" })).toThrow("FOREIGN KEY");
    expect(() => post({ amountMinor: 0 })).toThrow("transfer_amount");
    expect(() => post({ amountMinor: -1 })).toThrow("transfer_amount");
    expect(() => post({ destination: "alice" })).toThrow("transfer_two_accounts");
  });

  it("47: is refunded at most whole, and only the way it came", () => {
    post();
    const refund = { source: "bob", destination: "alice", refundOf: PAYMENT } as const;
    post({ ...refund, id: "ref_1", amountMinor: 60 });
    expect(() => post({ ...refund, id: "ref_2", amountMinor: 41 })).toThrow("transfer_refunded");
    post({ ...refund, id: "ref_3", amountMinor: 40 });
    expect(() => post({ refundOf: PAYMENT, id: "ref_4", amountMinor: 1 })).toThrow(
      "refund_reverses_payment",
    );
    expect(balances()).toMatchObject({ alice: 100, bob: 0 });
  });

  it("47: that is a refund cannot be refunded itself", () => {
    post();
    post({ id: "ref_1", source: "bob", destination: "alice", refundOf: PAYMENT, amountMinor: 60 });
    expect(() => post({ id: "ref_2", refundOf: "ref_1", amountMinor: 1 })).toThrow(
      "refund_reverses_payment",
    );
    expect(balances()).toMatchObject({ alice: 60, bob: 40 });
  });

  it.each([
    "UPDATE transfers SET tenant = 'u'",
    "UPDATE transfers SET id = 'pay_2'",
    "UPDATE transfers SET source = 'system:EUR'",
    "UPDATE transfers SET destination = 'system:EUR'",
    "UPDATE transfers SET currency = 'USD'",
    "UPDATE transfers SET amount = amount + 1",
    "UPDATE transfers SET refund_of = id",
    "DELETE FROM transfers",
    "UPDATE entries SET amount = amount + 1",
    "DELETE FROM entries",
  ])("L: is in the books for good: %s is refused", (edit) => {
    post();
    const books = () => [
      db.rows(sql`SELECT * FROM transfers`),
      db.rows(sql`SELECT * FROM entries`),
    ];
    const before = books();
    expect(() => db.exec(edit)).toThrow(
      edit.includes("transfers") ? "transfer_is_final" : "entry_is_final",
    );
    expect(books()).toEqual(before);
  });

  property(
    "L: however many there are, the balances of a currency add up to what they did, and guards and schema agree",
    fc.property(
      fc.array(
        fc.record({
          source: fc.constantFrom("alice", "bob", "system:EUR", "dora"),
          destination: fc.constantFrom("alice", "bob", "system:EUR", "dora"),
          amountMinor: fc.integer({ min: 1, max: 200 }),
        }),
        { maxLength: 12 },
      ),
      (moves) => {
        db = new Sqlite();
        open("system:EUR", "EUR", null);
        open("alice", "EUR", 0);
        open("bob", "EUR", 50);
        open("dora", "USD", 0);
        for (const [i, move] of moves.entries()) {
          // The operation's schema refuses this before any guard.
          if (move.source === move.destination) continue;
          const id = `pay_${String(i).padStart(26, "0")}`;
          if (refusal(move) === undefined) post({ ...move, id });
          else expect(() => post({ ...move, id })).toThrow(/constraint failed/i);
        }
        const sums = db.rows(sql`SELECT SUM(balance) AS total FROM accounts`);
        expect(sums).toEqual([{ total: 0 }]);
        const drift = sql`SELECT id FROM accounts a WHERE balance <> (SELECT COALESCE(SUM(amount), 0) FROM entries e WHERE e.tenant = a.tenant AND e.account = a.id)`;
        expect(db.rows(drift)).toEqual([]);
      },
    ),
    100,
  );
});

describe("ids of the ledger", () => {
  it("of a payment are recognised, others are not", () => {
    expect(paymentId.safeParse(PAYMENT).success).toBe(true);
    for (const id of [
      "pay_",
      `${PAYMENT}0`,
      PAYMENT.toUpperCase(),
      `ref_${"0".repeat(26)}`,
      `${PAYMENT}\n`,
    ]) {
      expect(paymentId.safeParse(id).success).toBe(false);
    }
  });

  it("of a refund start with its payment's, so that a payment's refunds lie together", () => {
    expect(refundPrefix(PAYMENT)).toBe(`ref_${"0".repeat(26)}`);
  });
});

describe("a description", () => {
  it.each(["", "caffè 😀 <script>", "x".repeat(500), "=1+1"])("%j is kept as it is", (text) => {
    expect(description.parse(text)).toBe(text);
  });

  it.each(["x".repeat(501), "a\nb", "\u0000", "\u001b[31m", "\u0085"])("%j is refused", (text) => {
    expect(description.safeParse(text).success).toBe(false);
  });
});

describe("views of the ledger", () => {
  const row = {
    id: PAYMENT,
    source: "alice",
    destination: "bob",
    currency: "EUR",
    amount: 100,
    refunded: 10,
    refund_of: null,
    description: null,
    created_at_ms: 1_000,
  };

  it("are what their schemas promise", () => {
    expect(paymentView.parse(toPaymentView(row))).toEqual({
      id: PAYMENT,
      source: "alice",
      destination: "bob",
      amountMinor: 100,
      currency: "EUR",
      refundedMinor: 10,
      description: null,
      createdAt: "1970-01-01T00:00:01.000Z",
    });
    expect(refundView.parse(toRefundView({ ...row, id: "ref_1", refund_of: PAYMENT }))).toEqual({
      id: "ref_1",
      payment: PAYMENT,
      amountMinor: 100,
      currency: "EUR",
      description: null,
      createdAt: "1970-01-01T00:00:01.000Z",
    });
    const entry = { seq: 1, transfer: PAYMENT, amount: -100, balance: 0, created_at_ms: 1_000 };
    expect(entryView.parse(toEntryView(entry))).toEqual({
      seq: 1,
      transfer: PAYMENT,
      amountMinor: -100,
      balanceMinor: 0,
      createdAt: "1970-01-01T00:00:01.000Z",
    });
  });

  it("throw on rows that are none", () => {
    expect(() => parseTransfer({ ...row, amount: "100" })).toThrow("amount");
    expect(() => toEntryView({})).toThrow("seq");
  });

  it("are read from columns that exist", () => {
    const read = (columns: readonly string[], table: string) =>
      db.rows(sql`SELECT ${trusted(columns.join(", "))} FROM ${trusted(table)}`);
    expect([read(TRANSFER_COLUMNS, "transfers"), read(ENTRY_COLUMNS, "entries")]).toEqual([[], []]);
  });
});
