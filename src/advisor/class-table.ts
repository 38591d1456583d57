/** The classes of failure that one group has met: at most 64, the least recently used gives way. */
import { ADVISOR_CLASSES_MAX } from "../kernel/limits.ts";
import { classOf, type Failure } from "./failure.ts";
import {
  addCounts,
  age,
  emptyCounts,
  type HazardCounts,
  hazardsOf,
  learnEnded,
  learnOutlived,
} from "./hazard.ts";
import { priorOf } from "./prior.ts";

export type ClassTable = {
  /** In order of use, the latest last. */
  readonly classes: Map<string, HazardCounts>;
  /** By status: what a class without experience leans on. */
  readonly parents: Map<number, HazardCounts>;
};

export const emptyClassTable = (): ClassTable => ({ classes: new Map(), parents: new Map() });

/** For each bucket of age, the chance that this failure ends in it. */
export const hazardsFor = ({ classes, parents }: ClassTable, failure: Failure): number[] =>
  hazardsOf(classes.get(classOf(failure)), parents.get(failure.status), priorOf(failure.status));

/** Two attempts of one request: at the first age it failed, and at the second it had ended, or failed again. */
export type Span = { readonly fromMs: number; readonly toMs: number; readonly ended: boolean };

/** @param also tables that count the same, by what `table` believes */
export const learn = (
  table: ClassTable,
  failure: Failure,
  { fromMs, toMs, ended }: Span,
  nowMs: number,
  also: readonly ClassTable[] = [],
): void => {
  const hazards = hazardsFor(table, failure);
  for (const { classes, parents } of [table, ...also]) {
    const own = used(classes, classOf(failure), nowMs);
    const parent = used(parents, failure.status, nowMs);
    for (const counts of [own, parent]) {
      age(counts, nowMs);
      if (ended) learnEnded(counts, hazards, fromMs, toMs);
      else learnOutlived(counts, fromMs, toMs);
    }
  }
};

/** What several places have counted, as one. */
export const mergeClassTables = (into: ClassTable, other: ClassTable, nowMs: number): void => {
  for (const [name, counts] of other.classes) addCounts(used(into.classes, name, nowMs), counts);
  for (const [status, counts] of other.parents)
    addCounts(used(into.parents, status, nowMs), counts);
};

const used = <Name>(table: Map<Name, HazardCounts>, name: Name, nowMs: number): HazardCounts => {
  const counts = table.get(name) ?? emptyCounts(nowMs);
  table.delete(name);
  table.set(name, counts);
  if (table.size > ADVISOR_CLASSES_MAX) {
    const oldest = table.keys().next();
    if (oldest.done !== true) table.delete(oldest.value);
  }
  return counts;
};
