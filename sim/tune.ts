/** Finds the best fixed policies on seeds that are used for nothing else. */
import type { RunCell } from "./cells.ts";
import { mean } from "./measure.ts";
import { type Fixed, nameOf, neighboursOf } from "./policies/fixed.ts";
import { WORKLOADS } from "./workloads.ts";

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
  runCell: RunCell,
  progress: (text: string) => void,
): Promise<Tuned> => {
  const known = new Map<string, Tried>();
  const tryAll = async (policies: readonly Fixed[]): Promise<void> => {
    const fresh = policies.filter((policy) => !known.has(nameOf(policy)));
    let done = known.size;
    const tried = await Promise.all(
      fresh.map(async (policy) => {
        const one = await tryOne(policy, seeds, runCell);
        progress(`tuning fixed policies: ${++done}`);
        return one;
      }),
    );
    // In the order of the list, whichever was ready first: of equals the first is taken.
    for (const one of tried) known.set(nameOf(one.policy), one);
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

const tryOne = async (
  policy: Fixed,
  seeds: readonly number[],
  runCell: RunCell,
): Promise<Tried> => {
  const contender = { kind: "fixed", policy } as const;
  const cells = await Promise.all(
    WORKLOADS.map(({ name }) => runCell({ contender, workload: name, seeds })),
  );
  return {
    policy,
    success: mean(cells.map(({ success }) => success)),
    failedRetries: mean(cells.map(({ failedRetries }) => failedRetries)),
  };
};
