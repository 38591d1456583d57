/**
 * The boundary monitor: learns, for each operation, what is usual, and tells what is not. Four figures of a few seconds
 * each: how old work in flight is, how often work is met in flight, how often a key comes with another request, how often
 * requests are replays.
 *
 * Two kinds of figure, two rules. A share is compared with what is usual as a count that chance explains or does not: a
 * few more of a few requests are chance, the same share of many is not. A duration is compared on a logarithmic scale,
 * with the spread that it has had. Both have floors, so that what is rare and small never alarms; what departs is not
 * learned, until it has lasted so long that it is the new usual.
 *
 * Pure: samples and what was learned in, departures and what is learned out. It recommends; it changes nothing.
 */
import { z } from "zod";
import { labelOf } from "./series.ts";

/** What one operation did between two readings. */
export type Sample = {
  readonly requests: number;
  readonly replayed: number;
  readonly mismatched: number;
  /** Requests that met a run in flight. */
  readonly contended: number;
  /** How old the runs were that were met; their sum, milliseconds. */
  readonly metAgeMs: number;
};

export const SHARES = ["replayed", "mismatched", "contended"] as const;
type Share = (typeof SHARES)[number];
type Figure = Share | "in-flight-age";

const shareSchema = z.object({
  /** Of how many requests, and how many of them were such: both fade. */
  of: z.number(),
  were: z.number(),
  /** How much more it spreads than chance alone: 1 is chance. */
  spread: z.number(),
  /** Samples in a row that departed. */
  departed: z.number(),
});

const ageSchema = z.object({
  /** Of the mean age's logarithm. */
  mean: z.number(),
  variance: z.number(),
  samples: z.number(),
  departed: z.number(),
});

const operationSchema = z.object({
  samples: z.number(),
  replayed: shareSchema,
  mismatched: shareSchema,
  contended: shareSchema,
  age: ageSchema,
});

export const learnedSchema = z.record(z.string(), operationSchema);
export type Learned = z.output<typeof learnedSchema>;
type LearnedOperation = z.output<typeof operationSchema>;

/** A figure that has left its range. */
export type Departure = {
  readonly operation: string;
  readonly figure: Figure;
  readonly found: number;
  /** The end of the range that was left, in the unit of what was found. */
  readonly limit: number;
  readonly usual: number;
};

/** Ten minutes of samples: before that nothing is usual. */
const WARM_UP_SAMPLES = 40;
/** What is learned fades by half within half an hour of samples. */
const FADE = 0.5 ** (1 / 120);
/** Standard deviations: by chance once in ten thousand years of samples, if figures were normal; they are not quite. */
const DEVIATIONS = 6;
/** Fewer than these in one sample are never an alarm, whatever was usual. */
const DEPARTED_MIN: Readonly<Record<Share, number>> = {
  replayed: 20,
  mismatched: 8,
  contended: 20,
};
/** Networks stumble, and clients come back together: up to four times the usual odds are no anomaly. */
const ODDS_FACTOR = 4;
/** Nothing is so rare that one in two hundred would be unheard of. */
const SHARE_FLOOR = 0.005;
/** No duration is so steady that a third more would be unheard of. */
const LOG_DEVIATION_FLOOR = 0.3;
/** What is younger is no trouble. */
const AGE_FLOOR_MS = 250;
const MET_MIN = 5;
/** One sample is a stumble; two in a row are half a minute, and an alarm. */
const CONFIRMED_AFTER = 2;
/** Half an hour of departures in a row is the new usual. */
const ACCEPTED_AFTER = 120;

const NOTHING_LEARNED: LearnedOperation = {
  samples: 0,
  replayed: { of: 0, were: 0, spread: 1, departed: 0 },
  mismatched: { of: 0, were: 0, spread: 1, departed: 0 },
  contended: { of: 0, were: 0, spread: 1, departed: 0 },
  age: { mean: 0, variance: 0, samples: 0, departed: 0 },
};

/** What departs in these samples, by operation, and what is learned from them. */
export const observe = (
  learned: Learned,
  samples: Readonly<Record<string, Sample>>,
): { readonly departures: readonly Departure[]; readonly learned: Learned } => {
  const departures: Departure[] = [];
  const next: Record<string, LearnedOperation> = { ...learned };
  for (const [operation, sample] of Object.entries(samples)) {
    if (sample.requests === 0) continue;
    const before = learned[operation] ?? NOTHING_LEARNED;
    const isWarm = before.samples >= WARM_UP_SAMPLES;
    const shareOf = (figure: Share): z.output<typeof shareSchema> => {
      const { departure, after } = judgeShare(before[figure], sample, figure, isWarm);
      if (departure !== undefined) departures.push({ operation, figure, ...departure });
      return after;
    };
    const replayed = shareOf("replayed");
    const mismatched = shareOf("mismatched");
    const contended = shareOf("contended");
    const age = judgeAge(before.age, sample, isWarm);
    if (age.departure !== undefined) {
      departures.push({ operation, figure: "in-flight-age", ...age.departure });
    }
    next[operation] = {
      samples: before.samples + 1,
      replayed,
      mismatched,
      contended,
      age: age.after,
    };
  }
  return { departures, learned: next };
};

type Judged<After> = {
  readonly departure: Pick<Departure, "found" | "limit" | "usual"> | undefined;
  readonly after: After;
};

const judgeShare = (
  before: z.output<typeof shareSchema>,
  sample: Sample,
  figure: Share,
  isWarm: boolean,
): Judged<z.output<typeof shareSchema>> => {
  const { requests } = sample;
  const were = sample[figure];
  // As if there had been some requests at the floor before the first: a share is never 0.
  const share = (before.were + SHARE_FLOOR * 100) / (before.of + 100);
  const usual = Math.min(0.99, Math.max(SHARE_FLOOR, share));
  const expected = requests * usual;
  const chance = Math.sqrt(expected * (1 - usual));
  const byChance = expected + DEVIATIONS * chance * before.spread;
  const odds = (ODDS_FACTOR * usual) / (1 - usual);
  const limit = Math.max(byChance, (requests * odds) / (1 + odds));
  const departs = isWarm && were >= DEPARTED_MIN[figure] && were > limit;
  const departed = departs ? before.departed + 1 : 0;
  if (departs && departed < ACCEPTED_AFTER) {
    return {
      departure:
        departed < CONFIRMED_AFTER
          ? undefined
          : { found: were / requests, limit: limit / requests, usual },
      after: { ...before, departed },
    };
  }
  // What has lasted is the new usual, and what was learned before is forgotten.
  if (departs)
    return { departure: undefined, after: { of: requests, were, spread: 1, departed: 0 } };
  const off = chance === 0 ? 0 : Math.abs(were - expected) / chance;
  return {
    departure: undefined,
    after: {
      of: before.of * FADE + requests,
      were: before.were * FADE + were,
      // Grows slowly, so that what departs by little does not widen the range before it departs by more.
      spread: Math.max(1, before.spread * FADE, Math.min(off / 2, before.spread * 1.05)),
      departed: 0,
    },
  };
};

const judgeAge = (
  before: z.output<typeof ageSchema>,
  { contended, metAgeMs }: Sample,
  isWarm: boolean,
): Judged<z.output<typeof ageSchema>> => {
  if (contended === 0) return { departure: undefined, after: before };
  const age = Math.max(1, metAgeMs / contended);
  const log = Math.log(age);
  const usual = before.samples === 0 ? AGE_FLOOR_MS : Math.exp(before.mean);
  // The mean of few spreads more than that of many; what was learned is of some dozens.
  const deviation = Math.max(LOG_DEVIATION_FLOOR, Math.sqrt(before.variance));
  const limit = Math.max(AGE_FLOOR_MS, usual * Math.exp(DEVIATIONS * deviation * 0.75));
  const departs = isWarm && contended >= MET_MIN && age > limit;
  const departed = departs ? before.departed + 1 : 0;
  if (departs && departed < ACCEPTED_AFTER) {
    return {
      departure: departed < CONFIRMED_AFTER ? undefined : { found: age, limit, usual },
      after: { ...before, departed },
    };
  }
  if (departs) {
    return { departure: undefined, after: { mean: log, variance: 0, samples: 1, departed: 0 } };
  }
  const weight = Math.max(1 - FADE, 1 / (before.samples + 1));
  const gap = log - before.mean;
  return {
    departure: undefined,
    after: {
      mean: before.samples === 0 ? log : before.mean + weight * gap,
      variance: before.samples === 0 ? 0 : (1 - weight) * (before.variance + weight * gap * gap),
      samples: before.samples + 1,
      departed: 0,
    },
  };
};

/** What the figures of a departure say, for whoever reads the issue. */
export const departureSentence = ({ figure, found, limit, usual }: Departure): string => {
  if (figure === "in-flight-age") {
    return `Work in flight is met at an age of ${Math.round(found)} ms on average; usual are ${Math.round(usual)} ms, and the limit was ${Math.round(limit)} ms.`;
  }
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  const what = {
    replayed: "of requests are replays",
    mismatched: "of requests reuse a key for something else",
    contended: "of requests meet their key in flight",
  }[figure];
  return `${percent(found)} ${what}; usual are ${percent(usual)}, and the limit was ${percent(limit)}.`;
};

/** The queue of the key objects between two readings. */
export type QueueSample = {
  readonly groups: number;
  readonly operations: number;
  readonly waitedMs: number;
};

/** Fewer groups than this say nothing. */
const GROUPS_MIN = 100;
/** An operation that waits longer for its batch than a batch takes, in groups that are nearly full, wants another object. */
const WAIT_HIGH_MS = 50;
const GROUP_NEARLY_FULL = 40;
/** Objects that seldom have two operations at once gain nothing from being many: larger groups cost less. */
const WAIT_LOW_MS = 5;
const GROUP_SMALL = 1.3;

/**
 * How many objects a tenant's keys should be spread over, by what they wait; what is there if the figures say nothing.
 * It doubles or halves: the next reading judges the change.
 */
export const recommendKeyObjects = (
  present: number | "per-key",
  { groups, operations, waitedMs }: QueueSample,
): number | "per-key" => {
  if (present === "per-key" || groups < GROUPS_MIN) return present;
  const wait = waitedMs / Math.max(1, operations);
  const size = operations / groups;
  if (wait > WAIT_HIGH_MS && size > GROUP_NEARLY_FULL) return Math.min(4_096, present * 2);
  if (wait < WAIT_LOW_MS && size < GROUP_SMALL) return Math.max(1, Math.ceil(present / 2));
  return present;
};

/** What the counters gained between two readings, by operation. A counter that fell was begun anew. */
export const samplesOf = (
  before: Readonly<Record<string, number>>,
  now: ReadonlyMap<string, number>,
): { readonly samples: Readonly<Record<string, Sample>>; readonly queue: QueueSample } => {
  const gained = (series: string, value: number): number =>
    Math.max(0, value - (before[series] ?? 0));
  const samples: Record<string, Sample> = {};
  let queue: QueueSample = { groups: 0, operations: 0, waitedMs: 0 };
  for (const [series, value] of now) {
    const by = gained(series, value);
    if (by === 0) continue;
    const name = series.slice(0, series.indexOf("{"));
    if (name === "latchkey_groups_total") queue = { ...queue, groups: by };
    if (name === "latchkey_group_operations_total") queue = { ...queue, operations: by };
    if (name === "latchkey_queue_wait_ms_sum") queue = { ...queue, waitedMs: by };
    const operation = labelOf(series, "operation");
    if (operation === undefined) continue;
    const mine = samples[operation] ?? NOTHING_SEEN;
    if (name === "latchkey_requests_total") {
      const outcome = labelOf(series, "outcome");
      samples[operation] = {
        ...mine,
        requests: mine.requests + by,
        replayed: mine.replayed + (outcome === "replayed" ? by : 0),
        mismatched: mine.mismatched + (outcome === "idempotency-key-reused" ? by : 0),
      };
    } else if (name === "latchkey_in_flight_age_ms_count") {
      samples[operation] = { ...mine, contended: mine.contended + by };
    } else if (name === "latchkey_in_flight_age_ms_sum") {
      samples[operation] = { ...mine, metAgeMs: mine.metAgeMs + by };
    }
  }
  return { samples, queue };
};

const NOTHING_SEEN: Sample = {
  requests: 0,
  replayed: 0,
  mismatched: 0,
  contended: 0,
  metAgeMs: 0,
};

/** The series that the monitor reads: what it keeps from one reading to the next. */
export const isWatched = (series: string): boolean =>
  /^latchkey_(requests_total|in_flight_age_ms_(sum|count)|groups_total|group_operations_total|queue_wait_ms_sum)\{/.test(
    series,
  );
