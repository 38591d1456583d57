/**
 * What may be said of a key that no table has. Absence is not evidence: a batch that an earlier life of this object
 * sent, or one that got no answer, may still commit.
 */
import type { Clock } from "../kernel/clock.ts";
import { BATCH_LIFE_MS } from "../kernel/limits.ts";
import type { KeyStatus } from "./key-call.ts";
import { freeFromMs } from "./run-decision.ts";

export type AbsencesSetup = {
  readonly clock: Clock;
  readonly pause: (ms: number) => Promise<void>;
  readonly keepAlive: (work: Promise<unknown>) => void;
};

export class Absences {
  readonly #setup: AbsencesSetup;
  readonly #startedAtMs: number;
  /** Until when a batch that got no answer may still commit, by key. */
  readonly #unansweredUntilMs = new Map<string, number>();
  #vigil: Promise<void> | undefined;

  constructor(setup: AbsencesSetup) {
    this.#setup = setup;
    this.#startedAtMs = setup.clock();
  }

  /** A send of the key got no answer: the key is not called free while it may still land. */
  unanswered(key: string): void {
    const now = this.#setup.clock();
    for (const [other, untilMs] of this.#unansweredUntilMs) {
      if (untilMs <= now) this.#unansweredUntilMs.delete(other);
    }
    this.#unansweredUntilMs.set(key, now + BATCH_LIFE_MS);
  }

  /**
   * Until the key is free the object stays, to be able to say that it is.
   * @param askedAtMs before the journal was read: what committed between the read and now was not seen
   */
  of(key: string, askedAtMs: number): KeyStatus {
    const untilMs = freeFromMs(this.#startedAtMs, this.#unansweredUntilMs.get(key));
    const afterMs = untilMs - askedAtMs;
    if (afterMs <= 0) return { state: "free" };
    this.#vigil ??= this.#setup.pause(afterMs + VIGIL_GRACE_MS).finally(() => {
      this.#vigil = undefined;
    });
    this.#setup.keepAlive(this.#vigil);
    return { state: "unknown-yet", afterMs };
  }
}

/** So that a client that comes back exactly when told still finds the same object. */
const VIGIL_GRACE_MS = 5_000;
