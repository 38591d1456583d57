/**
 * The retry budget of one origin. A retry costs a token, and only successes at the first try give tokens back: retries
 * never outgrow what works. With none left the origin is taken to be down: retries stand in line, and one at a time goes
 * as a probe, ever later while probes fail. The first that is answered lets the next one go at once, so that the line
 * ends soon after the outage does.
 *
 * Nothing here makes a retry safe, and losing it all (it is memory) only costs patience.
 */
import { RETRY_TOKENS_MAX, TOKENS_PER_SUCCESS } from "./limits.ts";
import { backoffMs } from "./retry-decision.ts";

export type Pass = {
  /** Whether it is a probe: the only retry under way. */
  readonly probe: boolean;
  /** To be called when the try has ended; the first call counts. */
  readonly end: (answered: boolean) => void;
};

export type BudgetParts = {
  readonly now: () => number;
  readonly random: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
};

export class RetryBudget {
  readonly #parts: BudgetParts;
  #tokens = RETRY_TOKENS_MAX;
  /** Resolves when the last in line is done. */
  #line: Promise<void> = Promise.resolve();
  #failedProbes = 0;
  #restUntilMs = 0;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
  }

  succeededAtOnce(): void {
    this.#tokens = Math.min(RETRY_TOKENS_MAX, this.#tokens + TOKENS_PER_SUCCESS);
  }

  /** Whether a retry would have to stand in line. */
  get isSpent(): boolean {
    return this.#tokens < 1;
  }

  /** Resolves when a retry may go. Rejects with the signal's reason if that comes first. */
  async admit(signal: AbortSignal): Promise<Pass> {
    if (!this.isSpent) {
      this.#tokens -= 1;
      return { probe: false, end: () => {} };
    }
    const before = this.#line;
    const { done, leave } = turn();
    this.#line = before.then(() => done);
    try {
      await unless(signal, before);
      const restMs = this.#restUntilMs - this.#parts.now();
      if (restMs > 0) await this.#parts.sleep(restMs, signal);
    } catch (error) {
      leave();
      throw error;
    }
    let ended = false;
    return {
      probe: true,
      end: (answered) => {
        if (ended) return;
        ended = true;
        this.#failedProbes = answered ? 0 : this.#failedProbes + 1;
        // Half of it for sure: one probe after the other must not be a way to hammer.
        const random = (1 + this.#parts.random()) / 2;
        this.#restUntilMs = answered
          ? 0
          : this.#parts.now() + backoffMs(this.#failedProbes, random);
        leave();
      },
    };
  }
}

const turn = (): { readonly done: Promise<void>; readonly leave: () => void } => {
  const turns: (() => void)[] = [];
  const done = new Promise<void>((resolve) => turns.push(resolve));
  return { done, leave: () => turns.forEach((resolve) => resolve()) };
};

/** The promise, unless the signal comes first. */
const unless = async (signal: AbortSignal, promise: Promise<void>): Promise<void> => {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => reject(reasonOf(signal));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
};

export const reasonOf = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
