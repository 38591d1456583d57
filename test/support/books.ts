/** What the database says of effects, whatever the answers said. */
import { expect } from "vitest";
import type { SqlRow } from "./companion.ts";
import type { Server } from "./server.ts";

const TABLES = ["journal", "accounts", "transfers", "entries", "products", "stock_moves"];

/** N of the fault list: no object is called and no row is written while `work` runs. */
export const expectNothingMade = async <Value>(
  server: Server,
  work: () => Promise<Value>,
): Promise<Value> => {
  const before = await everythingOf(server);
  const value = await work();
  expect(await everythingOf(server)).toEqual(before);
  return value;
};

const everythingOf = async (server: Server) => ({
  objects: await server.objects(),
  rows: await server.sql(
    `SELECT ${TABLES.map((table) => `(SELECT count(*) FROM ${table}) AS ${table}`).join(", ")}`,
  ),
});

/**
 * L of the fault list, for every tenant: balances sum to zero per currency, each is the sum of its account's
 * entries, each transfer has two entries that cancel, and no stock is negative or unexplained.
 */
export const expectBooksBalanced = async (server: Server): Promise<void> => {
  const found = await server.sqlBatch(Object.values(FAULTS).map((query) => [query]));
  const nothing = Object.keys(FAULTS).map((fault): [string, SqlRow[]] => [fault, []]);
  expect(Object.keys(FAULTS).map((fault, i) => [fault, found[i]])).toEqual(nothing);
};

/** What must not be found, and the rows that would show it. */
const FAULTS = {
  "balances that do not sum to zero":
    "SELECT tenant, currency FROM accounts GROUP BY tenant, currency HAVING sum(balance) <> 0",
  "a balance that is not the sum of its entries": `
    SELECT tenant, id FROM accounts AS a WHERE balance <>
      (SELECT total(amount) FROM entries AS e WHERE e.tenant = a.tenant AND e.account = a.id)`,
  "a transfer without two entries that cancel": `
    SELECT t.tenant, t.id FROM transfers AS t LEFT JOIN
      (SELECT tenant, transfer, count(*) AS n, sum(amount) AS total FROM entries GROUP BY tenant, transfer) AS e
      ON e.tenant = t.tenant AND e.transfer = t.id WHERE e.n IS NOT 2 OR e.total <> 0`,
  "entries without a transfer": `
    SELECT tenant FROM entries AS e GROUP BY tenant HAVING count(*) <>
      2 * (SELECT count(*) FROM transfers AS t WHERE t.tenant = e.tenant)`,
  "a payment that is refunded otherwise than it says": `
    SELECT t.tenant, t.id FROM transfers AS t LEFT JOIN
      (SELECT tenant, refund_of, sum(amount) AS total FROM transfers WHERE refund_of IS NOT NULL GROUP BY tenant, refund_of) AS r
      ON r.tenant = t.tenant AND r.refund_of = t.id
      WHERE t.refund_of IS NULL AND t.refunded <> ifnull(r.total, 0)`,
  "stock that is negative or not the sum of its moves": `
    SELECT tenant, sku FROM products AS p WHERE quantity < 0 OR quantity <>
      (SELECT total(delta) FROM stock_moves AS m WHERE m.tenant = p.tenant AND m.sku = p.sku)`,
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
