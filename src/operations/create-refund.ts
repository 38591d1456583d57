/** POST /v1/payments/{id}/refunds: gives back a payment, in part or what is left of it, never more. */
import { z } from "zod";
import {
  description,
  parseTransfer,
  paymentId,
  postTransfer,
  refundPrefix,
  refundView,
  TRANSFER_COLUMNS,
  TRANSFER_CONSTRAINTS,
  transferGuards,
} from "../ledger/transfer.ts";
import { isSystemAccount } from "../ledger/account.ts";
import { amountMinor } from "../kernel/money.ts";
import { absent, byId, exists, refused, require } from "../kernel/plan.ts";
import { sql } from "../kernel/sql.ts";
import { defineOperation } from "./define-operation.ts";

export const createRefund = defineOperation({
  name: "refunds.create",
  method: "POST",
  path: "/v1/payments/{id}/refunds",
  summary: "Refund a payment, in part or what is left of it",
  scope: "payments:write",
  params: z.strictObject({ id: paymentId }),
  input: z.strictObject({
    amountMinor: amountMinor.optional().meta({ description: "All that is left, unless given" }),
    description: description.optional(),
  }),
  output: refundView,
  refusals: {
    "unknown-payment": 404,
    "refund-exceeds-payment": 409,
    "not-refundable": {
      status: 409,
      title: "Not refundable",
      cause: "The payment moved money into or out of the ledger, which needs a right of its own.",
      cure: "Reverse it by a payment in the other direction, with the scope ledger:fund.",
    },
    "unknown-account": 409,
    "currency-mismatch": 409,
    "insufficient-funds": 402,
    "limit-exceeded": 409,
  },
  constraints: { ...TRANSFER_CONSTRAINTS, transfer_refunded: "refund-exceeds-payment" },
  read: async (_input, reader, { params }) => {
    const row = await reader.first({
      table: "transfers",
      columns: TRANSFER_COLUMNS,
      where: sql`id = ${params.id}`,
    });
    return row === undefined ? undefined : parseTransfer(row);
  },
  plan: (input, payment, { params, ids, nowMs, key }) => {
    const id = ids.next(refundPrefix(params.id));
    if (payment === undefined) {
      return refused(
        [absent("transfers", byId(params.id))],
        "unknown-payment",
        `There is no payment ${params.id}.`,
      );
    }
    // A refund would move system money without the right that the payment needed.
    if (isSystemAccount(payment.source) || isSystemAccount(payment.destination)) {
      return refused([], "not-refundable", "Money from or to a system account is not refunded.");
    }
    const left = payment.amount - payment.refunded;
    const amount = input.amountMinor ?? left;
    // What is left decides the amount only if none was given; then it is a fact, else a guard suffices.
    const facts =
      input.amountMinor === undefined
        ? [exists("transfers", sql`id = ${params.id} AND refunded = ${payment.refunded}`)]
        : [];
    if (amount === 0) {
      return refused(facts, "refund-exceeds-payment", "Nothing is left to refund.");
    }
    const refund = {
      id,
      // Back the way it came.
      source: payment.destination,
      destination: payment.source,
      currency: payment.currency,
      amountMinor: amount,
      refundOf: payment.id,
      description: input.description ?? null,
      key,
      nowMs,
    };
    return {
      facts,
      guards: [
        require(exists(
          "transfers",
          sql`id = ${payment.id} AND refunded + ${amount} <= amount`,
        ), "refund-exceeds-payment", "The refunds would add up to more than the payment."),
        ...transferGuards(refund),
      ],
      effects: [postTransfer(refund)],
      answer: {
        status: 201,
        link: `/v1/payments/${payment.id}/refunds/${id}`,
        body: {
          id,
          payment: payment.id,
          amountMinor: amount,
          currency: payment.currency,
          description: refund.description,
          createdAt: new Date(nowMs).toISOString(),
        },
      },
    };
  },
});
