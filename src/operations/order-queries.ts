/** GETs of orders. */
import { z } from "zod";
import { byId } from "../kernel/plan.ts";
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
} from "../orders/order.ts";
import { noParams } from "./define-operation.ts";
import { defineQuery, noSearch, pageOf, pageSearch, toPage } from "./define-query.ts";

export const getOrder = defineQuery({
  name: "orders.get",
  path: "/v1/orders/{id}",
  summary: "One order, with its lines",
  scope: "read",
  params: z.strictObject({ id: orderId }),
  search: noSearch,
  output: orderView,
  run: async (reader, { id }) => {
    const row = await reader.first({ table: "orders", columns: ORDER_COLUMNS, where: byId(id) });
    if (row === undefined) return undefined;
    const lines = await reader.rows({
      table: "order_lines",
      columns: LINE_COLUMNS,
      where: sql`order_id = ${id}`,
      order: "line",
      limit: LINES_MAX,
    });
    return toOrderView(parseOrder(row), lines.map(parseLine));
  },
});

export const listOrders = defineQuery({
  name: "orders.list",
  path: "/v1/orders",
  summary: "Orders, newest first",
  scope: "read",
  params: noParams,
  search: pageSearch(orderId),
  output: pageOf(orderView),
  run: async (reader, _params, { limit, after }) => {
    const orders = (
      await reader.rows({
        table: "orders",
        columns: ORDER_COLUMNS,
        where: after === undefined ? sql`true` : sql`id < ${after}`,
        order: "id DESC",
        limit: limit + 1,
      })
    ).map(parseOrder);
    const page = toPage(orders, limit, (order) => order.id);
    const lines = (
      await reader.rows({
        table: "order_lines",
        columns: LINE_COLUMNS,
        where: sql`order_id IN (SELECT value FROM json_each(${JSON.stringify(page.data.map((order) => order.id))}))`,
        order: "order_id, line",
      })
    ).map(parseLine);
    return {
      data: page.data.map((order) =>
        toOrderView(
          order,
          lines.filter((line) => line.order === order.id),
        ),
      ),
      next: page.next,
    };
  },
});
