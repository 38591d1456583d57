/** POST /v1/payouts: sends money out of the ledger, by a processor outside, once. */
import { z } from "zod";
import { accountId } from "../ledger/account.ts";
import {
  heldPayout,
  holdPayout,
  payoutDestination,
  payoutGuards,
  payoutView,
  payPayout,
  releasePayout,
} from "../ledger/payout.ts";
import { description, TRANSFER_CONSTRAINTS } from "../ledger/transfer.ts";
import { isJsonObject, type Json } from "../kernel/json.ts";
import { amountMinor, currency } from "../kernel/money.ts";
import { noParams } from "./define-operation.ts";
import { declined, defineExternalOperation, type ProcessorAnswer } from "./external-step.ts";

export const createPayout = defineExternalOperation({
  name: "payouts.create",
  method: "POST",
  path: "/v1/payouts",
  summary: "Pay out: hold money, have a processor send it, and settle or release it",
  scope: "payments:write",
  params: noParams,
  input: z.strictObject({
    account: accountId.meta({ description: "The account that pays" }),
    amountMinor,
    currency,
    destination: payoutDestination,
    description: description.optional(),
  }),
  output: payoutView,
  refusals: {
    "unknown-account": 409,
    "currency-mismatch": 409,
    "insufficient-funds": 402,
    "limit-exceeded": 409,
    "payout-declined": {
      status: 402,
      title: "The payout was declined",
      cause: "The processor will not send this money. What was held for it is back on the account.",
      cure: "Look at the detail, correct what it names, and pay out again with a new key.",
    },
  },
  constraints: TRANSFER_CONSTRAINTS,
  held: heldPayout,
  plan: (input, _facts, { ids, nowMs, key }) => {
    const payout = {
      id: ids.next("out"),
      account: input.account,
      amountMinor: input.amountMinor,
      currency: input.currency,
      destination: input.destination,
      description: input.description ?? null,
      key,
      createdAtMs: nowMs,
    };
    return { guards: payoutGuards(payout), effects: holdPayout(payout), held: payout };
  },
  external: {
    processor: "PAYOUT_PROCESSOR",
    call: (payout, processorKey) => ({
      method: "POST",
      path: "/v1/payouts",
      // Nothing that another run of the same key would say otherwise: the processor may compare.
      body: {
        amount: payout.amountMinor,
        currency: payout.currency,
        destination: payout.destination,
        reference: processorKey,
      },
    }),
    settle: (payout, answer, nowMs) => {
      if (!isPaid(answer)) {
        return declined("payout-declined", `The processor answered ${answer.status}.`);
      }
      const reference = textMember(answer.body, "id");
      return {
        effects: payPayout(payout, reference, nowMs),
        answer: {
          status: 201,
          link: `/v1/payouts/${payout.id}`,
          body: {
            id: payout.id,
            account: payout.account,
            amountMinor: payout.amountMinor,
            currency: payout.currency,
            destination: payout.destination,
            description: payout.description,
            state: "paid" as const,
            reference,
            createdAt: new Date(payout.createdAtMs).toISOString(),
            endedAt: new Date(nowMs).toISOString(),
          },
        },
      };
    },
    release: releasePayout,
  },
});

/** A status path tells of a declined payout with a 200, too: then its state says so. */
const isPaid = ({ status, body }: ProcessorAnswer): boolean => {
  const state = textMember(body, "state") ?? textMember(body, "status");
  return status >= 200 && status < 300 && !["declined", "failed", "rejected"].includes(state ?? "");
};

/** As long as a reference may be, and free of what would need escaping. */
const REFERENCE = /^[\x21-\x7e]{1,140}$/;

const textMember = (body: Json | undefined, member: string): string | null => {
  const value = body !== undefined && isJsonObject(body) ? body[member] : undefined;
  return typeof value === "string" && REFERENCE.test(value) ? value : null;
};
