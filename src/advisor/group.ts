/**
 * What is known of one origin × route: plain data, changed in place, so that a decision costs microseconds. Nothing of
 * a request is in it but statuses, codes and times.
 */
import { type Admission, openAdmission } from "./admission.ts";
import { type Calibration, emptyCalibration } from "./calibration.ts";
import { type ClassTable, emptyClassTable } from "./class-table.ts";
import type { Failure } from "./failure.ts";
import { type Health, healthy } from "./health.ts";
import { fullTokens, type Tokens } from "./tokens.ts";

/** A failure that outlived another try, and is learned from once it is known that no outage is to blame. */
export type Held = {
  readonly failure: Failure;
  readonly fromMs: number;
  readonly toMs: number;
  /** When the first of the two tries failed, and the second. */
  readonly failedAtMs: number;
  readonly atMs: number;
};

/** What adds up over several places, where the rest of a group is where it stands. */
export type Counts = { readonly table: ClassTable; readonly calibration: Calibration };

export const noCounts = (): Counts => ({
  table: emptyClassTable(),
  calibration: emptyCalibration(),
});

export type Group = Counts & {
  readonly health: Health;
  readonly admission: Admission;
  readonly tokens: Tokens;
  readonly held: Held[];
  /** What was counted here and nobody else has yet, where it is to be told to others. */
  readonly untold?: Counts | undefined;
};

export const newGroup = (nowMs: number): Group => ({
  ...noCounts(),
  health: healthy(nowMs),
  admission: openAdmission(nowMs),
  tokens: fullTokens(),
  held: [],
});
