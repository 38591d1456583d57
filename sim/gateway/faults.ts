/**
 * When the API behind fails, and how: spans of trouble by seed, a tenth as long as those of the simulated workloads. The
 * same seed is the same trouble at the same moments, whoever calls.
 */
import { exponential, logUniform, type Random, randomOf } from "../random.ts";

export const TROUBLES = [
  /** 503 at once. */
  "unavailable",
  /** The connection is reset before anything has happened. */
  "reset",
  /** It is carried out, and answered only after the gateway has given the call up. */
  "slow",
  /** More than a few a second are refused with 429, and no word of when to come back. */
  "throttled",
] as const;

export type Trouble = (typeof TROUBLES)[number];

export type Span = { readonly trouble: Trouble; readonly fromMs: number; readonly toMs: number };

/** Time to learn how it is when nothing is wrong. */
const CALM_MS = 5_000;
const CALM_MEAN_MS = 4_000;

/** Each kind in turn, from another one on with every seed, so that a run has seen all of them. */
export const troublesOf = (seed: number, spanMs: number): readonly Span[] => {
  const random = randomOf(seed);
  const spans: Span[] = [];
  let at = CALM_MS + exponential(random, CALM_MEAN_MS);
  for (let turn = seed; at < spanMs; turn++) {
    const trouble = TROUBLES[turn % TROUBLES.length] ?? "unavailable";
    const toMs = at + logUniform(random, 3_000, 12_000);
    spans.push({ trouble, fromMs: at, toMs });
    at = toMs + CALM_MS + exponential(random, CALM_MEAN_MS);
  }
  return spans;
};

export const troubleAt = (spans: readonly Span[], atMs: number): Trouble | undefined =>
  spans.find(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs)?.trouble;

/** When requests arrive, milliseconds from the start. */
export const arrivalsOf = (random: Random, perSecond: number, spanMs: number): number[] => {
  const arrivals: number[] = [];
  let at = exponential(random, 1_000 / perSecond);
  while (at < spanMs) {
    arrivals.push(at);
    at += exponential(random, 1_000 / perSecond);
  }
  return arrivals;
};
