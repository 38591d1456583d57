/**
 * How a pass of the reconciliation goes on: pure, from what is remembered and what a step has found. A pass is every
 * check over every row; it stops where a run's steps end, and the next run goes on there. A step that is repeated finds
 * the same, and raises the same issues.
 */
import { z } from "zod";
import { RECONCILE_FINDINGS_PER_STEP } from "../kernel/limits.ts";
import type { Check, Place } from "./checks.ts";

const counts = z.record(z.string(), z.number());

const passSchema = z.object({
  startedAtMs: z.number(),
  /** The check that is next, by its index. */
  check: z.number(),
  /** The last row of it that was compared; null before the first. */
  place: z.array(z.union([z.string(), z.number()])).nullable(),
  /** Rows compared, by check. */
  rows: counts,
  /** Findings, by kind. */
  found: counts,
  /** What was put right, by kind. */
  healed: counts,
  /** Whether a step has found more than it reports: then what was not seen may be there all the same. */
  isPartial: z.boolean(),
});

const resultSchema = passSchema
  .omit({ check: true, place: true })
  .extend({ finishedAtMs: z.number() });

export const reconciliationSchema = z.object({
  pass: passSchema.nullable(),
  /** Of the last whole pass. */
  last: resultSchema.nullable(),
});

export type Pass = z.output<typeof passSchema>;
export type PassResult = z.output<typeof resultSchema>;
export type Reconciliation = z.output<typeof reconciliationSchema>;

/** What is remembered; nothing, if it cannot be read: then a new pass begins. */
export const parseReconciliation = (state: unknown): Reconciliation => {
  const parsed = reconciliationSchema.safeParse(state);
  return parsed.success ? parsed.data : { pass: null, last: null };
};

export const newPass = (nowMs: number): Pass => ({
  startedAtMs: nowMs,
  check: 0,
  place: null,
  rows: {},
  found: {},
  healed: {},
  isPartial: false,
});

/** What one step came to. */
export type StepResult = {
  readonly rows: number;
  /** Of the last row; undefined if there was none. */
  readonly end: Place | undefined;
  readonly found: readonly string[];
  readonly healed: readonly string[];
};

/** The pass behind a step. A page that is not full was the check's last. */
export const afterStep = (pass: Pass, { name, pageRows }: Check, step: StepResult): Pass => {
  const isLastPage = step.rows < pageRows || step.end === undefined;
  return {
    ...pass,
    check: isLastPage ? pass.check + 1 : pass.check,
    place: isLastPage ? null : [...(step.end ?? [])],
    rows: counted(pass.rows, [name], step.rows),
    found: counted(pass.found, step.found),
    healed: counted(pass.healed, step.healed),
    isPartial: pass.isPartial || step.found.length >= RECONCILE_FINDINGS_PER_STEP,
  };
};

/** Undefined while checks are left. */
export const resultOf = (
  pass: Pass,
  checks: readonly Check[],
  nowMs: number,
): PassResult | undefined => {
  if (pass.check < checks.length) return undefined;
  const { startedAtMs, rows, found, healed, isPartial } = pass;
  return { startedAtMs, rows, found, healed, isPartial, finishedAtMs: nowMs };
};

const counted = (
  before: Readonly<Record<string, number>>,
  names: readonly string[],
  by = 1,
): Record<string, number> => {
  const after = { ...before };
  for (const name of names) after[name] = (after[name] ?? 0) + by;
  return after;
};

/** What it means, for whoever reads the issue. */
const SENTENCES: Readonly<Record<string, string>> = {
  "outcome-uncertain":
    "Nobody can tell whether an external effect happened; a person has to resolve it",
  "in-flight-too-long": "Work has been in flight for too long",
  "key-without-effect": "An accepted key says that it made what is not there",
  "effect-without-key": "No accepted key made this",
  "entry-without-transfer": "An entry belongs to no transfer",
  "entry-differs-from-transfer": "An entry does not say what its transfer says",
  "entry-balance-broken": "An entry's balance is not the one before it plus its amount",
  "balance-differs-from-entries": "An account's balance is not that of its last entry",
  "ledger-imbalance": "The balances of a currency do not sum to zero",
  "transfer-without-entries": "There are not two entries for each transfer",
  "refunds-differ-from-payment": "A payment's refunds are not what it says was given back",
  "transfer-without-payout": "A step of a payout belongs to no payout",
  "payout-differs-from-transfers": "A payout's transfers are not those of its state",
  "stock-negative": "There are fewer pieces than none",
  "stock-differs-from-moves": "A product's quantity is not the sum of its moves",
  "order-total-differs-from-lines": "An order's total is not the sum of its lines",
  "order-differs-from-payment": "An order was not paid as it says",
  "copy-differs": "The object answers with another outcome than the journal has",
};

/** What a whole pass has looked for everywhere, and so may find gone. Copies are sampled. */
export const RECONCILED_KINDS: readonly string[] = Object.keys(SENTENCES).filter(
  (kind) => kind !== "copy-differs",
);

/** @param figures what should be there and what is, where there are figures */
export const sentenceOf = (
  kind: string,
  figures: { readonly expected: string | number | null; readonly found: string | number | null },
): string => {
  const { expected, found } = figures;
  const told = [
    ...(expected === null ? [] : [`expected ${expected}`]),
    ...(found === null ? [] : [`found ${found}`]),
  ];
  return `${SENTENCES[kind] ?? kind}${told.length === 0 ? "" : `: ${told.join(", ")}`}.`;
};
