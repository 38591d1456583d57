/**
 * A group as text, and back: it survives a restart, and travels between isolates. What is not one of ours, or of another
 * version, is not read: then learning starts anew, which costs some retries and nothing else.
 */
import { z } from "zod";
import {
  ADVISOR_CLASSES_MAX,
  ADVISOR_OUTAGES_MAX,
  ADVISOR_SNAPSHOT_BYTES_MAX,
  ADVISOR_TOKENS_MAX,
} from "../kernel/limits.ts";
import { BINS } from "./calibration.ts";
import { emptyLine } from "./calibration-line.ts";
import type { Group } from "./group.ts";
import { BUCKETS } from "./hazard.ts";

const VERSION = 1;

const count = z.number().min(0);
const share = z.number().min(0).max(1);
const counts = z.object({
  ended: z.array(count).length(BUCKETS),
  outlived: z.array(count).length(BUCKETS),
  agedAtMs: z.number(),
  // Snapshots from before there was doubt have none.
  doubt: count.default(0),
  refutedAtMs: z.number().default(0),
});
const scale = z.object({
  bins: z.array(z.object({ count, predicted: count, succeeded: count })).length(BINS),
  // Snapshots from before there was a line have none.
  line: z
    .object({
      count,
      w: count,
      wx: z.number(),
      wxx: count,
      wz: z.number(),
      wxz: z.number(),
    })
    .default(emptyLine),
});

const snapshotSchema = z.object({
  version: z.literal(VERSION),
  classes: z.array(z.tuple([z.string(), counts])).max(ADVISOR_CLASSES_MAX),
  parents: z.array(z.tuple([z.number(), counts])).max(ADVISOR_CLASSES_MAX),
  calibration: z.object({ class: scale, outage: scale, released: scale }),
  tokens: z.object({ left: z.number().min(0).max(ADVISOR_TOKENS_MAX) }),
  health: z.object({
    up: z.boolean(),
    sinceMs: z.number(),
    congested: z.boolean(),
    cusum: count,
    fast: share,
    slow: share,
    usual: share,
    late: share,
    seenAtMs: z.number(),
    latencyMs: count,
    straight: count,
    probeAtMs: z.number(),
    failedAtMs: z.number(),
    outages: z.array(z.object({ fromMs: z.number(), toMs: z.number() })).max(ADVISOR_OUTAGES_MAX),
  }),
  admission: z.object({
    // JSON has no infinity.
    rate: z
      .number()
      .positive()
      .nullable()
      .transform((rate) => rate ?? Number.POSITIVE_INFINITY),
    demand: count,
    goodput: count,
    atMs: z.number(),
    latencyMs: count,
    slotMs: z.number(),
    loweredAtMs: z.number(),
    raisedAtMs: z.number(),
    gentle: z.boolean(),
  }),
});

/** @param only counts that were not told yet, instead of all */
export const snapshotOf = (group: Group, only: "everything" | "untold" = "everything"): string => {
  const { table, calibration } = only === "untold" ? (group.untold ?? group) : group;
  const { health, admission, tokens } = group;
  // Not rounded: between two times for a retry that are worth the same, the last digit decides.
  return JSON.stringify({
    version: VERSION,
    classes: [...table.classes],
    parents: [...table.parents],
    calibration,
    tokens,
    health,
    admission,
  });
};

/** Undefined: it is none. */
export const restore = (text: string): Group | undefined => {
  if (text.length > ADVISOR_SNAPSHOT_BYTES_MAX) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = snapshotSchema.safeParse(read);
  if (!parsed.success) return undefined;
  const { classes, parents, calibration, tokens, health, admission } = parsed.data;
  return {
    table: { classes: new Map(classes), parents: new Map(parents) },
    calibration,
    tokens,
    health,
    admission,
    held: [],
  };
};
