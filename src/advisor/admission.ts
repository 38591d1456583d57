/**
 * How much an origin is sent while it is not well: a rate that grows step by step and falls by parts (AIMD), and for
 * each that waits a place in time. So what an outage has held back does not come all at once, and an overload is
 * not fed.
 */
import { type Failure, isThrottle, isTimeOut } from "./failure.ts";
import type { Health } from "./health.ts";

export type Admission = {
  /** Attempts a second; infinite while nothing is wrong. */
  rate: number;
  /** What is asked for, first tries a second, over a minute. */
  demand: number;
  /** What succeeds, a second, over some seconds. */
  goodput: number;
  /** Up to when these were reckoned. */
  atMs: number;
  /** How long answers take lately, milliseconds. */
  latencyMs: number;
  /** When the next place is free. */
  slotMs: number;
  /** When the rate was last lowered; 0 if never. */
  loweredAtMs: number;
  raisedAtMs: number;
  /** What limits it: too many at once, or a return from an outage, which can be quicker. */
  gentle: boolean;
};

export const openAdmission = (nowMs: number): Admission => ({
  rate: Number.POSITIVE_INFINITY,
  demand: 0,
  goodput: 0,
  atMs: nowMs,
  latencyMs: 0,
  slotMs: nowMs,
  loweredAtMs: 0,
  raisedAtMs: nowMs,
  gentle: false,
});

const DEMAND_MS = 60_000;
const GOODPUT_MS = 4_000;
const LOWER_EVERY_MS = 1_000;
/** Latency that has grown this much says that work piles up, before anything fails. */
const GRADIENT = 2;
const LATENCY_FLOOR_MS = 50;
/** One slow answer is chance, five are not. */
const LATENCY_GAIN = 0.2;

/** Decays both rates to now; they are sums that leak, so an event adds one over their span. */
const reckon = (admission: Admission, nowMs: number): void => {
  const passedMs = Math.max(0, nowMs - admission.atMs);
  if (passedMs === 0) return;
  admission.demand *= Math.exp(-passedMs / DEMAND_MS);
  admission.goodput *= Math.exp(-passedMs / GOODPUT_MS);
  admission.atMs = nowMs;
};

/** A first try is asked for. */
export const demanded = (admission: Admission, nowMs: number): void => {
  reckon(admission, nowMs);
  admission.demand += 1_000 / DEMAND_MS;
};

/** Takes in how one attempt went. */
export const adjust = (
  admission: Admission,
  health: Health,
  failure: Failure | undefined,
  durationMs: number,
  nowMs: number,
): void => {
  reckon(admission, nowMs);
  if (failure === undefined) admission.goodput += 1_000 / GOODPUT_MS;
  if (failure !== undefined && isThrottle(failure)) {
    // What it takes is what it lets through.
    lower(admission, Math.max(RATE_MIN, admission.goodput * THROTTLED), nowMs);
    return;
  }
  admission.latencyMs += (durationMs - admission.latencyMs) * LATENCY_GAIN;
  const late =
    (failure !== undefined && isTimeOut(failure)) ||
    (health.latencyMs > 0 &&
      admission.latencyMs > GRADIENT * Math.max(LATENCY_FLOOR_MS, health.latencyMs));
  if (late && Number.isFinite(admission.rate)) {
    // What was lowered shows once the places are used that were given before.
    if (failure === undefined && nowMs - admission.loweredAtMs < HORIZON_MS) return;
    const part = failure === undefined ? SLOW : LATE;
    lower(admission, Math.max(RATE_MIN, admission.rate * part), nowMs);
    return;
  }
  if (failure === undefined) raise(admission, nowMs);
};

const RATE_MIN = 0.5;
const THROTTLED = 0.95;
const SLOW = 0.75;
const LATE = 0.8;
/** Of the demand, what is added in a second; an overload is left in smaller steps. */
const STEP = 0.15;
const STEP_GENTLE = 0.03;
const CEILING = 3;
const CEILING_GENTLE = 1.25;
/** Without any sign of trouble for this long, and with nobody waiting, the limit goes. */
const CALM_MS = 15_000;

const lower = (admission: Admission, rate: number, nowMs: number): void => {
  admission.raisedAtMs = nowMs;
  if (nowMs - admission.loweredAtMs < LOWER_EVERY_MS) return;
  admission.rate = Math.min(admission.rate, rate);
  admission.loweredAtMs = nowMs;
  admission.gentle = true;
  admission.slotMs = Math.max(admission.slotMs, nowMs);
};

const raise = (admission: Admission, nowMs: number): void => {
  if (!Number.isFinite(admission.rate)) return;
  const { gentle, demand } = admission;
  const base = Math.max(RATE_MIN, demand);
  const passedS = Math.min(1, Math.max(0, nowMs - admission.raisedAtMs) / 1_000);
  const ceiling = base * (gentle ? CEILING_GENTLE : CEILING);
  admission.raisedAtMs = nowMs;
  if (admission.rate < ceiling) {
    admission.rate = Math.min(
      ceiling,
      admission.rate + base * (gentle ? STEP_GENTLE : STEP) * passedS,
    );
  } else if (admission.slotMs <= nowMs && nowMs - admission.loweredAtMs > CALM_MS) {
    admission.rate = Number.POSITIVE_INFINITY;
  }
};

/**
 * The origin is back: what was held comes at about the rate that it is used to, and then faster; after an overload,
 * at what was too much, or less.
 */
export const released = (admission: Admission, congested: boolean, nowMs: number): void => {
  const { demand, rate } = admission;
  admission.gentle = congested;
  admission.rate = congested
    ? Math.max(1, demand * START_GENTLE_MIN, Math.min(rate, demand * START_GENTLE))
    : Math.max(1, demand * START);
  // Places that were given before are still taken.
  admission.slotMs = Math.max(admission.slotMs, nowMs);
  admission.loweredAtMs = nowMs;
  admission.raisedAtMs = nowMs;
};

const START = 1.2;
const START_GENTLE = 0.9;
const START_GENTLE_MIN = 0.25;

/** Milliseconds until the place that the one who asks is given; undefined if the queue is too long to be given one. */
export const takePlace = (admission: Admission, nowMs: number): number | undefined => {
  if (!Number.isFinite(admission.rate)) return 0;
  // A rate of 20 a second is not one each 50 ms to the millisecond: half a second may come at once.
  const earliestMs = Math.max(admission.slotMs, nowMs - BURST_MS);
  if (earliestMs - nowMs > HORIZON_MS) return undefined;
  admission.slotMs = earliestMs + 1_000 / admission.rate;
  return Math.max(0, earliestMs - nowMs);
};

/** Goes before all that wait, for it cannot: their places are a little later for it. */
export const pushIn = (admission: Admission, nowMs: number): 0 => {
  if (Number.isFinite(admission.rate)) {
    admission.slotMs = Math.max(admission.slotMs, nowMs) + 1_000 / admission.rate;
  }
  return 0;
};

const BURST_MS = 250;
/** Places further off would be given at a rate that has changed by then. */
const HORIZON_MS = 5_000;
