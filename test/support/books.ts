/** What the database says of effects, whatever the answers said. */
import { expect } from "vitest";
import type { Server, SqlRow } from "./server.ts";

const TABLES = ["journal", "accounts", "transfers", "entries", "products", "stock_moves"];

/** N of the fault list: no object is called and no row is written while `work` runs. */
export const expectNothingMade = async <Value>(
  server: Server,
  work: () => Promise<Value>,
): Promise<Value> => {
  const before = await everythingOf(server);
  const value = await work();
  expect(await everythingOf(server), "nothing is made").toEqual(before);
  return value;
};

const everythingOf = async (server: Server) => ({
  objects: await server.objects(),
  rows: await server.sql(
    `SELECT ${TABLES.map((table) => `(SELECT count(*) FROM ${table}) AS ${table}`).join(", ")}`,
  ),
  balances: await server.sql("SELECT total(balance * entry_count) AS moved FROM accounts"),
});

/**
 * L of the fault list, for every tenant: balances sum to zero per currency, each is the sum of its account's
 * entries, each transfer has two entries that cancel, and no stock is negative or unexplained.
 */
export const expectBooksBalanced = async (server: Server): Promise<void> => {
  const faults = await server.sql(`
    SELECT 'balances do not sum to zero' AS fault, tenant, currency AS what
      FROM accounts GROUP BY tenant, currency HAVING sum(balance) <> 0
    UNION ALL
    SELECT 'a balance is not the sum of its entries', tenant, id
      FROM accounts AS a WHERE balance <> (SELECT total(amount) FROM entries AS e WHERE e.tenant = a.tenant AND e.account = a.id)
    UNION ALL
    SELECT 'a transfer does not have two entries that cancel', tenant, id
      FROM transfers AS t WHERE (SELECT count(*) <> 2 OR sum(amount) <> 0 FROM entries AS e WHERE e.tenant = t.tenant AND e.transfer = t.id)
    UNION ALL
    SELECT 'a payment is refunded otherwise than it says', tenant, id
      FROM transfers AS t WHERE refund_of IS NULL AND refunded <> (SELECT total(amount) FROM transfers AS r WHERE r.tenant = t.tenant AND r.refund_of = t.id)
    UNION ALL
    SELECT 'stock is negative or not the sum of its moves', tenant, sku
      FROM products AS p WHERE quantity < 0 OR quantity <> (SELECT total(delta) FROM stock_moves AS m WHERE m.tenant = p.tenant AND m.sku = p.sku)`);
  expect(faults, "the books balance").toEqual([]);
};

/** The transfers that a key made. E1: one. E0: none. */
export const transfersOf = async (
  server: Server,
  tenant: { readonly name: string },
  key: string,
): Promise<SqlRow[]> =>
  server.sql("SELECT * FROM transfers WHERE tenant = ? AND key = ?", tenant.name, key);

export const balanceOf = async (
  server: Server,
  tenant: { readonly name: string },
  account: string,
): Promise<number> => {
  const [row] = await server.sql(
    "SELECT balance FROM accounts WHERE tenant = ? AND id = ?",
    tenant.name,
    account,
  );
  return Number(row?.["balance"]);
};
