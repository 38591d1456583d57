/** GETs of products. */
import { z } from "zod";
import { PRODUCT_COLUMNS, productView, sku, toProductView } from "../orders/stock.ts";
import { sql } from "../kernel/sql.ts";
import { noParams } from "./define-operation.ts";
import { defineQuery, noSearch, pageOf, pageSearch, toPage } from "./define-query.ts";

export const getProduct = defineQuery({
  name: "products.get",
  path: "/v1/products/{sku}",
  summary: "One product, with what is in stock",
  scope: "read",
  params: z.strictObject({ sku }),
  search: noSearch,
  output: productView,
  run: async (reader, params) => {
    const row = await reader.first({
      table: "products",
      columns: PRODUCT_COLUMNS,
      where: sql`sku = ${params.sku}`,
    });
    return row && toProductView(row);
  },
});

export const listProducts = defineQuery({
  name: "products.list",
  path: "/v1/products",
  summary: "Products, by SKU",
  scope: "read",
  params: noParams,
  search: pageSearch(sku),
  output: pageOf(productView),
  run: async (reader, _params, { limit, after }) => {
    const rows = await reader.rows({
      table: "products",
      columns: PRODUCT_COLUMNS,
      where: sql`sku > ${after ?? ""}`,
      order: "sku",
      limit: limit + 1,
    });
    return toPage(rows.map(toProductView), limit, (product) => product.sku);
  },
});
