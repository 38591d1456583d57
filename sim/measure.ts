/** Figures of one run, and of many. */
import type { Foretold, Outcome } from "./world.ts";

export type Measures = {
  /** Of all requests, in hundredths. */
  readonly success: number;
  /** Retries that failed, for each hundred requests. */
  readonly failedRetries: number;
  /** Mean time to success of those that did not get there at once, seconds. */
  readonly lateS: number;
  /** The most attempts of any five seconds, over what arrivals alone make. */
  readonly peak: number;
  /** From the end of the trigger until attempts succeed again, seconds; the worst of a run. */
  readonly recoveryS: number;
};

const WINDOW_S = 5;
/** Well again: of the attempts of ten seconds this part succeeds. */
const WELL = 0.95;
const WELL_S = 10;

export const measure = (outcome: Outcome): Measures => ({
  success: (100 * outcome.succeeded) / outcome.requests,
  failedRetries: (100 * outcome.failedRetries) / outcome.requests,
  lateS: outcome.lateMs / 1_000,
  peak: peakOf(outcome),
  recoveryS: Math.max(0, ...outcome.endsMs.map((endMs) => recoveryOf(outcome, endMs))),
});

const peakOf = ({ sent, perSecond }: Outcome): number => {
  let most = 0;
  let within = 0;
  for (let second = 0; second < sent.length; second++) {
    within += (sent[second] ?? 0) - (sent[second - WINDOW_S] ?? 0);
    most = Math.max(most, within);
  }
  return most / WINDOW_S / perSecond;
};

const recoveryOf = ({ sent, good }: Outcome, endMs: number): number => {
  const end = Math.ceil(endMs / 1_000);
  for (let from = end; from < sent.length - WELL_S; from++) {
    let attempts = 0;
    let succeeded = 0;
    for (let second = from; second < from + WELL_S; second++) {
      attempts += sent[second] ?? 0;
      succeeded += good[second] ?? 0;
    }
    if (attempts > 0 && succeeded >= WELL * attempts) return from - end;
  }
  return sent.length - end;
};

const BINS = 20;

/** Expected calibration error: how far what was foretold lies from what came, bin by bin. */
export const ece = (foretold: readonly Foretold[]): number => {
  const bins = Array.from({ length: BINS }, () => ({ count: 0, said: 0, came: 0 }));
  for (const { probability, succeeded } of foretold) {
    const bin = bins[Math.min(BINS - 1, Math.floor(probability * BINS))];
    if (bin === undefined) continue;
    bin.count += 1;
    bin.said += probability;
    bin.came += succeeded ? 1 : 0;
  }
  return (
    bins.reduce((sum, { said, came }) => sum + Math.abs(said - came), 0) /
    Math.max(1, foretold.length)
  );
};

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
