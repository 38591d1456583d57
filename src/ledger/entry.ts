/** A ledger entry: what one transfer did to one account, and the balance after it. */
import { z } from "zod";

export const entryView = z.object({
  seq: z.int().min(1).meta({ description: "Counts within the account, in the order of commits" }),
  transfer: z.string(),
  amountMinor: z.int().meta({ description: "Signed: negative left the account" }),
  balanceMinor: z.int().meta({ description: "Of the account, after this entry" }),
  createdAt: z.iso.datetime(),
});

export const ENTRY_COLUMNS = ["seq", "transfer", "amount", "balance", "created_at_ms"] as const;

const entryRow = z.object({
  seq: z.number(),
  transfer: z.string(),
  amount: z.number(),
  balance: z.number(),
  created_at_ms: z.number(),
});

export const toEntryView = (row: unknown): z.input<typeof entryView> => {
  const entry = entryRow.parse(row);
  return {
    seq: entry.seq,
    transfer: entry.transfer,
    amountMinor: entry.amount,
    balanceMinor: entry.balance,
    createdAt: new Date(entry.created_at_ms).toISOString(),
  };
};
