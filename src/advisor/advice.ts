/**
 * Advice on one failure: whether to send again, with which key, when, and how likely that helps. Rails in order: safety,
 * the caller's and the server's bounds, the origin's health, then the value of a retry. It may change when, and whether to
 * stop; what safety refuses, nothing here allows.
 */
import type { KeyUse } from "../contract/problems.ts";
import { ADVISOR_DEADLINE_MS, ADVISOR_RETRIES_MAX } from "../kernel/limits.ts";
import { demanded, pushIn, takePlace } from "./admission.ts";
import { calibrated } from "./calibration.ts";
import { type ClassTable, hazardsFor } from "./class-table.ts";
import { decideRetry } from "./decision.ts";
import { classOf, type Failure, isSystemic } from "./failure.ts";
import type { Group } from "./group.ts";
import { BUCKET_ENDS_MS, evidence, lasting } from "./hazard.ts";
import { takeProbe, upChance, wasDown } from "./health.ts";
import { intervalOf } from "./interval.ts";
import type { Prediction } from "./observation.ts";
import { medianRemainingMs } from "./outages.ts";
import { type Circumstances, refusalOf, SAFE } from "./safety.ts";
import { priceOf } from "./tokens.ts";

/** A number from 0 up to 1. */
export type Random = () => number;

export type Question = {
  readonly failure: Failure;
  /** Retries that were made already. */
  readonly retries: number;
  /** Since the first failure, milliseconds. */
  readonly ageMs: number;
  /** What the server asked to wait, milliseconds: a floor. */
  readonly hintMs?: number | undefined;
  /** When the caller gives up, or the key expires: from now, milliseconds. */
  readonly deadlineMs?: number | undefined;
  readonly circumstances?: Circumstances | undefined;
};

export type FailureClass =
  | "unsafe"
  | "spent"
  | "outage"
  | "overload"
  | "throttled"
  | "transient"
  | "lasting";

export type Advice = {
  readonly retry: boolean;
  readonly use: KeyUse;
  /** From now, milliseconds; 0 where no retry is advised. */
  readonly afterMs: number;
  /** From now, milliseconds. */
  readonly giveUpAfterMs: number;
  /** Calibrated, of the retry at `afterMs`; 0 where none is advised. */
  readonly successProbability: number;
  /** Nine times in ten the true chance lies within. */
  readonly interval: readonly [number, number];
  /** How much of it is experience with this very class, rather than what is believed of its kind. 0 to 1. */
  readonly confidence: number;
  readonly class: FailureClass;
  readonly policy: "rule" | "prior" | "learned" | "exploring";
  readonly reason: string;
  /** To be given back with the observation of the retry. */
  readonly predicted: Prediction | undefined;
};

/** Advice against a retry is put to the test this often, or it could never be found wrong; */
const EXPLORE = 0.04;
/** always where nothing was seen, a quarter as often after so many observations; and where it is doubted. */
const EXPLORE_EVIDENCE = 4;
/** Where nobody has told yet what became of a retry, less may be learned by one. */
const EXPLORE_UNHEARD = 0.3;

/** @param seen observations that the advice against it rests on */
const exploreChance = ({ classes }: ClassTable, failure: Failure, seen: number): number => {
  if (classes.size === 0) return EXPLORE_UNHEARD;
  const unknown = (EXPLORE_EVIDENCE / (EXPLORE_EVIDENCE + seen)) ** 2;
  const doubt = classes.get(classOf(failure))?.doubt ?? 0;
  return Math.max(EXPLORE + (1 - EXPLORE) * unknown, 1 - Math.exp(-doubt));
};

/** A time is drawn from around the best one, so that those who failed together do not return together. */
const JITTER = 0.15;

export const advise = (group: Group, question: Question, nowMs: number, random: Random): Advice => {
  const { failure, retries, ageMs, hintMs = 0 } = question;
  const leftMs = question.deadlineMs ?? Math.max(0, ADVISOR_DEADLINE_MS - ageMs);
  const refused = refusalOf(question.circumstances ?? SAFE, failure.code);
  if (refused !== undefined) return stop(refused.use, "unsafe", refused.reason);
  if (retries >= ADVISOR_RETRIES_MAX) {
    return stop("same-key", "spent", `${retries} retries have failed: that is enough.`);
  }
  if (hintMs > leftMs || leftMs <= 0) {
    return stop("same-key", "spent", "The next try would come after its deadline.");
  }
  const { health, table, tokens, calibration } = group;
  if (!health.up && isSystemic(failure)) {
    // Its last try was made.
    return leftMs <= LAST_CALL_MS
      ? stop("same-key", "spent", "The origin is down, and the deadline is near.")
      : hold(group, hintMs, leftMs, nowMs, random);
  }

  // Who is sent at its deadline is answered after it.
  const lastMs = Math.max(hintMs, leftMs - LAST_CALL_MS);
  const hazards = hazardsFor(table, failure);
  const counts = table.classes.get(classOf(failure));
  const wellness = wellnessOf(group, failure);
  const choice = decideRetry(hazards, {
    ageMs,
    earliestMs: ageMs + hintMs,
    latestMs: ageMs + lastMs,
    price: priceOf(tokens),
    triesLeft: ADVISOR_RETRIES_MAX - retries,
    wellness,
  });
  const wantedMs = choice?.afterMs ?? exploreMs(ageMs, leftMs, random);
  const exploring =
    choice === undefined &&
    wantedMs !== undefined &&
    tokens.left > 1 &&
    random() < exploreChance(table, failure, evidence(counts, ageMs, ageMs + wantedMs));
  if (wantedMs === undefined || (choice === undefined && !exploring)) {
    return stop(
      "same-key",
      "lasting",
      `${nameOf(failure)}: hardly any such failure ends by itself.`,
    );
  }
  const spread = 1 - JITTER + 2 * JITTER * random();
  const afterMs = Math.round(Math.min(lastMs, Math.max(hintMs, wantedMs * spread)));
  const raw = (1 - lasting(hazards, ageMs, ageMs + afterMs)) * wellness;
  const seen = evidence(counts, ageMs, ageMs + afterMs);
  const probability = calibrated(calibration, "class", raw);
  return {
    retry: true,
    use: "same-key",
    afterMs,
    giveUpAfterMs: leftMs,
    successProbability: probability,
    interval: intervalOf(probability, seen + PRIOR_EVIDENCE),
    confidence: seen / (seen + PRIOR_EVIDENCE),
    class: failure.status === 429 ? "throttled" : "transient",
    policy: exploring ? "exploring" : seen >= 1 ? "learned" : "prior",
    reason: `${nameOf(failure)}, ${seconds(ageMs)} after the first failure: ${percent(probability)} of such retries succeed.`,
    predicted: { context: "class", raw },
  };
};

const PRIOR_EVIDENCE = 6;

/** A failure that is itself systemic has the origin's usual state in its hazard already. */
const wellnessOf = ({ health }: Group, failure: Failure): number =>
  isSystemic(failure) ? 1 : Math.max(0.05, health.fast);

/** The origin is down: everything waits for about as long as such outages go on. */
const hold = (
  group: Group,
  hintMs: number,
  leftMs: number,
  nowMs: number,
  random: Random,
): Advice => {
  const { health, calibration } = group;
  const elapsedMs = nowMs - health.sinceMs;
  const afterMs = holdMs(group, hintMs, leftMs, nowMs, random);
  const raw = upChance(health, nowMs + afterMs);
  const probability = calibrated(calibration, "outage", raw);
  return {
    retry: true,
    use: "same-key",
    afterMs,
    giveUpAfterMs: leftMs,
    successProbability: probability,
    interval: intervalOf(probability, health.outages.length + 3),
    confidence: health.outages.length / (health.outages.length + 3),
    class: health.congested ? "overload" : "outage",
    policy: health.outages.length > 0 ? "learned" : "prior",
    reason: `${health.congested ? "Overloaded" : "Down"} for ${seconds(elapsedMs)}; such times usually go on for ${seconds(medianRemainingMs(health.outages, elapsedMs))} more.`,
    predicted: { context: "outage", raw },
  };
};

/** Median remaining time, drawn from around it; and not past the last moment at which a try still makes sense. */
const holdMs = (
  { health }: Group,
  hintMs: number,
  leftMs: number,
  nowMs: number,
  random: Random,
): number => {
  const remainingMs = medianRemainingMs(health.outages, nowMs - health.sinceMs);
  const waitMs = Math.min(HOLD_MS_MAX, Math.max(HOLD_MS_MIN, remainingMs)) * (0.5 + random());
  return Math.round(Math.min(Math.max(hintMs, waitMs), Math.max(0, leftMs - LAST_CALL_MS)));
};

const HOLD_MS_MIN = 1_000;
/** Whoever holds looks again within a minute, whatever the median says. */
const HOLD_MS_MAX = 60_000;
/** So long before its deadline a request that was held all the time is sent once, come what may. */
const LAST_CALL_MS = 3_000;

/** What returns to an origin that was overloaded meets one that still is, now and then. */
const GENTLE = 0.94;

export type Entry =
  | {
      readonly do: "send";
      readonly predicted: Prediction | undefined;
      readonly probability: number;
    }
  /** A place in time is kept: come back then, and say that there is one. */
  | { readonly do: "take-place"; readonly afterMs: number }
  | { readonly do: "ask-again"; readonly afterMs: number };

/**
 * Whether one attempt may be sent now; if not, when to ask again. For whoever sends: a gateway, a client.
 * @param asking `before` is the failure that it repeats, undefined for a first try; `isNew` once for each request
 */
export const admit = (
  group: Group,
  asking: {
    readonly before: { readonly failure: Failure; readonly atMs: number } | undefined;
    readonly advised: Prediction | undefined;
    readonly isNew: boolean;
    readonly hasPlace: boolean;
    readonly leftMs: number;
  },
  nowMs: number,
  random: Random,
): Entry => {
  const { health, admission } = group;
  const { before, advised, isNew, hasPlace, leftMs } = asking;
  if (isNew) demanded(admission, nowMs);
  const isLastCall = leftMs <= LAST_CALL_MS;
  if (!health.up) {
    const isProbe = takeProbe(health, nowMs);
    if (isProbe || isLastCall) {
      const raw = upChance(health, nowMs);
      return enter(group, before === undefined ? undefined : { context: "outage", raw });
    }
    return { do: "ask-again", afterMs: Math.max(1, holdMs(group, 0, leftMs, nowMs, random)) };
  }
  const place = hasPlace ? 0 : isLastCall ? pushIn(admission, nowMs) : takePlace(admission, nowMs);
  if (place === undefined) {
    const waitMs = 2_000 + 8_000 * random();
    return {
      do: "ask-again",
      afterMs: Math.round(Math.max(1, Math.min(waitMs, leftMs - LAST_CALL_MS))),
    };
  }
  if (place > 1) return { do: "take-place", afterMs: Math.min(place, Math.max(1, leftMs)) };
  if (before === undefined) return enter(group, undefined);
  // What failed while the origin was down, or as it went down, is as good as new.
  return enter(
    group,
    advised?.context === "outage" ||
      (isSystemic(before.failure) && wasDown(health, before.atMs, nowMs))
      ? { context: "released", raw: health.slow * (admission.gentle ? GENTLE : 1) }
      : advised,
  );
};

const enter = (group: Group, predicted: Prediction | undefined): Entry => ({
  do: "send",
  predicted,
  probability:
    predicted === undefined
      ? group.health.fast
      : calibrated(group.calibration, predicted.context, predicted.raw),
});

const stop = (use: KeyUse, kind: FailureClass, reason: string): Advice => ({
  retry: false,
  use,
  afterMs: 0,
  giveUpAfterMs: 0,
  successProbability: 0,
  interval: [0, 0],
  confidence: 1,
  class: kind,
  policy: kind === "lasting" ? "learned" : "rule",
  reason,
  predicted: undefined,
});

/** Anywhere in what is left, about evenly over the buckets of age. */
const exploreMs = (ageMs: number, leftMs: number, random: Random): number | undefined => {
  const ages = BUCKET_ENDS_MS.filter((endMs) => endMs > ageMs && endMs <= ageMs + leftMs);
  const drawn = ages[Math.floor(random() * ages.length)];
  return drawn === undefined ? undefined : drawn - ageMs;
};

const nameOf = ({ status, code }: Failure): string =>
  status === 0 ? `No answer (${code === "" ? "network" : code})` : `${status} ${code}`.trim();

const seconds = (ms: number): string =>
  ms < 10_000 ? `${Math.round(ms / 100) / 10} s` : `${Math.round(ms / 1_000)} s`;

const percent = (probability: number): string => `${Math.round(probability * 100)} %`;
