/** Everything that this Worker offers. A new endpoint is one file, and one line here. */
import { getAccount, listAccounts, listEntries } from "./account-queries.ts";
import { adjustStock } from "./adjust-stock.ts";
import { cancelOrder } from "./cancel-order.ts";
import { createAccount } from "./create-account.ts";
import { createOrder } from "./create-order.ts";
import { createPayment } from "./create-payment.ts";
import { createPayout } from "./create-payout.ts";
import { createProduct } from "./create-product.ts";
import { createRefund } from "./create-refund.ts";
import type { Operation } from "./define-operation.ts";
import type { Query } from "./define-query.ts";
import { getOrder, listOrders } from "./order-queries.ts";
import { getPayment, getRefund, listPayments, listRefunds } from "./payment-queries.ts";
import { getPayout, listPayouts } from "./payout-queries.ts";
import { getProduct, listProducts } from "./product-queries.ts";

export const operations = [
  createAccount,
  createPayment,
  createRefund,
  createPayout,
  createProduct,
  adjustStock,
  createOrder,
  cancelOrder,
] as const satisfies readonly Operation[];

export const queries: readonly Query[] = [
  listAccounts,
  getAccount,
  listEntries,
  listPayments,
  getPayment,
  listRefunds,
  getRefund,
  listPayouts,
  getPayout,
  listProducts,
  getProduct,
  listOrders,
  getOrder,
];
