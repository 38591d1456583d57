import { Moment, type Pause } from "./moment.ts";

/** One moment, and who waits for its end. */
type Gathering = { readonly moment: Moment; readonly over: Promise<void>; count: number };

/**
 * A moment in which several things that come one after the other are brought together: whoever waits goes on in the same
 * turn as everybody else who has waited, so that what they write reaches the disk in one transaction. It is comfort only:
 * nothing depends on who came with whom.
 */
export class Gather {
  readonly #longestMs: number;
  readonly #enough: number;
  readonly #pause: Pause | undefined;
  #gathering: Gathering | undefined;

  /** @param enough so many together wait for no more */
  constructor(longestMs: number, enough: number, pause?: Pause) {
    this.#pause = pause;
    this.#longestMs = longestMs;
    this.#enough = enough;
  }

  /** The end of the moment; the first to ask begins one. */
  end(): Promise<void> {
    const gathering = (this.#gathering ??= this.#begin());
    gathering.count += 1;
    if (gathering.count === this.#enough) {
      this.#gathering = undefined;
      gathering.moment.end();
    }
    return gathering.over;
  }

  #begin(): Gathering {
    const moment = new Moment(this.#pause);
    const over = moment.last(this.#longestMs).then(() => {
      if (this.#gathering === gathering) this.#gathering = undefined;
    });
    const gathering = { moment, over, count: 0 };
    return gathering;
  }
}
