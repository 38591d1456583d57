/** GETs of payouts. */
import { z } from "zod";
import { PAYOUT_COLUMNS, payoutId, payoutView, toPayoutView } from "../ledger/payout.ts";
import { sql } from "../kernel/sql.ts";
import { noParams } from "./define-operation.ts";
import { defineQuery, noSearch, pageOf, pageSearch, toPage } from "./define-query.ts";

export const getPayout = defineQuery({
  name: "payouts.get",
  path: "/v1/payouts/{id}",
  summary: "One payout, and whether it is held, paid or released",
  scope: "read",
  params: z.strictObject({ id: payoutId }),
  search: noSearch,
  output: payoutView,
  run: async (reader, { id }) => {
    const row = await reader.first({
      table: "payouts",
      columns: PAYOUT_COLUMNS,
      where: sql`id = ${id}`,
    });
    return row && toPayoutView(row);
  },
});

export const listPayouts = defineQuery({
  name: "payouts.list",
  path: "/v1/payouts",
  summary: "Payouts, newest first",
  scope: "read",
  params: noParams,
  search: pageSearch(payoutId),
  output: pageOf(payoutView),
  run: async (reader, _params, { limit, after }) => {
    const rows = await reader.rows({
      table: "payouts",
      columns: PAYOUT_COLUMNS,
      // Ids hold only digits and lower-case letters.
      where: sql`id < ${after ?? "out_~"}`,
      order: "id DESC",
      limit: limit + 1,
    });
    return toPage(rows.map(toPayoutView), limit, (payout) => payout.id);
  },
});
