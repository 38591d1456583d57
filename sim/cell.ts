/** One contender on one workload, over some seeds: what a run of the simulation is made of, each apart from the others. */
import { mean, measure, type Measures } from "./measure.ts";
import { type Contender, policyOf } from "./policies/contender.ts";
import { WORKLOADS } from "./workloads.ts";
import { type Foretold, type Outcome, run } from "./world.ts";

export type Task = {
  readonly contender: Contender;
  /** Its name. */
  readonly workload: string;
  readonly seeds: readonly number[];
};

/** Means over the seeds; of peaks and of recovery the worst. */
export type Cell = Measures & {
  readonly foretold: readonly Foretold[];
  /** The first seed's run, for the charts. */
  readonly shown: Outcome;
};

export const runCell = async ({ contender, workload: name, seeds }: Task): Promise<Cell> => {
  const workload = WORKLOADS.find((one) => one.name === name);
  if (workload === undefined) throw new Error(`There is no workload ${name}.`);
  const policy = policyOf(contender);
  const outcomes: Outcome[] = [];
  for (const seed of seeds) outcomes.push(await run(workload, policy, seed));
  const [shown] = outcomes;
  if (shown === undefined) throw new Error("There are no seeds.");
  const all = outcomes.map(measure);
  return {
    success: mean(all.map(({ success }) => success)),
    failedRetries: mean(all.map(({ failedRetries }) => failedRetries)),
    lateS: mean(all.map(({ lateS }) => lateS)),
    peak: Math.max(...all.map(({ peak }) => peak)),
    recoveryS: Math.max(...all.map(({ recoveryS }) => recoveryS)),
    foretold: outcomes.flatMap(({ foretold }) => foretold),
    shown,
  };
};
