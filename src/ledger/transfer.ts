/** A transfer: one amount, out of one account and into another. The only way that money moves. */
import { z } from "zod";
import { amountMinor, currency } from "../kernel/money.ts";
import { byId, type Effect, exists, type Guard, insert, require } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";

export type Transfer = {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly currency: string;
  readonly amountMinor: number;
  /** The payment that this one gives back, if it is a refund. */
  readonly refundOf: string | null;
  readonly description: string | null;
  readonly key: string;
  readonly nowMs: number;
};

export type TransferRefusal = "unknown-account" | "currency-mismatch" | "insufficient-funds";

/** What must hold at the moment of the transfer. */
export const transferGuards = (
  transfer: Pick<Transfer, "source" | "destination" | "currency" | "amountMinor">,
): Guard<TransferRefusal>[] => {
  const { source, destination, amountMinor: amount } = transfer;
  const holdsCurrency = (id: string) =>
    exists("accounts", sql`id = ${id} AND currency = ${transfer.currency}`);
  return [
    require(exists("accounts", byId(source)), "unknown-account", `There is no account ${source}.`),
    require(exists(
      "accounts",
      byId(destination),
    ), "unknown-account", `There is no account ${destination}.`),
    require(holdsCurrency(
      source,
    ), "currency-mismatch", `The account ${source} does not hold ${transfer.currency}.`),
    require(holdsCurrency(
      destination,
    ), "currency-mismatch", `The account ${destination} does not hold ${transfer.currency}.`),
    require(exists(
      "accounts",
      sql`id = ${source} AND (overdraft_limit IS NULL OR balance - ${amount} >= -overdraft_limit)`,
    ), "insufficient-funds", `The account ${source} does not cover the amount.`),
  ];
};

/** The row whose trigger moves both balances and writes both entries. */
export const postTransfer = (transfer: Transfer): Effect =>
  insert("transfers", {
    id: transfer.id,
    source: transfer.source,
    destination: transfer.destination,
    currency: transfer.currency,
    amount: transfer.amountMinor,
    refund_of: transfer.refundOf,
    description: transfer.description,
    key: transfer.key,
    created_at_ms: transfer.nowMs,
  });

/** What the schema's constraints stand for, where no guard foresaw them. */
export const TRANSFER_CONSTRAINTS = {
  account_overdraft: "insufficient-funds",
  account_balance_range: "limit-exceeded",
} as const;

export const description = z
  .string()
  .max(500)
  .regex(/^\P{Cc}*$/u, "no control characters")
  .meta({ description: "Free text for people; kept with the transfer" });

export const paymentView = z.object({
  id: z.string(),
  source: z.string(),
  destination: z.string(),
  amountMinor,
  currency,
  refundedMinor: z.int().min(0),
  description: z.string().nullable(),
  createdAt: z.iso.datetime(),
});

export const refundView = z.object({
  id: z.string(),
  payment: z.string(),
  amountMinor,
  currency,
  description: z.string().nullable(),
  createdAt: z.iso.datetime(),
});

export const TRANSFER_COLUMNS = [
  "id",
  "source",
  "destination",
  "currency",
  "amount",
  "refunded",
  "refund_of",
  "description",
  "created_at_ms",
] as const;

const transferRow = z.object({
  id: z.string(),
  source: z.string(),
  destination: z.string(),
  currency: z.string(),
  amount: z.number(),
  refunded: z.number(),
  refund_of: z.string().nullable(),
  description: z.string().nullable(),
  created_at_ms: z.number(),
});

/** A stored transfer, parsed once. */
export const parseTransfer = (row: unknown): z.output<typeof transferRow> => transferRow.parse(row);

export const toPaymentView = (row: unknown): z.input<typeof paymentView> => {
  const t = parseTransfer(row);
  return {
    id: t.id,
    source: t.source,
    destination: t.destination,
    amountMinor: t.amount,
    currency: t.currency,
    refundedMinor: t.refunded,
    description: t.description,
    createdAt: new Date(t.created_at_ms).toISOString(),
  };
};

export const toRefundView = (row: unknown): z.input<typeof refundView> => {
  const t = parseTransfer(row);
  return {
    id: t.id,
    payment: t.refund_of ?? "",
    amountMinor: t.amount,
    currency: t.currency,
    description: t.description,
    createdAt: new Date(t.created_at_ms).toISOString(),
  };
};

/** `pay_…` */
export const paymentId = z.string().regex(/^pay_[0-9a-z]{26}$/, "a payment's id");

/** A refund's id starts with its payment's, so that a payment's refunds lie together in the primary key. */
export const refundPrefix = (payment: string): string => `ref_${payment.slice("pay_".length)}`;
