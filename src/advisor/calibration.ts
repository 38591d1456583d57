/**
 * Makes 0.9 mean nine in ten: what was predicted is set against what came of it, and predictions give way to that. First
 * by a line (on log-odds, as Platt scaled them), which few outcomes suffice for, then by bins, which many correct. Each
 * kind of prediction errs in its own way, and has its own.
 */
import { PREDICTION_CONTEXTS } from "../contract/retry-advice.ts";
import { ADVISOR_BIN_COUNT_MAX } from "../kernel/limits.ts";
import { emptyLine, fit, type Line, mergeLines, straightened } from "./calibration-line.ts";

export type Context = (typeof PREDICTION_CONTEXTS)[number];

/** `predicted` and `succeeded` are sums over the `count` predictions, the former as the line has them. */
export type Bin = { count: number; predicted: number; succeeded: number };

export type Scale = { readonly line: Line; readonly bins: Bin[] };

export type Calibration = Readonly<Record<Context, Scale>>;

export const BINS = 20;

/**
 * How many observations a prediction is worth by itself. Those of a return fail in bursts, when it was no return: ten of
 * them say little more than one.
 */
const TRUST: Readonly<Record<Context, number>> = { class: 30, outage: 30, released: 300 };

const emptyScale = (): Scale => ({
  line: emptyLine(),
  bins: Array.from({ length: BINS }, () => ({ count: 0, predicted: 0, succeeded: 0 })),
});

export const emptyCalibration = (): Calibration => ({
  class: emptyScale(),
  outage: emptyScale(),
  released: emptyScale(),
});

/** @param raw what the model predicts, 0 to 1 */
export const calibrated = (calibration: Calibration, context: Context, raw: number): number => {
  const { bins } = calibration[context];
  const expected = expectedOf(calibration, context, raw);
  const bin = bins[binOf(expected)];
  if (bin === undefined) return expected;
  const trust = TRUST[context];
  const said = (bin.succeeded + trust * expected) / (bin.count + trust);
  return Math.min(0.999, Math.max(0.001, said));
};

/** A return is predicted by a rate that was measured: its line is straight. */
const expectedOf = (calibration: Calibration, context: Context, raw: number): number =>
  context === "released" ? raw : straightened(calibration[context].line, raw);

/** @param raw as it was before calibration */
export const settle = (
  calibration: Calibration,
  context: Context,
  raw: number,
  succeeded: boolean,
): void => {
  const { line, bins } = calibration[context];
  const expected = expectedOf(calibration, context, raw);
  fit(line, raw, succeeded);
  const bin = bins[binOf(expected)];
  if (bin === undefined) return;
  const keep = bin.count >= ADVISOR_BIN_COUNT_MAX ? 1 - 1 / bin.count : 1;
  bin.count = bin.count * keep + 1;
  bin.predicted = bin.predicted * keep + expected;
  bin.succeeded = bin.succeeded * keep + (succeeded ? 1 : 0);
};

export const mergeCalibrations = (into: Calibration, other: Calibration): void => {
  for (const context of PREDICTION_CONTEXTS) {
    const mine = into[context];
    const theirs = other[context];
    mergeLines(mine.line, theirs.line);
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

const binOf = (probability: number): number =>
  Math.min(BINS - 1, Math.max(0, Math.floor(probability * BINS)));
