/** How long outages of an origin last: the last thirty, and a prior as long as there are few. */
import { ADVISOR_OUTAGES_MAX } from "../kernel/limits.ts";

export type Outage = { readonly fromMs: number; readonly toMs: number };

/** What outages are like where none was seen, milliseconds: many short ones, few of minutes. */
const PRIOR_MS: readonly number[] = [3_000, 10_000, 30_000, 60_000, 120_000, 240_000];
/** Each of them counts as this part of one that was seen. */
const PRIOR_WEIGHT = 0.5;

export const remember = (outages: Outage[], outage: Outage): void => {
  outages.push(outage);
  if (outages.length > ADVISOR_OUTAGES_MAX) outages.shift();
};

/**
 * The chance that an outage that has lasted `elapsedMs` is over `inMs` later.
 * @param scale of the prior's lengths
 */
export const overWithin = (
  outages: readonly Outage[],
  elapsedMs: number,
  inMs: number,
  scale = 1,
): number => {
  let longer = 0;
  let still = 0;
  const count = (lengthMs: number, weight: number): void => {
    if (lengthMs > elapsedMs) longer += weight;
    if (lengthMs > elapsedMs + inMs) still += weight;
  };
  for (const { fromMs, toMs } of outages) count(toMs - fromMs, 1);
  for (const lengthMs of PRIOR_MS) count(lengthMs * scale, PRIOR_WEIGHT);
  // Longer than all: as likely as not it lasts as long again.
  if (longer === 0) return 1 - 2 ** (-inMs / Math.max(1, elapsedMs));
  return 1 - still / longer;
};

/** Median time that outages which lasted longer than `elapsedMs` went on for. */
export const medianRemainingMs = (outages: readonly Outage[], elapsedMs: number): number => {
  const lengths = [
    ...outages.map(({ fromMs, toMs }) => [toMs - fromMs, 1] as const),
    ...PRIOR_MS.map((lengthMs) => [lengthMs, PRIOR_WEIGHT] as const),
  ]
    .filter(([lengthMs]) => lengthMs > elapsedMs)
    .toSorted(([a], [b]) => a - b);
  const total = lengths.reduce((sum, [, weight]) => sum + weight, 0);
  let seen = 0;
  for (const [lengthMs, weight] of lengths) {
    seen += weight;
    if (seen >= total / 2) return lengthMs - elapsedMs;
  }
  return Math.max(1_000, elapsedMs);
};
