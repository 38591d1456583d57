/** Accounts: who they are, and how one is opened. */
import { z } from "zod";
import { amountMinorOrZero, currency } from "../kernel/money.ts";
import { type Effect, insert, insertIfAbsent } from "../kernel/plan.ts";

/** An id that a client may choose. The colon is kept for system accounts. */
export const accountId = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9_-]{2,63}$/,
    "3 to 64 of a-z, 0-9, _ and -, starting with a letter or digit",
  )
  .meta({ examples: ["alice"] });

/** Money comes from here: the one account of a currency that may go below zero without limit. */
export const systemAccountId = (currencyCode: string): string => `system:${currencyCode}`;

export const isSystemAccount = (id: unknown): boolean =>
  typeof id === "string" && id.startsWith("system:");

/** Any account that there is, also those that money is only on its way through. */
export const accountName = z.union([accountId, z.string().regex(/^system:[A-Z]{3}(:[a-z-]+)?$/)]);

/** Any account that a transfer may name. */
export const accountReference = z.union([accountId, z.string().regex(/^system:[A-Z]{3}$/)]);

export const accountView = z.object({
  id: z.string(),
  currency,
  balanceMinor: z.int(),
  overdraftLimitMinor: amountMinorOrZero.nullable().meta({
    description: "How far below zero the balance may go; null for a system account: no limit",
  }),
  createdAt: z.iso.datetime(),
});

export const ACCOUNT_COLUMNS = [
  "id",
  "currency",
  "balance",
  "overdraft_limit",
  "created_at_ms",
] as const;

const accountRow = z.object({
  id: z.string(),
  currency: z.string(),
  balance: z.number(),
  overdraft_limit: z.number().nullable(),
  created_at_ms: z.number(),
});

export const toAccountView = (row: unknown): z.input<typeof accountView> => {
  const account = accountRow.parse(row);
  return {
    id: account.id,
    currency: account.currency,
    balanceMinor: account.balance,
    overdraftLimitMinor: account.overdraft_limit,
    createdAt: new Date(account.created_at_ms).toISOString(),
  };
};

/** Opens an account, and with the first of a currency the system account that funds it. */
export const openAccount = (account: {
  readonly id: string;
  readonly currency: string;
  readonly overdraftLimitMinor: number;
  readonly nowMs: number;
}): Effect[] => [
  insertIfAbsent("accounts", {
    id: systemAccountId(account.currency),
    currency: account.currency,
    overdraft_limit: null,
    created_at_ms: account.nowMs,
  }),
  insert("accounts", {
    id: account.id,
    currency: account.currency,
    overdraft_limit: account.overdraftLimitMinor,
    created_at_ms: account.nowMs,
  }),
];
