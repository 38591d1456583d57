/** What the database says of effects, whatever the answers said. */
import { expect } from "vitest";
import type { SqlRow } from "./companion.ts";
import { findImbalances } from "./imbalances.ts";
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
  expect(await findImbalances(server)).toEqual([]);
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
