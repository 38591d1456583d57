/** Resolves after so many milliseconds, or rejects once the signal says so. */
export type Pause = (ms: number, signal: AbortSignal) => Promise<void>;

/** The runtime's time, not the engine's: nothing depends on how long a moment is. */
const byRuntime: Pause = (ms, signal) => scheduler.wait(ms, { signal });

/** A pause in which more may come, and which is over as soon as enough has. It is comfort only: nothing depends on it. */
export class Moment {
  readonly #pause: Pause;
  #ending: AbortController | undefined;

  constructor(pause: Pause = byRuntime) {
    this.#pause = pause;
  }

  /** One at a time. @param ms the longest that it lasts */
  async last(ms: number): Promise<void> {
    this.#ending = new AbortController();
    await this.#pause(ms, this.#ending.signal).catch(() => undefined);
    this.#ending = undefined;
  }

  /** Ends the pause, if there is one. */
  end(): void {
    this.#ending?.abort();
  }
}
