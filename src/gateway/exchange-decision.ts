/**
 * The states of an exchange and the one function that leads from one to the next. Pure: state, event, policy and time go
 * in, the next state comes out, or nothing if the event does not apply (any more): a late answer, a second resolution, a
 * zombie's word. What it holds to, whatever the order of events:
 *
 * - after a try that may have been executed it is sent again only where the upstream runs a key once, or has said, after
 *   the call's time-out and the quiet period, that it knows of none and that this is its last word;
 * - a state that is final, or free, never changes; one that is uncertain is changed by a person's word, or by the upstream's
 *   own on what became of the key, and is never sent again;
 * - the tries are bounded, in number and in time;
 * - an exchange that may have been executed is never called free.
 */
import { EXCHANGE_ASKS_MAX } from "../kernel/limits.ts";
import type { ExchangePolicy } from "./exchange.ts";
import type { Verdict } from "./outcome-rule.ts";

/** How far an exchange has come. */
export type Progress = {
  /** Counts calls and questions together, from the claim's own number on: each is one, and the last one's word counts. */
  readonly attempt: number;
  readonly sends: number;
  readonly asks: number;
  /** When the last call was sent, milliseconds since the epoch. */
  readonly sentAtMs: number;
  /** Whether a call before the last event may have been executed. */
  readonly doubtful: boolean;
};

export type ExchangeState =
  /** A call is recorded, and may have left. */
  | (Progress & { readonly kind: "calling" })
  /** Nothing is under way that counts; the next step is due at a time. */
  | (Progress & {
      readonly kind: "paused";
      readonly next: "send" | "ask";
      readonly dueAtMs: number;
    })
  /** It may have been executed, and what was tried did not tell. A person resolves it, unless a later question does. */
  | (Progress & { readonly kind: "uncertain" })
  | (Progress & {
      readonly kind: "final";
      readonly by: "upstream" | "status" | "person";
      /** False: the answer was too large. */
      readonly stored: boolean;
    })
  /** Not executed, and not tried any more: the key is to be released. */
  | (Progress & { readonly kind: "free"; readonly afterMs: number });

export type ExchangeEvent =
  /** Its time has come, and it may go on. */
  | { readonly kind: "due" }
  /** Its time has come, and the upstream is not to be called now. */
  | { readonly kind: "held-back"; readonly afterMs: number }
  /** Somebody asks for the next step now, whenever it was due. */
  | { readonly kind: "hastened" }
  | {
      readonly kind: "judged";
      readonly attempt: number;
      readonly verdict: Verdict;
      readonly pauseMs: number;
    }
  /** A final answer that is too large to store. */
  | { readonly kind: "oversize"; readonly attempt: number }
  /** A call is recorded, and nobody is here who waits for it. */
  | { readonly kind: "interrupted"; readonly pauseMs: number }
  | {
      readonly kind: "asked";
      readonly attempt: number;
      readonly askedAtMs: number;
      readonly found: "outcome" | "absent" | "unknown";
      /** Of the outcome, if it was found. */
      readonly stored: boolean;
      readonly pauseMs: number;
    }
  | { readonly kind: "resolved"; readonly executed: boolean };

/** What an exchange is bound by. */
export type Terms = {
  readonly policy: Pick<ExchangePolicy, "timeoutMs" | "honoursKey" | "status" | "heal">;
  /** Elapsed time counts from here, milliseconds since the epoch. */
  readonly createdAtMs: number;
};

/** @param attempt of the claim */
export const firstCall = (attempt: number, nowMs: number): ExchangeState => ({
  kind: "calling",
  attempt,
  sends: 1,
  asks: 0,
  sentAtMs: nowMs,
  doubtful: false,
});

export const transition = (
  state: ExchangeState,
  event: ExchangeEvent,
  terms: Terms,
  nowMs: number,
): ExchangeState | undefined => {
  switch (event.kind) {
    case "due":
      return state.kind === "paused" ? begun(state, state.next, terms, nowMs) : undefined;
    case "held-back":
      return state.kind === "paused" ? heldBack(state, event.afterMs, terms, nowMs) : undefined;
    case "hastened":
      return state.kind === "paused"
        ? { ...state, dueAtMs: Math.min(state.dueAtMs, nowMs) }
        : undefined;
    case "judged":
      if (state.kind !== "calling" || state.attempt !== event.attempt) return undefined;
      return afterVerdict(state, event, terms, nowMs);
    case "oversize":
      return state.kind === "calling" && state.attempt === event.attempt
        ? { ...progressOf(state), kind: "final", by: "upstream", stored: false }
        : undefined;
    case "interrupted":
      return state.kind === "calling"
        ? afterDoubt(state, nowMs + event.pauseMs, terms, nowMs)
        : undefined;
    case "asked":
      if (state.attempt !== event.attempt) return undefined;
      if (state.kind === "uncertain") return afterLateQuestion(state, event, terms);
      return state.kind === "paused" ? afterQuestion(state, event, terms, nowMs) : undefined;
    case "resolved":
      if (state.kind !== "uncertain") return undefined;
      return event.executed
        ? { ...progressOf(state), kind: "final", by: "person", stored: true }
        : { ...progressOf(state), kind: "free", afterMs: 0 };
  }
};

const progressOf = ({ attempt, sends, asks, sentAtMs, doubtful }: Progress): Progress => ({
  attempt,
  sends,
  asks,
  sentAtMs,
  doubtful,
});

type Paused = Extract<ExchangeState, { kind: "paused" }>;

const begun = (state: Paused, next: "send" | "ask", terms: Terms, nowMs: number): ExchangeState => {
  const progress = { ...progressOf(state), attempt: state.attempt + 1 };
  if (next === "send") {
    return { ...progress, kind: "calling", sends: state.sends + 1, sentAtMs: nowMs };
  }
  // A question changes nothing there: if we die over it, it is asked again once it would have ended.
  const dueAtMs = nowMs + terms.policy.timeoutMs;
  return { ...progress, kind: "paused", asks: state.asks + 1, next: "ask", dueAtMs };
};

const heldBack = (state: Paused, afterMs: number, terms: Terms, nowMs: number): ExchangeState => {
  const dueAtMs = nowMs + afterMs;
  if (isInTime(dueAtMs, terms)) return { ...state, dueAtMs };
  const progress = progressOf(state);
  return state.doubtful
    ? { ...progress, kind: "uncertain" }
    : { ...progress, kind: "free", afterMs };
};

const paused = (state: Progress, next: "send" | "ask", dueAtMs: number): ExchangeState => ({
  ...progressOf(state),
  kind: "paused",
  next,
  dueAtMs,
});

const afterVerdict = (
  state: Progress,
  { verdict, pauseMs }: { readonly verdict: Verdict; readonly pauseMs: number },
  terms: Terms,
  nowMs: number,
): ExchangeState => {
  switch (verdict) {
    case "final":
      return { ...progressOf(state), kind: "final", by: "upstream", stored: true };
    case "not-executed":
      return afterNotExecuted(state, nowMs + pauseMs, terms, pauseMs);
    case "maybe-executed":
      return afterDoubt(state, nowMs + pauseMs, terms, nowMs);
  }
};

/** This call was not executed. If an earlier one may have been, that is still so. */
const afterNotExecuted = (
  state: Progress,
  dueAtMs: number,
  terms: Terms,
  afterMs: number,
): ExchangeState => {
  const isSafe = !state.doubtful || terms.policy.honoursKey;
  if (isSafe && mayStillSend(state, dueAtMs, terms)) return paused(state, "send", dueAtMs);
  return state.doubtful
    ? askOrGiveUp(state, dueAtMs, terms)
    : { ...progressOf(state), kind: "free", afterMs };
};

/** It may have been executed: sent again only where a key runs once. Never blindly. */
const afterDoubt = (
  state: Progress,
  dueAtMs: number,
  terms: Terms,
  nowMs: number,
): ExchangeState => {
  const doubtful = { ...progressOf(state), doubtful: true };
  if (terms.policy.honoursKey && mayStillSend(state, dueAtMs, terms)) {
    return paused(doubtful, "send", dueAtMs);
  }
  // An outcome may be there to be told at once; a pause would only keep the caller waiting.
  return askOrGiveUp(doubtful, state.asks === 0 ? nowMs : dueAtMs, terms);
};

const askOrGiveUp = (state: Progress, dueAtMs: number, terms: Terms): ExchangeState =>
  terms.policy.status !== null && state.asks < EXCHANGE_ASKS_MAX && isInTime(dueAtMs, terms)
    ? paused(state, "ask", dueAtMs)
    : { ...progressOf(state), kind: "uncertain" };

type Asked = Extract<ExchangeEvent, { kind: "asked" }>;

const afterQuestion = (state: Paused, event: Asked, terms: Terms, nowMs: number): ExchangeState => {
  const { status, timeoutMs } = terms.policy;
  switch (event.found) {
    case "outcome":
      return { ...progressOf(state), kind: "final", by: "status", stored: event.stored };
    case "unknown":
      return askOrGiveUp(state, nowMs + event.pauseMs, terms);
    case "absent": {
      if (status === null) return { ...progressOf(state), kind: "uncertain" };
      // Until then the call may still be on its way to where it is executed.
      const believedFromMs = state.sentAtMs + timeoutMs + status.quietMs;
      if (event.askedAtMs < believedFromMs) return askOrGiveUp(state, believedFromMs, terms);
      if (!status.absenceIsFinal) return { ...progressOf(state), kind: "uncertain" };
      return afterNotExecuted({ ...state, doubtful: false }, nowMs, terms, event.pauseMs);
    }
  }
};

/** Asked once more of what was given up: only what is certain changes it. Nothing is left that could be sent. */
const afterLateQuestion = (
  state: Progress,
  event: Asked,
  { policy: { status, timeoutMs } }: Terms,
): ExchangeState | undefined => {
  if (event.found === "outcome") {
    return { ...progressOf(state), kind: "final", by: "status", stored: event.stored };
  }
  const isProof =
    event.found === "absent" &&
    status?.absenceIsFinal === true &&
    event.askedAtMs >= state.sentAtMs + timeoutMs + status.quietMs;
  return isProof ? { ...progressOf(state), kind: "free", afterMs: 0 } : undefined;
};

const mayStillSend = ({ sends }: Progress, dueAtMs: number, terms: Terms): boolean =>
  sends < terms.policy.heal.attemptsMax && isInTime(dueAtMs, terms);

const isInTime = (dueAtMs: number, { policy, createdAtMs }: Terms): boolean =>
  dueAtMs - createdAtMs <= policy.heal.elapsedMsMax;
