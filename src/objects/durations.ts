/** How long each operation took lately, for an honest `Retry-After`. */
import { DURATIONS_KEPT } from "../kernel/limits.ts";

/** Said when nothing has been measured yet. */
const DEFAULT_MS = 1_000;

export class Durations {
  readonly #recent = new Map<string, number[]>();

  record(operation: string, ms: number): void {
    const recent = this.#recent.get(operation) ?? [];
    recent.push(ms);
    if (recent.length > DURATIONS_KEPT) recent.shift();
    this.#recent.set(operation, recent);
  }

  /** Median time that runs which took longer than `elapsedMs` went on for. */
  remainingMs(operation: string, elapsedMs: number): number {
    const longer = (this.#recent.get(operation) ?? [])
      .filter((ms) => ms > elapsedMs)
      .toSorted((a, b) => a - b);
    const median = longer[Math.floor(longer.length / 2)];
    if (median !== undefined) return median - elapsedMs;
    // Longer than anything seen, or nothing seen: wait as long again.
    return Math.max(DEFAULT_MS, elapsedMs);
  }
}
