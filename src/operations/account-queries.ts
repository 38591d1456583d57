/** GETs of accounts and their entries. */
import { z } from "zod";
import { ACCOUNT_COLUMNS, accountName, accountView, toAccountView } from "../ledger/account.ts";
import { entryView, ENTRY_COLUMNS, toEntryView } from "../ledger/entry.ts";
import { sql } from "../kernel/sql.ts";
import { defineQuery, noSearch, pageOf, pageSearch, toPage } from "./define-query.ts";
import { noParams } from "./define-operation.ts";

const accountParams = z.strictObject({ id: accountName });

export const getAccount = defineQuery({
  name: "accounts.get",
  path: "/v1/accounts/{id}",
  summary: "One account, with its balance",
  scope: "read",
  params: accountParams,
  search: noSearch,
  output: accountView,
  run: async (reader, { id }) => {
    const row = await reader.first({
      table: "accounts",
      columns: ACCOUNT_COLUMNS,
      where: sql`id = ${id}`,
    });
    return row && toAccountView(row);
  },
});

export const listAccounts = defineQuery({
  name: "accounts.list",
  path: "/v1/accounts",
  summary: "Accounts, by id",
  scope: "read",
  params: noParams,
  search: pageSearch(z.string().max(64)),
  output: pageOf(accountView),
  run: async (reader, _params, { limit, after }) => {
    const rows = await reader.rows({
      table: "accounts",
      columns: ACCOUNT_COLUMNS,
      where: sql`id > ${after ?? ""}`,
      order: "id",
      limit: limit + 1,
    });
    return toPage(rows.map(toAccountView), limit, (account) => account.id);
  },
});

export const listEntries = defineQuery({
  name: "entries.list",
  path: "/v1/accounts/{id}/entries",
  summary: "Entries of an account, newest first, each with the balance after it",
  scope: "read",
  params: accountParams,
  search: pageSearch(z.coerce.number().int().min(0)),
  output: pageOf(entryView),
  run: async (reader, { id }, { limit, after }) => {
    const account = await reader.first({
      table: "accounts",
      columns: ["id"],
      where: sql`id = ${id}`,
    });
    if (account === undefined) return undefined;
    const rows = await reader.rows({
      table: "entries",
      columns: ENTRY_COLUMNS,
      where: sql`account = ${id} AND seq < ${after ?? Number.MAX_SAFE_INTEGER}`,
      order: "seq DESC",
      limit: limit + 1,
    });
    return toPage(rows.map(toEntryView), limit, (entry) => String(entry.seq));
  },
});
