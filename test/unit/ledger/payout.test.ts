import { beforeEach, describe, expect, it } from "vitest";
import { effectStatement } from "../../../src/journal/statements.ts";
import type { Effect } from "../../../src/kernel/plan.ts";
import { sql } from "../../../src/kernel/sql.ts";
import {
  type HeldPayout,
  holdPayout,
  payPayout,
  releasePayout,
} from "../../../src/ledger/payout.ts";
import { Sqlite } from "../sqlite.ts";

let db: Sqlite;

const payout = (id: string): HeldPayout => ({
  id,
  account: "alice",
  amountMinor: 60,
  currency: "EUR",
  destination: "DE00",
  description: null,
  key: "key-0000000000000001",
  createdAtMs: 1,
});

/** One transaction, without asking any guard or any claim. */
const commit = (effects: readonly Effect[]): void => {
  db.batch(effects.map((effect) => effectStatement("t", effect, sql`true`)));
};

const state = () => ({
  payouts: db.rows(sql`SELECT id, state FROM payouts ORDER BY id`),
  balances: db.rows(sql`SELECT id, balance FROM accounts ORDER BY id`),
});

beforeEach(() => {
  db = new Sqlite();
  db.rows(
    sql`INSERT INTO accounts (tenant, id, currency, overdraft_limit, balance, created_at_ms) VALUES ('t', 'alice', 'EUR', 0, 120, 0)`,
  );
  db.rows(
    sql`INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, state, status, created_at_ms, expires_at_s, forget_at_s) VALUES ('t', 'k', 'payouts.create', 1, 'print', 'o', 'n', 'in-flight', 201, 0, 1, 2)`,
  );
  // Another one's money lies in the same holding account: what ends twice would take that.
  for (const id of ["out_1", "out_2"]) commit(holdPayout(payout(id)));
});

describe("a payout", () => {
  it.each([
    [
      "paid",
      "released",
      () => payPayout(payout("out_1"), "ref", 2),
      () => releasePayout(payout("out_1"), 3),
    ],
    [
      "released",
      "paid",
      () => releasePayout(payout("out_1"), 2),
      () => payPayout(payout("out_1"), "ref", 3),
    ],
  ])(
    "L: that is %s cannot be %s as well, whoever says so: the money that another one holds stays",
    (first, _, end, endOtherwise) => {
      commit(end());
      const once = state();
      expect(() => commit(endOtherwise())).toThrow("payout_is_final");
      expect(state()).toEqual(once);
      expect(once.payouts).toEqual([
        { id: "out_1", state: first },
        { id: "out_2", state: "held" },
      ]);
    },
  );

  it("L: cannot be taken back once it has ended, nor be removed", () => {
    commit(payPayout(payout("out_1"), "ref", 2));
    const once = state();
    expect(() =>
      db.exec("UPDATE payouts SET state = 'held', ended_at_ms = NULL WHERE id = 'out_1'"),
    ).toThrow("payout_is_final");
    expect(() => db.exec("DELETE FROM payouts")).toThrow("payout_is_final");
    expect(state()).toEqual(once);
  });
});
