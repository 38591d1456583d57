/**
 * One reading of the boundary monitor: what the counters gained since the last one, against what was learned. A figure that
 * has left its range is an issue, one for each operation and figure. Of two readings at once one is dropped.
 */
import { z } from "zod";
import type { Database } from "../journal/database.ts";
import { type Discrepancy, raiseIssues } from "../journal/issues.ts";
import { readMetrics } from "../journal/metrics.ts";
import { readScheduledState, writeScheduledState } from "../journal/scheduled-state.ts";
import {
  departureSentence,
  isWatched,
  learnedSchema,
  observe,
  type QueueSample,
  recommendKeyObjects,
  samplesOf,
} from "./boundary.ts";
import { sumSeries } from "./series.ts";

/** What the task is called where it is remembered. */
export const MONITOR = "boundary-monitor";

const queueSchema = z.object({ groups: z.number(), operations: z.number(), waitedMs: z.number() });

export const monitorSchema = z.object({
  readAtMs: z.number(),
  /** The counters then. */
  counters: z.record(z.string(), z.number()),
  learned: learnedSchema,
  /** Of the last readings: it fades. */
  queue: queueSchema,
});

export type Monitor = z.output<typeof monitorSchema>;

/** Of readings of 15 seconds: by half within ten minutes. */
const QUEUE_FADE = 0.5 ** (1 / 40);

/** What is remembered; undefined before the first reading, or if it cannot be read. */
export const parseMonitor = (state: unknown): Monitor | undefined => {
  const parsed = monitorSchema.safeParse(state);
  return parsed.success ? parsed.data : undefined;
};

/**
 * @param databases all of them, for their counters; the first keeps what was learned, and takes the issues
 */
export const readBoundaries = async (
  databases: readonly [Database, ...Database[]],
  nowMs: number,
): Promise<void> => {
  const [home] = databases;
  const { version, state } = await readScheduledState(home, MONITOR);
  const before = parseMonitor(state);
  const counters = sumSeries(await Promise.all(databases.map(readMetrics)));
  const { samples, queue } = samplesOf(before?.counters ?? {}, counters);
  // The first reading has seen all of the past at once: nothing to learn from.
  const seen =
    before === undefined ? { departures: [], learned: {} } : observe(before.learned, samples);
  const next: Monitor = {
    readAtMs: nowMs,
    counters: Object.fromEntries([...counters].filter(([series]) => isWatched(series))),
    learned: seen.learned,
    queue: before === undefined ? NO_QUEUE : faded(before.queue, queue),
  };
  if (!(await writeScheduledState(home, MONITOR, version, next))) return;
  const found = seen.departures.map((departure): Discrepancy => ({
    kind: "boundary-departure",
    tenant: "",
    subject: `${departure.operation}/${departure.figure}`,
    what: departureSentence(departure),
  }));
  await raiseIssues(home, found, nowMs);
};

const NO_QUEUE: QueueSample = { groups: 0, operations: 0, waitedMs: 0 };

const faded = (before: QueueSample, now: QueueSample): QueueSample => ({
  groups: before.groups * QUEUE_FADE + now.groups,
  operations: before.operations * QUEUE_FADE + now.operations,
  waitedMs: before.waitedMs * QUEUE_FADE + now.waitedMs,
});

/** What the queue says of `KEY_OBJECTS`. */
export const keyObjectsAdvice = (
  monitor: Monitor | undefined,
  present: number | "per-key",
): {
  readonly present: number | "per-key";
  readonly recommended: number | "per-key";
} & QueueSample => {
  const queue = monitor?.queue ?? NO_QUEUE;
  return { present, recommended: recommendKeyObjects(present, queue), ...queue };
};
