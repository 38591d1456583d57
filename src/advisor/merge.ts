/**
 * What several isolates have seen of one group, as one. Experience adds up; where the group stands (its health, its
 * budget) is what the latest of them has seen. Told twice, experience counts twice: a figure is a little too sure, and
 * nothing else.
 */
import { ADVISOR_OUTAGES_MAX } from "../kernel/limits.ts";
import { mergeCalibrations } from "./calibration.ts";
import { mergeClassTables } from "./class-table.ts";
import type { Group } from "./group.ts";
import type { Outage } from "./outages.ts";

/** Changes `into`. */
export const mergeGroups = (into: Group, other: Group, nowMs: number): void => {
  mergeClassTables(into.table, other.table, nowMs);
  mergeCalibrations(into.calibration, other.calibration);
  const outages = mergedOutages(into.health.outages, other.health.outages);
  if (other.health.seenAtMs > into.health.seenAtMs) {
    Object.assign(into.health, other.health);
    Object.assign(into.admission, other.admission);
    Object.assign(into.tokens, other.tokens);
  }
  Object.assign(into.health, { outages });
};

/** Two reports of one outage are one: they overlap. */
const mergedOutages = (some: readonly Outage[], more: readonly Outage[]): Outage[] => {
  const merged: Outage[] = [];
  for (const outage of [...some, ...more].toSorted((a, b) => a.fromMs - b.fromMs)) {
    const last = merged.at(-1);
    if (last !== undefined && outage.fromMs <= last.toMs) {
      merged[merged.length - 1] = { ...last, toMs: Math.max(last.toMs, outage.toMs) };
    } else {
      merged.push(outage);
    }
  }
  return merged.slice(-ADVISOR_OUTAGES_MAX);
};
