/** Finds the best fixed policies on seeds that are used for nothing else. */
import { mean, measure } from "./measure.ts";
import { type Fixed, fixed, nameOf, neighboursOf } from "./policies/fixed.ts";
import { WORKLOADS } from "./workloads.ts";
import { run } from "./world.ts";

export type Tried = {
  readonly policy: Fixed;
  readonly success: number;
  readonly failedRetries: number;
};

export type Tuned = {
  /** The highest mean success among those with an acceptable load. */
  readonly best: Tried;
  /** The highest mean success, whatever it costs the origin. */
  readonly greediest: Tried;
  readonly tried: number;
};

/** Twice what the advisor may waste and more; exponential backoff with five retries wastes ten times this. */
export const WASTE_MAX = 15;

export const tune = async (
  seeds: readonly number[],
  grid: readonly Fixed[],
  progress: (text: string) => void,
): Promise<Tuned> => {
  const known = new Map<string, Tried>();
  const tryAll = async (policies: readonly Fixed[]): Promise<void> => {
    for (const policy of policies) {
      const name = nameOf(policy);
      if (!known.has(name)) known.set(name, await tryOne(policy, seeds));
      progress(`tuning fixed policies: ${known.size}`);
    }
  };
  const pick = (wasteMax: number): Tried => {
    const [first] = [...known.values()]
      .filter(({ failedRetries }) => failedRetries <= wasteMax)
      .toSorted((a, b) => b.success - a.success);
    if (first === undefined) throw new Error("No fixed policy keeps to the load.");
    return first;
  };
  await tryAll(grid);
  await tryAll(neighboursOf(pick(WASTE_MAX).policy));
  await tryAll(neighboursOf(pick(WASTE_MAX).policy));
  await tryAll(neighboursOf(pick(Number.POSITIVE_INFINITY).policy));
  return {
    best: pick(WASTE_MAX),
    greediest: pick(Number.POSITIVE_INFINITY),
    tried: known.size,
  };
};

const tryOne = async (policy: Fixed, seeds: readonly number[]): Promise<Tried> => {
  const successes: number[] = [];
  const wasted: number[] = [];
  for (const workload of WORKLOADS) {
    for (const seed of seeds) {
      const { success, failedRetries } = measure(await run(workload, fixed(policy), seed));
      successes.push(success);
      wasted.push(failedRetries);
    }
  }
  return { policy, success: mean(successes), failedRetries: mean(wasted) };
};
