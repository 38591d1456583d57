/** PATCH /v1/orders/{id}: cancels an order, once: all of its money and all of its stock go back. */
import { z } from "zod";
import {
  parseTransfer,
  postTransfer,
  refundPrefix,
  TRANSFER_COLUMNS,
  TRANSFER_CONSTRAINTS,
  transferGuards,
} from "../ledger/transfer.ts";
import { absent, byId, exists, refused } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import {
  LINE_COLUMNS,
  LINES_MAX,
  ORDER_COLUMNS,
  orderId,
  orderView,
  parseLine,
  parseOrder,
  toOrderView,
  undoOrder,
} from "../orders/order.ts";
import { STOCK_CONSTRAINTS } from "../orders/stock.ts";
import { defineOperation } from "./define-operation.ts";

export const cancelOrder = defineOperation({
  name: "orders.cancel",
  method: "PATCH",
  path: "/v1/orders/{id}",
  summary: "Cancel an order: full refund and restock",
  scope: "orders:write",
  params: z.strictObject({ id: orderId }),
  input: z.strictObject({ state: z.literal("cancelled") }),
  output: orderView,
  refusals: {
    "unknown-order": 404,
    "order-already-cancelled": 409,
    "unknown-account": 409,
    "currency-mismatch": 409,
    "insufficient-funds": 402,
    "limit-exceeded": 409,
    "refund-exceeds-payment": 409,
    "out-of-stock": 409,
  },
  constraints: {
    ...TRANSFER_CONSTRAINTS,
    ...STOCK_CONSTRAINTS,
    transfer_refunded: "refund-exceeds-payment",
    order_cancelled_once: "order-already-cancelled",
  },
  read: async (_input, reader, { params }) => {
    const row = await reader.first({
      table: "orders",
      columns: ORDER_COLUMNS,
      where: byId(params.id),
    });
    if (row === undefined) return undefined;
    const order = parseOrder(row);
    const lines = await reader.rows({
      table: "order_lines",
      columns: LINE_COLUMNS,
      where: sql`order_id = ${params.id}`,
      order: "line",
      limit: LINES_MAX,
    });
    const paid =
      order.payment === null
        ? undefined
        : await reader.first({
            table: "transfers",
            columns: TRANSFER_COLUMNS,
            where: byId(order.payment),
          });
    return {
      order,
      lines: lines.map(parseLine),
      payment: paid === undefined ? undefined : parseTransfer(paid),
    };
  },
  plan: (_input, found, { params, ids, nowMs, key }) => {
    if (found === undefined) {
      return refused(
        [absent("orders", byId(params.id))],
        "unknown-order",
        `There is no order ${params.id}.`,
      );
    }
    const { order, lines, payment } = found;
    const inState = exists("orders", sql`id = ${order.id} AND state = ${order.state}`);
    if (order.state === "cancelled") {
      return refused(
        [inState],
        "order-already-cancelled",
        `The order ${order.id} is cancelled already.`,
      );
    }
    // What refunds of the payment have given back already is not given again.
    const left = payment === undefined ? 0 : payment.amount - payment.refunded;
    const refund =
      payment === undefined || left === 0
        ? undefined
        : {
            id: ids.next(refundPrefix(payment.id)),
            source: payment.destination,
            destination: payment.source,
            currency: payment.currency,
            amountMinor: left,
            refundOf: payment.id,
            description: `cancelled ${order.id}`,
            key,
            nowMs,
          };
    return {
      facts: [
        inState,
        ...(payment === undefined
          ? []
          : [exists("transfers", sql`id = ${payment.id} AND refunded = ${payment.refunded}`)]),
      ],
      guards: refund === undefined ? [] : transferGuards(refund),
      effects: [
        ...(refund === undefined ? [] : [postTransfer(refund)]),
        ...undoOrder(order, lines, { refund: refund?.id ?? null, key, nowMs }),
      ],
      answer: {
        status: 200,
        link: `/v1/orders/${order.id}`,
        body: toOrderView({ ...order, state: "cancelled", refund: refund?.id ?? null }, lines),
      },
    };
  },
});
