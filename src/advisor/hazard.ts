/**
 * How failures of one class end: for each bucket of age, the chance that a failure that has lasted until then ends in
 * it. Counts, shrunk to what is known of its kind, so that a class that was seen twice is judged like its relatives.
 */
import { ADVISOR_BUCKET_COUNT_MAX } from "../kernel/limits.ts";
import { AT_ONCE, type Prior } from "./prior.ts";

/** Ends of the buckets, milliseconds since the first failure; about equal on a logarithmic scale. */
export const BUCKET_ENDS_MS: readonly number[] = [
  100, 300, 1_000, 3_000, 8_000, 20_000, 45_000, 90_000, 180_000, 300_000, 600_000,
];

export const BUCKETS = BUCKET_ENDS_MS.length;

export type HazardCounts = {
  /** By bucket: failures that ended in it, and those that outlived it. Fractions where it cannot be told exactly. */
  readonly ended: number[];
  readonly outlived: number[];
  /** Up to when they were aged, milliseconds since the epoch. */
  agedAtMs: number;
  /** Evidence that it is true no more: a running sum of log-likelihoods (CUSUM) against even odds. */
  doubt: number;
  /** When it last was so strong that what had been counted was forgotten; 0: never. */
  refutedAtMs: number;
};

export const emptyCounts = (nowMs: number): HazardCounts => ({
  ended: Array.from({ length: BUCKETS }, () => 0),
  outlived: Array.from({ length: BUCKETS }, () => 0),
  agedAtMs: nowMs,
  doubt: 0,
  refutedAtMs: 0,
});

/**
 * How much the kind weighs against the class, in observations of each bucket. Little: a code either helps itself or does
 * not, so the first few retries of one say more than all of its relatives.
 */
const SHRINK = 0.6;
const SHRINK_PARENT = 20;
/** Of what was seen a minute ago this much is believed now: half of it after 34 minutes. */
const KEPT_PER_MINUTE = 0.98;
/** Time alone leaves this many: what is met once an hour would else be met as if for the first time. */
const KEPT_MIN = 10;
/** No failure is certain to end, and none to last. */
const HAZARD_MAX = 0.995;

export const hazardsOfPrior = (prior: Prior): readonly number[] => {
  const known = ofPriors.get(prior);
  if (known !== undefined) return known;
  const { share, medianMs } = prior;
  const gone = (ms: number): number =>
    ms === 0 ? 0 : share * (AT_ONCE + (1 - AT_ONCE) * (1 - 2 ** (-ms / medianMs)));
  const hazards = BUCKET_ENDS_MS.map((endMs, bucket) => {
    const before = gone(startOf(bucket));
    return Math.min(HAZARD_MAX, (gone(endMs) - before) / (1 - before));
  });
  ofPriors.set(prior, hazards);
  return hazards;
};

/** Every decision starts from one of a dozen priors, which are constants. */
const ofPriors = new WeakMap<Prior, readonly number[]>();

/** Of a class, by its own counts, those of its status, and the prior of that. */
export const hazardsOf = (
  own: HazardCounts | undefined,
  parent: HazardCounts | undefined,
  prior: Prior,
): number[] =>
  hazardsOfPrior(prior).map((believed, bucket) => {
    const ofKind = shrunk(parent, bucket, believed, SHRINK_PARENT);
    return shrunk(own, bucket, ofKind, SHRINK);
  });

/** @param towards the hazard of the kind, and with which weight it counts */
const shrunk = (
  counts: HazardCounts | undefined,
  bucket: number,
  towards: number,
  weight: number,
): number => {
  if (counts === undefined) return towards;
  const ended = counts.ended[bucket] ?? 0;
  const outlived = counts.outlived[bucket] ?? 0;
  return Math.min(HAZARD_MAX, (ended + weight * towards) / (ended + outlived + weight));
};

/** The chance that a failure that has lasted `fromMs` lasts until `toMs` as well. */
export const lasting = (hazards: readonly number[], fromMs: number, toMs: number): number => {
  let chance = 1;
  for (let bucket = bucketOf(fromMs); bucket < BUCKETS; bucket++) {
    const part = partOf(bucket, fromMs, toMs);
    if (part <= 0) break;
    const stays = 1 - (hazards[bucket] ?? 0);
    chance *= part === 1 ? stays : stays ** part;
  }
  return chance;
};

/** A retry at `toMs` failed, and so had one at `fromMs`. */
export const learnOutlived = (counts: HazardCounts, fromMs: number, toMs: number): void => {
  for (let bucket = bucketOf(fromMs); bucket < BUCKETS; bucket++) {
    const part = partOf(bucket, fromMs, toMs);
    if (part <= 0) break;
    add(counts, bucket, 0, part);
  }
};

/**
 * A retry at `toMs` succeeded, where one at `fromMs` had failed: it ended somewhere between, and its weight is spread
 * over where, by what is believed so far (online expectation maximisation).
 */
export const learnEnded = (
  counts: HazardCounts,
  hazards: readonly number[],
  fromMs: number,
  toMs: number,
): void => {
  const total = 1 - lasting(hazards, fromMs, toMs);
  let reached = 1;
  for (let bucket = bucketOf(fromMs); bucket < BUCKETS; bucket++) {
    const part = partOf(bucket, fromMs, toMs);
    if (part <= 0) break;
    const ends = reached * (1 - (1 - (hazards[bucket] ?? 0)) ** part);
    // Where nothing was thought possible, the bucket that it was seen in.
    const weight = total > 1e-9 ? ends / total : 1;
    reached -= ends;
    const outlives = total > 1e-9 ? Math.max(0, reached - (1 - total)) / total : 0;
    add(counts, bucket, weight, outlives * part);
    if (total <= 1e-9) break;
  }
};

const add = (counts: HazardCounts, bucket: number, ended: number, outlived: number): void => {
  const endedNow = (counts.ended[bucket] ?? 0) + ended;
  const outlivedNow = (counts.outlived[bucket] ?? 0) + outlived;
  const scale = Math.min(1, ADVISOR_BUCKET_COUNT_MAX / Math.max(1, endedNow + outlivedNow));
  counts.ended[bucket] = endedNow * scale;
  counts.outlived[bucket] = outlivedNow * scale;
};

/** Forgets with time, so that what has changed is learned anew. */
export const age = (counts: HazardCounts, nowMs: number): void => {
  const minutes = (nowMs - counts.agedAtMs) / 60_000;
  if (minutes < 1) return;
  forget(counts, KEPT_PER_MINUTE ** minutes, KEPT_MIN);
  counts.agedAtMs = nowMs;
};

/**
 * Weighs what came against what was believed of it. True if that refutes what was counted: the class has changed.
 * @param believed the chance of what came
 */
export const doubt = (counts: HazardCounts, believed: number): boolean => {
  const evidence = Math.log(EVEN / Math.max(BELIEVED_MIN, believed));
  counts.doubt = Math.max(0, counts.doubt + evidence);
  return counts.doubt >= DOUBT_MAX;
};

/** Forgets all but a little. */
export const refute = (counts: HazardCounts, nowMs: number): void => {
  forget(counts, 0, REFUTED_KEPT);
  counts.doubt = 0;
  counts.refutedAtMs = nowMs;
};

/** What would be said of it if nothing was known. */
const EVEN = 0.5;
/** No one outcome refutes what was learned. */
const BELIEVED_MIN = 0.005;
/** Two failures of what always succeeded, or two successes of what never did; chance gets there in some 200 retries. */
const DOUBT_MAX = 5.5;
const REFUTED_KEPT = 0.4;

/** @param least so many observations of a bucket are kept in any case */
const forget = ({ ended, outlived }: HazardCounts, kept: number, least: number): void => {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = (ended[bucket] ?? 0) + (outlived[bucket] ?? 0);
    const part = count <= least ? 1 : Math.max(kept, least / count);
    ended[bucket] = (ended[bucket] ?? 0) * part;
    outlived[bucket] = (outlived[bucket] ?? 0) * part;
  }
};

/**
 * What several places have counted of one class, as one. What one of them has found refuted is so for all; how far it is
 * doubted since, the later of them knows.
 * @param other the later
 */
export const addCounts = (into: HazardCounts, other: HazardCounts): void => {
  if (other.refutedAtMs > into.refutedAtMs) refute(into, other.refutedAtMs);
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    add(into, bucket, other.ended[bucket] ?? 0, other.outlived[bucket] ?? 0);
  }
  into.agedAtMs = Math.max(into.agedAtMs, other.agedAtMs);
  if (other.refutedAtMs === into.refutedAtMs) into.doubt = other.doubt;
};

/** Observations behind the buckets from `fromMs` to `toMs`: as many as the poorest of them has. */
export const evidence = (
  counts: HazardCounts | undefined,
  fromMs: number,
  toMs: number,
): number => {
  if (counts === undefined) return 0;
  let least = Number.POSITIVE_INFINITY;
  for (let bucket = bucketOf(fromMs); bucket < BUCKETS; bucket++) {
    if (partOf(bucket, fromMs, toMs) <= 0) break;
    least = Math.min(least, (counts.ended[bucket] ?? 0) + (counts.outlived[bucket] ?? 0));
  }
  return Number.isFinite(least) ? least : 0;
};

export const bucketOf = (ageMs: number): number => {
  const found = BUCKET_ENDS_MS.findIndex((endMs) => ageMs < endMs);
  return found < 0 ? BUCKETS : found;
};

const startOf = (bucket: number): number => BUCKET_ENDS_MS[bucket - 1] ?? 0;

/** Which part of the bucket lies within. A blip is over before anybody looks: a first retry has all of the first bucket. */
const partOf = (bucket: number, fromMs: number, toMs: number): number => {
  if (bucket === 0 && fromMs === 0 && toMs > 0) return 1;
  const startMs = startOf(bucket);
  const endMs = BUCKET_ENDS_MS[bucket] ?? startMs;
  return (Math.min(toMs, endMs) - Math.max(fromMs, startMs)) / (endMs - startMs);
};
