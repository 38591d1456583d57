/**
 * Policies that learn nothing: backoff with full jitter, a budget, a circuit breaker. What they share (budget and
 * breaker) is shared by all requests at once, which flatters them: real clients each have their own.
 */
import type { Failure } from "../../src/advisor/failure.ts";
import type { Random } from "../random.ts";
import type { Call, MakePolicy, World } from "../world.ts";

export type Fixed = {
  readonly retries: number;
  readonly baseMs: number;
  readonly capMs: number;
  /** Retries that one success allows; undefined: as many as wanted. */
  readonly budget?: number | undefined;
  /** What happens to who meets an open breaker: it fails at once, or waits until the breaker lets one try. */
  readonly breaker?: "fails" | "holds" | undefined;
  readonly openMs?: number | undefined;
  /** Which failures are retried: those that are usually, or all. */
  readonly codes: "usual" | "all";
};

export const nameOf = ({ retries, baseMs, capMs, budget, breaker, openMs, codes }: Fixed): string =>
  [
    `×${retries}`,
    `${baseMs / 1_000}–${capMs / 1_000} s`,
    ...(budget === undefined ? [] : [`budget ${budget}`]),
    ...(breaker === undefined ? [] : [`breaker ${breaker} ${(openMs ?? 0) / 1_000} s`]),
    codes === "all" ? "all codes" : "usual codes",
  ].join(", ");

const USUAL = new Set([0, 408, 425, 429, 500, 502, 503, 504]);
const BUDGET_MAX = 100;
const WINDOW = 20;
const OPENS_AT = 0.5;

class Breaker {
  readonly #openMs: number;
  readonly #last: boolean[] = [];
  #openUntilMs = 0;
  #isOpen = false;
  #probing = false;

  constructor(openMs: number) {
    this.#openMs = openMs;
  }

  /** Milliseconds to wait; 0: go. */
  ask(nowMs: number): number {
    if (!this.#isOpen) return 0;
    if (nowMs < this.#openUntilMs) return this.#openUntilMs - nowMs;
    if (this.#probing) return 1_000;
    this.#probing = true;
    return 0;
  }

  tell(failure: Failure | undefined, nowMs: number): void {
    const failed = failure !== undefined && (failure.status === 0 || failure.status >= 500);
    if (this.#isOpen) {
      this.#probing = false;
      if (failed) this.#openUntilMs = nowMs + this.#openMs;
      else this.#isOpen = false;
      this.#last.length = 0;
      return;
    }
    this.#last.push(failed);
    if (this.#last.length > WINDOW) this.#last.shift();
    const failures = this.#last.filter(Boolean).length;
    if (this.#last.length >= WINDOW / 2 && failures / this.#last.length >= OPENS_AT) {
      this.#isOpen = true;
      this.#openUntilMs = nowMs + this.#openMs;
    }
  }
}

export const fixed =
  ({ retries, baseMs, capMs, budget, breaker, openMs = 10_000, codes }: Fixed): MakePolicy =>
  (random: Random) => {
    let tokens = BUDGET_MAX;
    const fuse = breaker === undefined ? undefined : new Breaker(openMs);

    const backOff = (call: Call, world: World, tries: number): void => {
      const allowed = budget === undefined || tokens >= 1;
      const waitMs = random() * Math.min(capMs, baseMs * 2 ** tries);
      if (tries >= retries || !allowed || world.nowMs + waitMs > call.deadlineMs) {
        world.finish(call, false);
        return;
      }
      tokens -= 1;
      world.events.after(waitMs, () => attempt(call, world, tries + 1));
    };

    const attempt = (call: Call, world: World, tries: number): void => {
      const waitMs = fuse?.ask(world.nowMs) ?? 0;
      if (waitMs > 0) {
        if (breaker === "fails") backOff(call, world, tries);
        else if (world.nowMs + waitMs > call.deadlineMs) world.finish(call, false);
        else {
          // Those who wait do not all come back at the moment at which it opens.
          world.events.after(waitMs + random() * openMs, () => attempt(call, world, tries));
        }
        return;
      }
      world.send(call, ({ failure }) => {
        fuse?.tell(failure, world.nowMs);
        if (failure === undefined) {
          tokens = Math.min(BUDGET_MAX, tokens + (budget ?? 0));
          world.finish(call, true);
        } else if (codes === "all" || USUAL.has(failure.status)) {
          backOff(call, world, tries);
        } else {
          world.finish(call, false);
        }
      });
    };
    return { begin: (call, world) => attempt(call, world, 0) };
  };

/** What was tried to find the best of them. */
export const GRID: readonly Fixed[] = [3, 9].flatMap((retries) =>
  [200, 2_000].flatMap((baseMs) =>
    [20_000, 120_000].flatMap((capMs) =>
      [undefined, 0.1, 0.5].flatMap((budget) =>
        ([undefined, "fails", "holds"] as const).flatMap((breaker) =>
          (["usual", "all"] as const).map((codes): Fixed => ({
            retries,
            baseMs,
            capMs,
            budget,
            breaker,
            openMs: 10_000,
            codes,
          })),
        ),
      ),
    ),
  ),
);

/** What differs in one thing from it. */
export const neighboursOf = (best: Fixed): readonly Fixed[] => [
  ...[1, 2, 5, 7, 14].map((retries) => ({ ...best, retries })),
  ...[100, 500, 1_000, 5_000, 10_000].map((baseMs) => ({ ...best, baseMs })),
  ...[5_000, 40_000, 80_000, 200_000].map((capMs) => ({ ...best, capMs })),
  ...[0.05, 0.2, 0.3, 1].map((budget) => ({ ...best, budget })),
  ...[2_000, 5_000, 20_000, 40_000].map((openMs) => ({ ...best, openMs })),
];
