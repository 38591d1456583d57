/**
 * Whether an origin is up, as a whole. A running sum of log-likelihoods of systemic failures says when it went down
 * (CUSUM); three successes in a row, as fast as usual, say that it is back. While it is down one attempt at a time
 * tries it.
 */
import { type Failure, isSystemic, isTimeOut } from "./failure.ts";
import { type Outage, overWithin, remember } from "./outages.ts";

export type Health = {
  up: boolean;
  /** Since when it is as it is, milliseconds since the epoch. */
  sinceMs: number;
  /** Down by answers that came too late, rather than by answers that said no. */
  congested: boolean;
  /** Evidence that it went down; above the bound it did. */
  cusum: number;
  /** Averages of what succeeded: over seconds, and over minutes. */
  fast: number;
  slow: number;
  /** The long average as it was before the present doubt: what is true again once the origin is back. */
  usual: number;
  /** Of the last time-outs and refusals, the part that were time-outs. */
  late: number;
  /** When the averages were last moved. */
  seenAtMs: number;
  /** How long a success takes, usually; 0 until one was seen. Not moved while it is congested. */
  latencyMs: number;
  /** Successes in a row since it is down. */
  straight: number;
  /** From when on the next attempt may try it. */
  probeAtMs: number;
  /** When a systemic failure was last met. */
  failedAtMs: number;
  readonly outages: Outage[];
};

export const healthy = (nowMs: number): Health => ({
  up: true,
  sinceMs: nowMs,
  congested: false,
  cusum: 0,
  fast: 1,
  slow: 1,
  usual: 1,
  late: 0,
  seenAtMs: nowMs,
  latencyMs: 0,
  straight: 0,
  probeAtMs: nowMs,
  failedAtMs: nowMs,
  outages: [],
});

/** What an attempt tells of the origin: its failure, or undefined for a success, and whether it was a first try. */
export type Sign = {
  readonly failure: Failure | undefined;
  readonly first: boolean;
  readonly durationMs: number;
  readonly nowMs: number;
  /** From one who tells of failures, and of successes only after them: then rates mean nothing. */
  readonly partial: boolean;
  /** What it is sent is limited: then it is slow by what was sent before, and hardly tells how long answers take. */
  readonly limited: boolean;
};

const FAST_MS = 4_000;
const SLOW_MS = 120_000;
/** Three failures in a row of an origin that is usually well, five where one in seven fails anyway. */
const DOWN_ABOVE = 8;
/** A retry fails for its own reasons more often than a first try does. */
const RETRY_WEIGHT = 0.25;
const UP_AFTER = 3;
/** As fast as usual: within this many times the usual. */
const LATENCY_FACTOR = 3;
/** Below this everything is fast. */
const LATENCY_FLOOR_MS = 50;
const PROBE_MS_MIN = 500;
const PROBE_MS_MAX = 10_000;
/** Ever rarer while it lasts: a tenth of the time that it has been down. */
const PROBE_PART = 0.1;

/** Takes in one attempt. True if with it the origin went down, or came back. */
export const sense = (health: Health, sign: Sign): boolean => {
  const { failure, first, durationMs, nowMs, partial, limited } = sign;
  const passedMs = Math.max(0, nowMs - health.seenAtMs);
  // What one request is refused for shows that the origin answers.
  const failed = failure !== undefined && isSystemic(failure);
  const late = failure !== undefined && isTimeOut(failure);
  if (partial) fade(health, nowMs);
  if (failed) health.failedAtMs = nowMs;
  const baseline = Math.min(0.3, Math.max(0.05, 1 - health.slow));
  if (partial) health.seenAtMs = nowMs;
  else if (first || failed) move(health, failed, late, first ? 1 : RETRY_WEIGHT, nowMs);
  const slow =
    health.latencyMs > 0 &&
    durationMs > LATENCY_FACTOR * Math.max(LATENCY_FLOOR_MS, health.latencyMs);
  if (!failed && failure === undefined && !slow && health.up) {
    const gain = limited
      ? 1 - Math.exp(-passedMs / LATENCY_LIMITED_MS)
      : Math.max(LATENCY_GAIN_MIN, 1 - Math.exp(-passedMs / LATENCY_MS));
    health.latencyMs +=
      health.latencyMs === 0 ? durationMs : (durationMs - health.latencyMs) * gain;
  }
  if (!health.up) return probed(health, failed, slow, nowMs);
  const evidence = failed
    ? Math.log(DOWN_RATE / baseline)
    : Math.log((1 - DOWN_RATE) / (1 - baseline));
  // A retry that succeeds is a success like any other.
  const weight = failed && !first ? RETRY_WEIGHT : 1;
  health.cusum = Math.max(0, health.cusum + evidence * weight);
  if (health.cusum === 0) health.usual = health.slow;
  if (health.cusum < DOWN_ABOVE) return false;
  health.up = false;
  health.slow = health.usual;
  health.sinceMs = nowMs;
  health.congested = health.late > 0.5;
  health.straight = 0;
  health.cusum = 0;
  health.probeAtMs = nowMs + PROBE_MS_MIN;
  return true;
};

/** Where nobody tells of what goes well, silence does: failures count together only if they come together. */
const fade = (health: Health, nowMs: number): void => {
  health.cusum *= 2 ** (-Math.max(0, nowMs - health.seenAtMs) / FADE_MS);
  if (health.up || nowMs - health.failedAtMs < SILENCE_MS) return;
  remember(health.outages, { fromMs: health.sinceMs, toMs: health.failedAtMs });
  health.up = true;
  health.sinceMs = health.failedAtMs;
  health.straight = 0;
};

const FADE_MS = 10_000;
/** Twice the longest hold: whoever was told to wait has come back by then. */
const SILENCE_MS = 180_000;

/** What fails of an origin that is down. */
const DOWN_RATE = 0.9;
/** Usual is what a minute says, or a hundred answers; a queue that builds up must not become usual. */
const LATENCY_MS = 60_000;
const LATENCY_GAIN_MIN = 0.01;
/** An origin that stays slow, though it is sent little, is slow by itself: within a minute and a half that is usual. */
const LATENCY_LIMITED_MS = 300_000;

const move = (
  health: Health,
  failed: boolean,
  late: boolean,
  weight: number,
  nowMs: number,
): void => {
  // An attempt moves an average by what time has passed, and by a little in any case.
  const passedMs = Math.max(0, nowMs - health.seenAtMs);
  const gain = (spanMs: number): number =>
    weight * Math.max(MOVE_MIN, 1 - Math.exp(-passedMs / spanMs));
  const success = failed ? 0 : 1;
  health.fast += (success - health.fast) * Math.min(0.5, gain(FAST_MS));
  // While it is down the long average says how it usually is.
  if (health.up) health.slow += (success - health.slow) * Math.min(0.1, gain(SLOW_MS));
  if (failed) health.late += ((late ? 1 : 0) - health.late) * 0.4;
  health.seenAtMs = nowMs;
};

const MOVE_MIN = 0.005;

const probed = (health: Health, failed: boolean, slow: boolean, nowMs: number): boolean => {
  if (failed || slow) {
    // What answers, and stays slow though it is hardly asked, is slow by itself: in the end that is its usual.
    if (!failed) health.latencyMs *= health.congested ? SLOWER_CONGESTED : SLOWER;
    health.straight = 0;
    health.probeAtMs = nowMs + probeEveryMs(health, nowMs);
    return false;
  }
  health.straight += 1;
  health.probeAtMs = nowMs;
  if (health.straight < UP_AFTER) return false;
  remember(health.outages, { fromMs: health.sinceMs, toMs: nowMs });
  health.up = true;
  health.sinceMs = nowMs;
  health.fast = 1;
  health.straight = 0;
  // Newer than what others have seen of the outage, also if it was retries that found it over.
  health.seenAtMs = nowMs;
  return true;
};

/** A quarter more with each answer: three times as slow is believed after five. */
const SLOWER = 1.25;
/** Where answers came too late, slowness is the very thing to be over: it is believed after some twenty. */
const SLOWER_CONGESTED = 1.05;

const probeEveryMs = ({ sinceMs }: Health, nowMs: number): number =>
  Math.min(PROBE_MS_MAX, Math.max(PROBE_MS_MIN, (nowMs - sinceMs) * PROBE_PART));

/** Lets the one that asks try an origin that is down, if it is time to: then nobody else may for a while. */
export const takeProbe = (health: Health, nowMs: number): boolean => {
  if (nowMs < health.probeAtMs) return false;
  // Until it is answered, or given up.
  health.probeAtMs = nowMs + Math.max(probeEveryMs(health, nowMs), PROBE_LOST_MS);
  return true;
};

const PROBE_LOST_MS = 3_000;

/** What was taken was not sent: the next may, at once. */
export const returnProbe = (health: Health, nowMs: number): void => {
  health.probeAtMs = Math.min(health.probeAtMs, nowMs);
};

/** The chance that a try at that time meets an origin that is up, and well. */
export const upChance = (health: Health, atMs: number): number =>
  health.up
    ? health.slow
    : health.usual *
      overWithin(
        health.outages,
        health.failedAtMs - health.sinceMs,
        atMs - health.failedAtMs,
        health.congested ? CONGESTED_SCALE : 1,
      );

/** What was too much is worked off soon, once nobody sends more: in the prior, in a tenth of the time of an outage. */
const CONGESTED_SCALE = 0.1;

/** Whether the origin was down at some time between; what failed shortly before it was seen to be counts as that. */
export const wasDown = (health: Health, fromMs: number, toMs: number): boolean => {
  if (!health.up && toMs >= health.sinceMs - SEEN_LATE_MS) return true;
  const last = health.outages.at(-1);
  return last !== undefined && last.toMs >= fromMs && last.fromMs - SEEN_LATE_MS <= toMs;
};

const SEEN_LATE_MS = 5_000;
