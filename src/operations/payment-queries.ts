/** GETs of payments and their refunds. */
import { z } from "zod";
import {
  paymentId,
  paymentView,
  refundPrefix,
  refundView,
  toPaymentView,
  toRefundView,
  TRANSFER_COLUMNS,
} from "../ledger/transfer.ts";
import { sql } from "../kernel/sql.ts";
import { noParams } from "./define-operation.ts";
import { defineQuery, noSearch, pageOf, pageSearch, toPage } from "./define-query.ts";

const paymentParams = z.strictObject({ id: paymentId });

/** After every id that starts with a prefix and a time: ids hold only digits and lower-case letters. */
const LAST = "~";

export const getPayment = defineQuery({
  name: "payments.get",
  path: "/v1/payments/{id}",
  summary: "One payment, with what has been refunded",
  scope: "read",
  params: paymentParams,
  search: noSearch,
  output: paymentView,
  run: async (reader, { id }) => {
    const row = await reader.first({
      table: "transfers",
      columns: TRANSFER_COLUMNS,
      where: sql`id = ${id}`,
    });
    return row && toPaymentView(row);
  },
});

export const listPayments = defineQuery({
  name: "payments.list",
  path: "/v1/payments",
  summary: "Payments, newest first",
  scope: "read",
  params: noParams,
  search: pageSearch(paymentId),
  output: pageOf(paymentView),
  run: async (reader, _params, { limit, after }) => {
    const rows = await reader.rows({
      table: "transfers",
      columns: TRANSFER_COLUMNS,
      where: sql`id > 'pay_' AND id < ${after ?? `pay_${LAST}`}`,
      order: "id DESC",
      limit: limit + 1,
    });
    return toPage(rows.map(toPaymentView), limit, (payment) => payment.id);
  },
});

export const listRefunds = defineQuery({
  name: "refunds.list",
  path: "/v1/payments/{id}/refunds",
  summary: "Refunds of a payment, newest first",
  scope: "read",
  params: paymentParams,
  search: pageSearch(z.string().max(64)),
  output: pageOf(refundView),
  run: async (reader, { id }, { limit, after }) => {
    const payment = await reader.first({
      table: "transfers",
      columns: ["id"],
      where: sql`id = ${id}`,
    });
    if (payment === undefined) return undefined;
    const prefix = `${refundPrefix(id)}_`;
    const rows = await reader.rows({
      table: "transfers",
      columns: TRANSFER_COLUMNS,
      where: sql`id > ${prefix} AND id < ${prefix + LAST} AND id < ${after ?? LAST}`,
      order: "id DESC",
      limit: limit + 1,
    });
    return toPage(rows.map(toRefundView), limit, (refund) => refund.id);
  },
});

export const getRefund = defineQuery({
  name: "refunds.get",
  path: "/v1/payments/{id}/refunds/{refund}",
  summary: "One refund",
  scope: "read",
  params: z.strictObject({ id: paymentId, refund: z.string().max(64) }),
  search: noSearch,
  output: refundView,
  run: async (reader, { id, refund }) => {
    const row = await reader.first({
      table: "transfers",
      columns: TRANSFER_COLUMNS,
      where: sql`id = ${refund} AND refund_of = ${id}`,
    });
    return row && toRefundView(row);
  },
});
