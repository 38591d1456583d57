/** POST /v1/accounts: opens an account of a currency. */
import { z } from "zod";
import { accountId, accountView, openAccount } from "../ledger/account.ts";
import { isJsonObject } from "../kernel/json.ts";
import { amountMinorOrZero, currency } from "../kernel/money.ts";
import { absent, byId, require } from "../kernel/plan.ts";
import { defineOperation, noParams } from "./define-operation.ts";

export const createAccount = defineOperation({
  name: "accounts.create",
  method: "POST",
  path: "/v1/accounts",
  summary: "Open an account",
  scope: "payments:write",
  // Credit is money that enters the ledger.
  moreScopes: (body) =>
    isJsonObject(body) &&
    body["overdraftLimitMinor"] !== undefined &&
    body["overdraftLimitMinor"] !== 0
      ? ["ledger:fund"]
      : [],
  params: noParams,
  input: z.strictObject({
    id: accountId.optional().meta({ description: "Chosen by you, or made here" }),
    currency,
    overdraftLimitMinor: amountMinorOrZero
      .default(0)
      .meta({ description: "How far below zero the balance may go, in minor units" }),
  }),
  output: accountView,
  refusals: { "already-exists": 409 },
  plan: (input, _facts, { ids, nowMs }) => {
    const id = input.id ?? ids.next("acc");
    return {
      guards: [
        require(absent(
          "accounts",
          byId(id),
        ), "already-exists", `There is an account ${id} already.`),
      ],
      effects: openAccount({
        id,
        currency: input.currency,
        overdraftLimitMinor: input.overdraftLimitMinor,
        nowMs,
      }),
      answer: {
        status: 201,
        link: `/v1/accounts/${id}`,
        body: {
          id,
          currency: input.currency,
          balanceMinor: 0,
          overdraftLimitMinor: input.overdraftLimitMinor,
          createdAt: new Date(nowMs).toISOString(),
        },
      },
    };
  },
});
