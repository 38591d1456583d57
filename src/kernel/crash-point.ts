/**
 * The labelled points at which the crash tests kill the server. The build replaces `CRASH_POINTS` with
 * `false`, and the bundler then drops every `if (CRASH_POINTS)` with what it holds: a deployed Worker has
 * neither the labels nor the calls.
 */
declare global {
  var CRASH_POINTS: boolean;
  var latchkeyCrashPoint: ((point: CrashPoint) => Promise<void>) | undefined;
}

export type CrashPoint =
  | "queued"
  | "before-claim"
  | "batch-sent"
  | "batch-committed"
  | "copy-written"
  | "answer-sent"
  | "async-accepted"
  | "recovery"
  | "sweep"
  | "alarm"
  | "exchange-claimed"
  | "exchange-intent"
  | "exchange-sent"
  | "exchange-answered"
  | "exchange-stored"
  | "exchange-final";

/** Call as `if (CRASH_POINTS) await crashPoint("queued")`. Returns at once unless a test has a hook. */
export const crashPoint = async (point: CrashPoint): Promise<void> => {
  await globalThis.latchkeyCrashPoint?.(point);
};
