/** When the next try is due, or why there is none: ordered early returns over plain numbers; time and chance come in. */
import { ADVICE_SPREAD, BACKOFF_MS, BACKOFF_MS_MAX } from "./limits.ts";

export type Situation = {
  readonly nowMs: number;
  /** Tries of this call that failed, this one included. */
  readonly failures: number;
  /** What the server said; null if it could not be reached, or said nothing. Milliseconds. */
  readonly adviceMs: number | null;
  readonly giveUpAtMs: number;
  readonly safeUntilMs: number;
  /** From 0 up to 1. */
  readonly random: number;
};

export type Step =
  | { readonly do: "wait"; readonly untilMs: number }
  /** @param notBeforeMs when a later call may try: what was advised holds for it too */
  | { readonly do: "give-up"; readonly why: "deadline" | "key-age"; readonly notBeforeMs: number };

export const nextStep = (situation: Situation): Step => {
  const { nowMs, failures, adviceMs, random } = situation;
  const pauseMs =
    adviceMs === null ? backoffMs(failures, random) : adviceMs * (1 + ADVICE_SPREAD * random);
  const untilMs = nowMs + Math.ceil(pauseMs);
  if (untilMs >= situation.safeUntilMs)
    return { do: "give-up", why: "key-age", notBeforeMs: untilMs };
  if (untilMs >= situation.giveUpAtMs)
    return { do: "give-up", why: "deadline", notBeforeMs: untilMs };
  return { do: "wait", untilMs };
};

/** Full jitter: anything from nothing to the doubled pause, so that those who failed as one come back apart. */
export const backoffMs = (failures: number, random: number): number =>
  random * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.max(0, failures - 1));
