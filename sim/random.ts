/** Numbers that look random and are the same for the same seed: every run can be repeated. */
export type Random = () => number;

/** Mulberry32. */
export const randomOf = (seed: number): Random => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** Waiting time until something that happens at random, on average after `mean`. */
export const exponential = (random: Random, mean: number): number => -mean * Math.log(1 - random());

/** How long an answer takes: mostly about the median, now and then a few times as long. */
export const latencyMs = (random: Random, median: number): number => {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(0.35 * normal);
};

/** Evenly over the logarithm. */
export const logUniform = (random: Random, low: number, high: number): number =>
  low * (high / low) ** random();
