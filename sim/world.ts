/**
 * One run: requests of a workload, sent by a policy, answered by the workload's origin. What a request meets depends on
 * the seed alone, so that every policy is asked the same.
 */
import type { Failure } from "../src/advisor/failure.ts";
import { Events } from "./events.ts";
import { type Random, randomOf } from "./random.ts";

export type Call = {
  readonly id: number;
  readonly arrivedMs: number;
  /** Milliseconds since the start of the run. */
  readonly deadlineMs: number;
  /** What an origin decides for this very request, always the same. */
  readonly luck: Random;
  sends: number;
  firstFailedMs: number;
};

export type Attempt = { readonly latencyMs: number; readonly failure: Failure | undefined };

export type Origin = {
  readonly answer: (call: Call, nowMs: number) => Attempt;
};

export type Workload = {
  readonly name: string;
  readonly title: string;
  /** Requests arrive until then. */
  readonly spanMs: number;
  /** When each arrives, milliseconds. */
  readonly arrivals: (random: Random, spanMs: number) => number[];
  readonly origin: (random: Random, spanMs: number) => Origin;
  /** Moments from which recovery is measured: when the trigger of each overload, or each outage, ends. */
  readonly ends?: (random: Random, spanMs: number) => readonly number[];
};

/** A way to retry. One is made for each run; it is shared by all requests of it. */
export type Policy = {
  readonly begin: (call: Call, world: World) => void;
  /** Policies that await are given the time to. */
  readonly settle?: () => Promise<void>;
  readonly stop?: () => void;
};

export type MakePolicy = (random: Random, world: World) => Policy;

/** A retry as it was foretold, and what came of it. */
export type Foretold = { readonly probability: number; readonly succeeded: boolean };

export type Outcome = {
  readonly requests: number;
  readonly succeeded: number;
  readonly failedRetries: number;
  readonly retries: number;
  /** Mean time from arrival to success, of those that needed a retry or had to wait. */
  readonly lateMs: number;
  /** Attempts, and those that succeeded, by second. */
  readonly sent: readonly number[];
  readonly good: readonly number[];
  readonly foretold: readonly Foretold[];
  /** Mean attempts a second that arrivals alone would make. */
  readonly perSecond: number;
  readonly endsMs: readonly number[];
};

export class World {
  readonly events = new Events();
  readonly sent: number[] = [];
  readonly good: number[] = [];
  readonly foretold: Foretold[] = [];
  failedRetries = 0;
  retries = 0;
  succeeded = 0;
  lateMs = 0;
  late = 0;
  readonly #origin: Origin;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  get nowMs(): number {
    return this.events.nowMs;
  }

  /** Sends once. `answered` comes when the answer does, or the time-out. */
  send(call: Call, answered: (attempt: Attempt) => void, foretold?: number): void {
    const second = Math.floor(this.nowMs / 1_000);
    const isRetry = call.sends > 0;
    call.sends += 1;
    this.sent[second] = (this.sent[second] ?? 0) + 1;
    const attempt = this.#origin.answer(call, this.nowMs);
    const succeeded = attempt.failure === undefined;
    if (succeeded) this.good[second] = (this.good[second] ?? 0) + 1;
    if (isRetry) {
      this.retries += 1;
      if (!succeeded) this.failedRetries += 1;
      if (foretold !== undefined) this.foretold.push({ probability: foretold, succeeded });
    }
    this.events.after(attempt.latencyMs, () => {
      if (!succeeded && call.firstFailedMs < 0) call.firstFailedMs = this.nowMs;
      answered(attempt);
    });
  }

  /** The request is answered for good; a success after its deadline is none. */
  finish(call: Call, succeeded: boolean): void {
    if (!succeeded || this.nowMs > call.deadlineMs) return;
    this.succeeded += 1;
    if (call.sends > 1 || this.nowMs - call.arrivedMs > LATE_MS) {
      this.late += 1;
      this.lateMs += this.nowMs - call.arrivedMs;
    }
  }
}

const LATE_MS = 5_000;
const DEADLINE_MS_MIN = 300_000;
const DEADLINE_MS_MAX = 600_000;

export const run = async (
  workload: Workload,
  makePolicy: MakePolicy,
  seed: number,
): Promise<Outcome> => {
  const arrivals = workload.arrivals(randomOf(seed * 7 + 1), workload.spanMs);
  const world = new World(workload.origin(randomOf(seed * 7 + 2), workload.spanMs));
  const policy = makePolicy(randomOf(seed * 7 + 3), world);
  arrivals.forEach((arrivedMs, id) => {
    const luck = randomOf(seed * 1_000_003 + id);
    const deadlineMs = arrivedMs + DEADLINE_MS_MIN + (DEADLINE_MS_MAX - DEADLINE_MS_MIN) * luck();
    const call: Call = { id, arrivedMs, deadlineMs, luck, sends: 0, firstFailedMs: -1 };
    world.events.after(arrivedMs, () => policy.begin(call, world));
  });
  // Past the last deadline nothing can succeed.
  const endMs = workload.spanMs + DEADLINE_MS_MAX;
  if (policy.settle === undefined) {
    while (world.nowMs < endMs && world.events.step());
  } else {
    await policy.settle();
    while (world.nowMs < endMs && world.events.step()) await policy.settle();
  }
  policy.stop?.();
  const { succeeded, failedRetries, retries, lateMs, late, sent, good, foretold } = world;
  return {
    requests: arrivals.length,
    succeeded,
    failedRetries,
    retries,
    lateMs: late === 0 ? 0 : lateMs / late,
    sent,
    good,
    foretold,
    perSecond: arrivals.length / (workload.spanMs / 1_000),
    endsMs: workload.ends?.(randomOf(seed * 7 + 2), workload.spanMs) ?? [],
  };
};
