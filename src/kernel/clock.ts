/** Reads the current time, in milliseconds since the Unix epoch. Passed in, so that tests own time. */
export type Clock = () => number;

/** The runtime's clock. In a Worker it stands still between I/O, which is harmless: it only decides when. */
export const systemClock: Clock = () => Date.now();

/** Whole seconds since the epoch. Expiry is a whole second, so that every layer compares the same number. */
export const wholeSeconds = (ms: number): number => Math.floor(ms / 1000);
