/**
 * Payouts: money that leaves the ledger for a place outside. It moves twice: out of the account when the payout is held,
 * and on when it is known to be paid, or back when it was not. In between it is nobody's: it stands in the holding
 * account of its currency, so the ledger sums to zero at every moment.
 */
import { z } from "zod";
import { amountMinor, currency } from "../kernel/money.ts";
import {
  byId,
  type Effect,
  exists,
  type Guard,
  insert,
  insertIfAbsent,
  require,
  update,
} from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import { description, postTransfer } from "./transfer.ts";

/** What is on its way out. */
const holdingAccountId = (currencyCode: string): string => `system:${currencyCode}:held`;

/** What has left. It only grows. */
const paidOutAccountId = (currencyCode: string): string => `system:${currencyCode}:paid-out`;

/** `out_…` */
export const payoutId = z.string().regex(/^out_[0-9a-z]{26}$/, "a payout's id");

/** Where the processor sends the money, in its own terms. Opaque to us. */
export const payoutDestination = z
  .string()
  .min(1)
  .max(140)
  .regex(/^[\x21-\x7e]+$/, "printable ASCII without spaces")
  .meta({
    description: "Where the processor sends it: an IBAN, or its own id of a bank account",
    examples: ["DE89370400440532013000"],
  });

export const payoutView = z.object({
  id: z.string(),
  account: z.string(),
  amountMinor,
  currency,
  destination: z.string(),
  description: z.string().nullable(),
  state: z.enum(["held", "paid", "released"]).meta({
    description:
      "held: on its way, or uncertain; paid: the processor has done it; released: it has not, and the money is back",
  }),
  reference: z.string().nullable().meta({ description: "What the processor calls it" }),
  createdAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
});

/** A payout as it is held: all that paying or releasing it goes by. */
export const heldPayout = z.strictObject({
  id: payoutId,
  account: z.string(),
  amountMinor,
  currency,
  destination: payoutDestination,
  description: description.nullable(),
  key: z.string(),
  createdAtMs: z.number(),
});

export type HeldPayout = z.output<typeof heldPayout>;

export type PayoutRefusal = "unknown-account" | "currency-mismatch" | "insufficient-funds";

/** What must hold at the moment the money leaves the account. */
export const payoutGuards = ({
  account,
  amountMinor: amount,
  currency: code,
}: Pick<HeldPayout, "account" | "amountMinor" | "currency">): Guard<PayoutRefusal>[] => [
  require(exists("accounts", byId(account)), "unknown-account", `There is no account ${account}.`),
  require(exists(
    "accounts",
    sql`id = ${account} AND currency = ${code}`,
  ), "currency-mismatch", `The account ${account} does not hold ${code}.`),
  require(exists(
    "accounts",
    sql`id = ${account} AND balance - ${amount} >= -overdraft_limit`,
  ), "insufficient-funds", `The account ${account} does not cover the amount.`),
];

/** Takes the money out of the account. */
export const holdPayout = (payout: HeldPayout): Effect[] => [
  openSystemAccount(holdingAccountId(payout.currency), payout),
  openSystemAccount(paidOutAccountId(payout.currency), payout),
  move(payout, "held", payout.account, holdingAccountId(payout.currency), payout.createdAtMs),
  insert("payouts", {
    id: payout.id,
    account: payout.account,
    amount: payout.amountMinor,
    currency: payout.currency,
    destination: payout.destination,
    description: payout.description,
    state: "held",
    reference: null,
    key: payout.key,
    created_at_ms: payout.createdAtMs,
    ended_at_ms: null,
  }),
];

/** It has left. */
export const payPayout = (
  payout: HeldPayout,
  reference: string | null,
  nowMs: number,
): Effect[] => {
  const { currency: code } = payout;
  return [
    move(payout, "paid", holdingAccountId(code), paidOutAccountId(code), nowMs),
    update("payouts", { state: "paid", reference, ended_at_ms: nowMs }, byId(payout.id)),
  ];
};

/** It goes back where it came from. */
export const releasePayout = (payout: HeldPayout, nowMs: number): Effect[] => [
  move(payout, "released", holdingAccountId(payout.currency), payout.account, nowMs),
  update("payouts", { state: "released", ended_at_ms: nowMs }, byId(payout.id)),
];

/** Neither may go below zero: what is not held cannot be paid or released. */
const openSystemAccount = (id: string, { currency: code, createdAtMs }: HeldPayout): Effect =>
  insertIfAbsent("accounts", {
    id,
    currency: code,
    overdraft_limit: 0,
    created_at_ms: createdAtMs,
  });

/** The id says what the transfer is: each step of a payout can be posted once. */
const move = (
  payout: HeldPayout,
  step: "held" | "paid" | "released",
  source: string,
  destination: string,
  nowMs: number,
): Effect =>
  postTransfer({
    id: `${payout.id}_${step}`,
    source,
    destination,
    currency: payout.currency,
    amountMinor: payout.amountMinor,
    refundOf: null,
    description: payout.description,
    key: payout.key,
    nowMs,
  });

export const PAYOUT_COLUMNS = [
  "id",
  "account",
  "amount",
  "currency",
  "destination",
  "description",
  "state",
  "reference",
  "created_at_ms",
  "ended_at_ms",
] as const;

const payoutRow = z.object({
  id: z.string(),
  account: z.string(),
  amount: z.number(),
  currency: z.string(),
  destination: z.string(),
  description: z.string().nullable(),
  state: z.enum(["held", "paid", "released"]),
  reference: z.string().nullable(),
  created_at_ms: z.number(),
  ended_at_ms: z.number().nullable(),
});

export const toPayoutView = (row: unknown): z.input<typeof payoutView> => {
  const payout = payoutRow.parse(row);
  return {
    id: payout.id,
    account: payout.account,
    amountMinor: payout.amount,
    currency: payout.currency,
    destination: payout.destination,
    description: payout.description,
    state: payout.state,
    reference: payout.reference,
    createdAt: new Date(payout.created_at_ms).toISOString(),
    endedAt: payout.ended_at_ms === null ? null : new Date(payout.ended_at_ms).toISOString(),
  };
};
