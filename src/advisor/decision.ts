/**
 * When to retry, if at all: a backward dynamic programme over ages. The value of a try is what it may gain, less its
 * price, plus what is still to be had if it fails; waiting makes every gain worth a little less.
 */
import { BUCKET_ENDS_MS, bucketOf, BUCKETS, lasting } from "./hazard.ts";

export type Choice = {
  /** Milliseconds from now. */
  readonly afterMs: number;
  /** That this very retry succeeds, before calibration. */
  readonly probability: number;
  /** In successes; above 0. */
  readonly value: number;
};

/** After this long a success is worth 1/e: a caller who waits ten minutes still wants it. */
const PATIENCE_MS = 900_000;

/**
 * @param ageMs since the first failure
 * @param earliestMs not before that age
 * @param latestMs not after that age
 * @param price of one retry, in successes
 * @param wellness chance that nothing else stands in the way
 * @returns undefined where no retry is worth its price
 */
export const decideRetry = (
  hazards: readonly number[],
  {
    ageMs,
    earliestMs,
    latestMs,
    price,
    triesLeft,
    wellness,
  }: {
    readonly ageMs: number;
    readonly earliestMs: number;
    readonly latestMs: number;
    readonly price: number;
    readonly triesLeft: number;
    readonly wellness: number;
  },
): Choice | undefined => {
  const ages: number[] = [];
  const first = bucketOf(Math.max(ageMs, earliestMs));
  for (let bucket = first; bucket < BUCKETS; bucket++) {
    const startMs = Math.max(BUCKET_ENDS_MS[bucket - 1] ?? 0, ageMs, earliestMs);
    const endMs = BUCKET_ENDS_MS[bucket] ?? 0;
    // The middle of a bucket is a candidate too: they are minutes wide at the end.
    for (const at of [startMs + (endMs - startMs) / 2, endMs]) if (at < latestMs) ages.push(at);
  }
  // The last moment is one too: what takes minutes has ended by then if ever.
  if (Math.max(earliestMs, ageMs) <= latestMs) ages.push(latestMs);
  // How likely it lasts until each candidate, and what a success there is worth, both seen from now.
  const lasts: number[] = [];
  const worth: number[] = [];
  for (const at of ages) {
    lasts.push(lasting(hazards, ageMs, at));
    worth.push(Math.exp((ageMs - at) / PATIENCE_MS));
  }
  // What is still to be had after a failure at each candidate, from the last one backwards.
  const later = ages.map(() => 0);
  const lookFrom = triesLeft > 1 ? ages.length - 2 : -1;
  for (let from = lookFrom; from >= 0; from--) {
    const reached = Math.max(1e-9, lasts[from] ?? 1);
    const since = worth[from] ?? 1;
    for (let to = from + 1; to < ages.length; to++) {
      const gone = (1 - (lasts[to] ?? 1) / reached) * wellness;
      const value = ((worth[to] ?? 0) / since) * (gone - price + (1 - gone) * (later[to] ?? 0));
      if (value > (later[from] ?? 0)) later[from] = value;
    }
  }
  let best: Choice | undefined;
  for (let at = 0; at < ages.length; at++) {
    const probability = (1 - (lasts[at] ?? 1)) * wellness;
    const value = (worth[at] ?? 0) * (probability - price + (1 - probability) * (later[at] ?? 0));
    if (value > (best?.value ?? TIE))
      best = { afterMs: (ages[at] ?? 0) - ageMs, probability, value };
  }
  return best;
};

/** What gains just its price is not worth it, and sums of floats miss by less. */
const TIE = 1e-9;
