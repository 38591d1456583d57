/** The classes of failure that one group has met: at most 64, the least recently used gives way. */
import { ADVISOR_CLASSES_MAX } from "../kernel/limits.ts";
import { classOf, type Failure } from "./failure.ts";
import {
  addCounts,
  age,
  doubt,
  lasting,
  emptyCounts,
  type HazardCounts,
  hazardsOf,
  learnEnded,
  learnOutlived,
  refute,
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
  const lasts = lasting(hazards, fromMs, toMs);
  const name = classOf(failure);
  const tables = [table, ...also];
  for (const { classes, parents } of tables) {
    for (const counts of [used(classes, name, nowMs), used(parents, failure.status, nowMs)]) {
      age(counts, nowMs);
      if (ended) learnEnded(counts, hazards, fromMs, toMs);
      else learnOutlived(counts, fromMs, toMs);
    }
  }
  const own = used(table.classes, name, nowMs);
  const isRefuted = doubt(own, ended ? 1 - lasts : lasts);
  if (isRefuted) {
    for (const { classes } of tables) refute(used(classes, name, nowMs), nowMs);
  }
  copyDoubt(own, name, also, nowMs);
  if (isRefuted) suspectOthers(tables, name, nowMs);
};

/** Codes change together, with the software that gives them: where one was refuted, the others are put to the test. */
const suspectOthers = (
  [table, ...also]: readonly ClassTable[],
  name: string,
  nowMs: number,
): void => {
  for (const [other, counts] of table?.classes ?? []) {
    if (other === name) continue;
    counts.doubt = Math.max(counts.doubt, SUSPECTED);
    copyDoubt(counts, other, also, nowMs);
  }
};

/** What is believed is believed in one place; the others pass it on. */
const copyDoubt = (
  { doubt: doubted, refutedAtMs }: HazardCounts,
  name: string,
  also: readonly ClassTable[],
  nowMs: number,
): void => {
  for (const { classes } of also) {
    Object.assign(used(classes, name, nowMs), { doubt: doubted, refutedAtMs });
  }
};

/** Half of what refutes, and more: the first try that goes against what was believed of it decides. */
const SUSPECTED = 3;

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
