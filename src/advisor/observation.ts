/** Learning from one attempt: what it tells of its class, of the origin, of the budget, and of what was predicted. */
import { ADVISOR_HELD_MAX, ADVISOR_HOLD_MS } from "../kernel/limits.ts";
import { adjust, released } from "./admission.ts";
import { type Context, settle } from "./calibration.ts";
import { type ClassTable, learn } from "./class-table.ts";
import type { Failure } from "./failure.ts";
import type { Counts, Group } from "./group.ts";
import { sense, wasDown } from "./health.ts";
import { refill, spend } from "./tokens.ts";

/** What advice foretold of a retry, before calibration; given back with the observation of that retry. */
export type Prediction = { readonly context: Context; readonly raw: number };

export type Observation = {
  /** When it ended, milliseconds since the epoch. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Undefined: it succeeded. */
  readonly failure: Failure | undefined;
  /** Of a retry: the failure before it, and how long it had lasted when that try and this one were answered. */
  readonly before?:
    | { readonly failure: Failure; readonly ageMs: number; readonly toAgeMs: number }
    | undefined;
  readonly predicted?: Prediction | undefined;
  /** The failure may be that of this request alone: it is learned from, and says nothing against the origin. */
  readonly ofOneRequest?: boolean;
  /** First tries that succeed are not observed: then neither rates nor the budget can be reckoned. */
  readonly partial?: boolean;
};

export const observe = (group: Group, seen: Observation): void => {
  const { health, admission, tokens } = group;
  const { atMs, durationMs, failure, before, predicted, partial = false } = seen;
  const against = seen.ofOneRequest === true ? undefined : failure;
  const first = before === undefined;
  const limited = Number.isFinite(admission.rate);
  const turned = sense(health, {
    failure: against,
    first,
    durationMs,
    nowMs: atMs,
    partial,
    limited,
  });
  if (turned && health.up) released(admission, health.congested, atMs);
  if (turned && !health.up) group.held.length = 0;
  if (!partial) {
    adjust(admission, health, against, durationMs, atMs);
    if (first && failure === undefined) refill(tokens);
    if (!first) spend(tokens);
  }
  if (predicted !== undefined) {
    for (const { calibration } of countersOf(group)) {
      settle(calibration, predicted.context, predicted.raw, failure === undefined);
    }
  }
  learnHeld(group, atMs);
  if (before === undefined) return;
  const span = { fromMs: before.ageMs, toMs: before.toAgeMs };
  if (span.toMs <= span.fromMs) return;
  const failedAtMs = atMs - (span.toMs - span.fromMs);
  if (wasDown(health, failedAtMs, atMs)) return;
  if (failure === undefined) {
    learn(group.table, before.failure, { ...span, ended: true }, atMs, toldApart(group));
  } else if (group.held.length < ADVISOR_HELD_MAX) {
    group.held.push({ ...span, failure: before.failure, failedAtMs, atMs });
  }
};

const countersOf = (group: Group): readonly Counts[] =>
  group.untold === undefined ? [group] : [group, group.untold];

const toldApart = ({ untold }: Group): readonly ClassTable[] =>
  untold === undefined ? [] : [untold.table];

const learnHeld = (group: Group, nowMs: number): void => {
  const { held, health, table } = group;
  let settled = 0;
  for (const { failure, fromMs, toMs, failedAtMs, atMs } of held) {
    if (nowMs - atMs < ADVISOR_HOLD_MS) break;
    settled += 1;
    if (!wasDown(health, failedAtMs, atMs)) {
      learn(table, failure, { fromMs, toMs, ended: false }, nowMs, toldApart(group));
    }
  }
  if (settled > 0) held.splice(0, settled);
};
