/**
 * Time-ordered ids: `pay_` + 48 bits of milliseconds + 80 random bits, in Crockford base 32 (the ULID
 * layout). Lower case, so that they sort the same in SQL, in URLs and by eye.
 */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** Fills an array with random bytes, like `crypto.getRandomValues`. */
export type Randomness = (bytes: Uint8Array) => void;

export const systemRandomness: Randomness = (bytes) => {
  crypto.getRandomValues(bytes);
};

/** 26 characters; ids of a later millisecond sort after. */
export const timeOrderedId = (nowMs: number, randomness: Randomness): string => {
  const bytes = new Uint8Array(16);
  randomness(bytes);
  let time = "";
  let rest = nowMs;
  for (let i = 0; i < 10; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let random = "";
  for (const byte of bytes) random += ALPHABET.charAt(byte & 31);
  return time + random;
};

/**
 * The ids of one request. They are minted once and given out again, in the same order, to every plan of
 * that request: a plan made anew names the same things.
 */
export class IdSource {
  readonly #mint: () => string;
  readonly #minted: string[] = [];
  #next = 0;

  constructor(mint: () => string) {
    this.#mint = mint;
  }

  /** The next id, as `prefix_…`. */
  next(prefix: string): string {
    const id = this.#minted[this.#next] ?? this.#mint();
    this.#minted[this.#next] = id;
    this.#next += 1;
    return `${prefix}_${id}`;
  }

  /** Before another plan of the same request. */
  rewind(): void {
    this.#next = 0;
  }
}
