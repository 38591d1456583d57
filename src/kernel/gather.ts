/**
 * A moment in which several things that come one after the other are brought together: whoever waits goes on in the same
 * turn as everybody else who has waited, so that what they write reaches the disk in one transaction. It is comfort only:
 * nothing depends on who came with whom.
 */
export class Gather {
  readonly #pause: () => Promise<void>;
  #next: Promise<void> | undefined;

  constructor(pause: () => Promise<void>) {
    this.#pause = pause;
  }

  /** The end of the moment; the first to ask begins one. */
  end(): Promise<void> {
    this.#next ??= this.#pause().finally(() => {
      this.#next = undefined;
    });
    return this.#next;
  }
}
