/**
 * The line that log-odds of predictions are corrected by (Platt scaling): where predictions differ more than what comes
 * of them, it is flat, and says of all of them what is true of most. Fitted outcome by outcome (a Newton step each), from
 * a prior that predictions are right. What several places have fitted adds up.
 */
import { ADVISOR_BIN_COUNT_MAX } from "../kernel/limits.ts";

/** Sums over outcomes: of the weights, of weights by log-odds and their squares, and of what they pull towards. */
export type Line = { count: number; w: number; wx: number; wxx: number; wz: number; wxz: number };

export const emptyLine = (): Line => ({ count: 0, w: 0, wx: 0, wxx: 0, wz: 0, wxz: 0 });

/** Precision of the prior: the line goes through the origin, give or take 0.7, with a slope of one, give or take 0.3. */
const OFFSET_PRECISION = 2;
const SLOPE_PRECISION = 10;
/** Predictions nearer to 0 or 1 are not believed before calibration: log-odds have no bounds. */
const EDGE = 0.03;
/** An outcome that was all but certain would weigh next to nothing, and pull without measure. */
const WEIGHT_MIN = 0.005;

export const straightened = (line: Line, probability: number): number => {
  const x = logOdds(probability);
  const [offset, slope] = solved(line);
  return chanceOf(offset + slope * x);
};

/** @param probability as it was predicted, before this line */
export const fit = (line: Line, probability: number, succeeded: boolean): void => {
  const x = logOdds(probability);
  const [offset, slope] = solved(line);
  const at = offset + slope * x;
  const expected = chanceOf(at);
  const weight = Math.max(WEIGHT_MIN, expected * (1 - expected));
  const pulled = weight * at + ((succeeded ? 1 : 0) - expected);
  line.count += 1;
  line.w += weight;
  line.wx += weight * x;
  line.wxx += weight * x * x;
  line.wz += pulled;
  line.wxz += pulled * x;
  bound(line);
};

export const mergeLines = (into: Line, other: Line): void => {
  into.count += other.count;
  into.w += other.w;
  into.wx += other.wx;
  into.wxx += other.wxx;
  into.wz += other.wz;
  into.wxz += other.wxz;
  bound(into);
};

/** Older outcomes give way to newer. */
const bound = (line: Line): void => {
  const part = ADVISOR_BIN_COUNT_MAX / line.count;
  if (part >= 1) return;
  line.count *= part;
  line.w *= part;
  line.wx *= part;
  line.wxx *= part;
  line.wz *= part;
  line.wxz *= part;
};

/** Least squares with the prior. */
const solved = ({ w, wx, wxx, wz, wxz }: Line): readonly [offset: number, slope: number] => {
  const a = w + OFFSET_PRECISION;
  const c = wxx + SLOPE_PRECISION;
  const right = wxz + SLOPE_PRECISION;
  const determinant = a * c - wx * wx;
  return [(c * wz - wx * right) / determinant, (a * right - wx * wz) / determinant];
};

const logOdds = (probability: number): number => {
  const held = Math.min(1 - EDGE, Math.max(EDGE, probability));
  return Math.log(held / (1 - held));
};

const chanceOf = (odds: number): number => 1 / (1 + Math.exp(-odds));
