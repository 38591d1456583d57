/**
 * Makes 0.9 mean nine in ten: what was predicted is set against what came of it, in bins, and predictions give way to
 * that. Each kind of prediction errs in its own way, and has its own bins.
 */
import { PREDICTION_CONTEXTS } from "../contract/retry-advice.ts";
import { ADVISOR_BIN_COUNT_MAX } from "../kernel/limits.ts";

export type Context = (typeof PREDICTION_CONTEXTS)[number];

export type Bin = { count: number; predicted: number; succeeded: number };

export type Scale = {
  readonly bins: Bin[];
  /** How much too low predictions were lately, whatever their bin. */
  error: number;
};

export type Calibration = Readonly<Record<Context, Scale>>;

export const BINS = 20;
/** How many observations a prediction is worth by itself. Those of a return come in bursts, and count for less. */
const TRUST: Readonly<Record<Context, number>> = { class: 10, outage: 10, released: 60 };
/** "Lately": some twenty retries. */
const ERROR_GAIN = 0.06;

const emptyScale = (): Scale => ({
  bins: Array.from({ length: BINS }, () => ({ count: 0, predicted: 0, succeeded: 0 })),
  error: 0,
});

export const emptyCalibration = (): Calibration => ({
  class: emptyScale(),
  outage: emptyScale(),
  released: emptyScale(),
});

/** @param raw what the model predicts, 0 to 1 */
export const calibrated = (calibration: Calibration, context: Context, raw: number): number => {
  const { bins, error } = calibration[context];
  const bin = bins[binOf(raw)];
  if (bin === undefined) return raw;
  // A bin that has seen little leans on how the others err.
  const leaning = context === "released" ? raw : Math.min(1, Math.max(0, raw + error));
  const said = (bin.succeeded + TRUST[context] * leaning) / (bin.count + TRUST[context]);
  return Math.min(0.999, Math.max(0.001, said));
};

/** @param raw as it was before calibration */
export const settle = (
  calibration: Calibration,
  context: Context,
  raw: number,
  succeeded: boolean,
): void => {
  const scale = calibration[context];
  const bin = scale.bins[binOf(raw)];
  if (bin === undefined) return;
  const came = succeeded ? 1 : 0;
  scale.error += (came - raw - scale.error) * ERROR_GAIN;
  const keep = bin.count >= ADVISOR_BIN_COUNT_MAX ? 1 - 1 / bin.count : 1;
  bin.count = bin.count * keep + 1;
  bin.predicted = bin.predicted * keep + raw;
  bin.succeeded = bin.succeeded * keep + came;
};

export const mergeCalibrations = (into: Calibration, other: Calibration): void => {
  for (const context of PREDICTION_CONTEXTS) {
    const mine = into[context];
    const theirs = other[context];
    const total = countOf(mine) + countOf(theirs);
    if (total > 0) {
      mine.error = (mine.error * countOf(mine) + theirs.error * countOf(theirs)) / total;
    }
    mine.bins.forEach((bin, at) => {
      const more = theirs.bins[at];
      if (more === undefined) return;
      const count = bin.count + more.count;
      const part = Math.min(1, ADVISOR_BIN_COUNT_MAX / Math.max(1, count));
      bin.predicted = (bin.predicted + more.predicted) * part;
      bin.succeeded = (bin.succeeded + more.succeeded) * part;
      bin.count = count * part;
    });
  }
};

const countOf = ({ bins }: Scale): number => bins.reduce((sum, { count }) => sum + count, 0);

const binOf = (probability: number): number =>
  Math.min(BINS - 1, Math.max(0, Math.floor(probability * BINS)));
