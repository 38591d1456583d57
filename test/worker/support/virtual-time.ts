/** Time that passes only when a test says so: the engine's clock and its pauses. */
import type { Clock } from "../../../src/kernel/clock.ts";
import { COMMIT_BUDGET_MS } from "../../../src/kernel/limits.ts";
import { until } from "../../support/faulty-database.ts";

export class VirtualTime {
  #nowMs: number;
  readonly #wakeTimesMs = new Set<{ readonly atMs: number }>();

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  /** An hour ahead of the runtime's clock, so that no alarm goes off by itself while a test looks, however long it takes. */
  static ahead(): VirtualTime {
    return new VirtualTime(Date.now() + 3_600_000);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  readonly clock: Clock = () => this.#nowMs;

  readonly pause = async (ms: number): Promise<void> => {
    const wake = { atMs: this.#nowMs + ms };
    this.#wakeTimesMs.add(wake);
    await until(() => this.#nowMs >= wake.atMs);
    this.#wakeTimesMs.delete(wake);
  };

  advance(ms: number): void {
    this.#nowMs += ms;
  }

  /** Sets the clock, also back. */
  setTo(ms: number): void {
    this.#nowMs = ms;
  }

  /**
   * Lets one pause after the other pass until the work is done. A pause longer than a request may last is not its
   * own, and goes on.
   */
  async passing<Value>(work: Promise<Value>): Promise<Value> {
    let settled = false;
    const observed = work.finally(() => {
      settled = true;
    });
    observed.catch(() => undefined);
    await until(() => {
      const next = Math.min(...[...this.#wakeTimesMs].map(({ atMs }) => atMs));
      if (next <= this.#nowMs + COMMIT_BUDGET_MS) this.#nowMs = Math.max(this.#nowMs, next);
      return settled;
    });
    return observed;
  }

  /** Nobody is left waiting when the test is over. */
  end(): void {
    this.#nowMs = Number.MAX_SAFE_INTEGER;
  }
}
