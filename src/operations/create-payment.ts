/** POST /v1/payments: moves money from one account to another, once. */
import { z } from "zod";
import { accountReference, isSystemAccount } from "../ledger/account.ts";
import {
  description,
  paymentView,
  postTransfer,
  TRANSFER_CONSTRAINTS,
  transferGuards,
} from "../ledger/transfer.ts";
import { isJsonObject } from "../kernel/json.ts";
import { amountMinor, currency } from "../kernel/money.ts";
import { defineOperation, noParams } from "./define-operation.ts";

export const createPayment = defineOperation({
  name: "payments.create",
  method: "POST",
  path: "/v1/payments",
  summary: "Pay: move money between two accounts",
  scope: "payments:write",
  // Money that enters or leaves the ledger is another right than money that moves inside it.
  moreScopes: (body) =>
    isJsonObject(body) && (isSystemAccount(body["source"]) || isSystemAccount(body["destination"]))
      ? ["ledger:fund"]
      : [],
  params: noParams,
  input: z
    .strictObject({
      source: accountReference.meta({ description: "The paying account" }),
      destination: accountReference.meta({
        description: "The account that is paid",
        examples: ["bob"],
      }),
      amountMinor,
      currency,
      description: description.optional(),
    })
    .refine((input) => input.source !== input.destination, {
      path: ["destination"],
      message: "must be another account than the source",
    }),
  output: paymentView,
  refusals: {
    "unknown-account": 409,
    "currency-mismatch": 409,
    "insufficient-funds": 402,
    "limit-exceeded": 409,
  },
  constraints: TRANSFER_CONSTRAINTS,
  plan: (input, _facts, { ids, nowMs, key }) => {
    const id = ids.next("pay");
    return {
      guards: transferGuards(input),
      effects: [
        postTransfer({
          id,
          source: input.source,
          destination: input.destination,
          currency: input.currency,
          amountMinor: input.amountMinor,
          refundOf: null,
          description: input.description ?? null,
          key,
          nowMs,
        }),
      ],
      answer: {
        status: 201,
        link: `/v1/payments/${id}`,
        body: {
          id,
          source: input.source,
          destination: input.destination,
          amountMinor: input.amountMinor,
          currency: input.currency,
          refundedMinor: 0,
          description: input.description ?? null,
          createdAt: new Date(nowMs).toISOString(),
        },
      },
    };
  },
});
