/** Every policy on every workload, on hold-out seeds; the figures that the report and `docs/sim.json` are made of. */
import { type Advice, advise } from "../src/advisor/advice.ts";
import { newGroup } from "../src/advisor/group.ts";
import { observe } from "../src/advisor/observation.ts";
import type { Cell } from "./cell.ts";
import type { RunCell } from "./cells.ts";
import { ece, mean } from "./measure.ts";
import type { Contender } from "./policies/contender.ts";
import { randomOf } from "./random.ts";
import { WORKLOADS } from "./workloads.ts";

export type Entrant = { readonly name: string; readonly contender: Contender };

export type Row = { readonly name: string; readonly cells: ReadonlyMap<string, Cell> };

export const study = async (
  entrants: readonly Entrant[],
  seeds: readonly number[],
  runCell: RunCell,
  progress: (text: string) => void,
): Promise<Row[]> =>
  Promise.all(
    entrants.map(async ({ name, contender }) => {
      const cells = await Promise.all(
        WORKLOADS.map(async ({ name: workload }) => {
          const cell = await runCell({ contender, workload, seeds });
          progress(`${name}: ${workload}`);
          return [workload, cell] as const;
        }),
      );
      return { name, cells: new Map(cells) };
    }),
  );

export const cellOf = ({ cells, name }: Row, workload: string): Cell => {
  const cell = cells.get(workload);
  if (cell === undefined) throw new Error(`${name} has not run ${workload}.`);
  return cell;
};

export const meanOf = ({ cells }: Row, figure: "success" | "failedRetries"): number =>
  mean([...cells.values()].map((cell) => cell[figure]));

export type Figures = {
  readonly mean_success_gain_pp: number;
  readonly worst_workload_gap_pp: number;
  readonly failed_retries_per_100: number;
  readonly failed_retries_cut_vs_exponential: number;
  readonly metastable_success: number;
  readonly metastable_recovery_s: number;
  readonly metastable_peak: number;
  readonly outage_peak: number;
  readonly ece_max: number;
  readonly ece_low_traffic: number;
  readonly decision_us: number;
};

/** @param fixed the tuned policies; on each figure the strongest of them is the one to beat */
export const figuresOf = (
  advised: Row,
  exponential: Row,
  fixed: readonly Row[],
  decisionUs: number,
): Figures => {
  const bestMean = Math.max(...fixed.map((row) => meanOf(row, "success")));
  const gaps = fixed.flatMap((row) =>
    WORKLOADS.map(({ name }) => cellOf(advised, name).success - cellOf(row, name).success),
  );
  const wasted = meanOf(advised, "failedRetries");
  const overload = cellOf(advised, "c");
  const busy = WORKLOADS.filter(({ name }) => name !== "h");
  return {
    mean_success_gain_pp: round(meanOf(advised, "success") - bestMean, 2),
    worst_workload_gap_pp: round(Math.min(...gaps), 2),
    failed_retries_per_100: round(wasted, 2),
    failed_retries_cut_vs_exponential: round(1 - wasted / meanOf(exponential, "failedRetries"), 3),
    metastable_success: round(overload.success, 2),
    metastable_recovery_s: overload.recoveryS,
    metastable_peak: round(overload.peak, 2),
    outage_peak: round(cellOf(advised, "b").peak, 2),
    ece_max: round(Math.max(...busy.map(({ name }) => ece(cellOf(advised, name).foretold))), 3),
    ece_low_traffic: round(ece(cellOf(advised, "h").foretold), 3),
    decision_us: round(decisionUs, 2),
  };
};

export const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Microseconds of one decision, the best of some rounds: what else the machine does is not counted. */
export const decisionUs = (): number => {
  const random = randomOf(1);
  const group = newGroup(0);
  const kinds = [503, 500, 502, 429, 409, 404].map((status) => ({ status, code: "code" }));
  for (let at = 0; at < 5_000; at++) {
    const failure = kinds[at % kinds.length];
    observe(group, {
      atMs: at * 100,
      durationMs: 50,
      failure: at % 5 === 0 ? failure : undefined,
      before:
        failure === undefined || at % 2 === 0
          ? undefined
          : { failure, ageMs: 0, toAgeMs: 100 + (at % 7) * 900 },
    });
  }
  const decide = (at: number): Advice => {
    const failure = kinds[at % kinds.length] ?? { status: 503, code: "" };
    return advise(group, { failure, retries: at % 3, ageMs: (at % 9) * 1_000 }, 500_000, random);
  };
  let best = Number.POSITIVE_INFINITY;
  const calls = 1_000;
  for (let pass = 0; pass < 200; pass++) {
    const startedMs = performance.now();
    for (let at = 0; at < calls; at++) decide(at);
    best = Math.min(best, ((performance.now() - startedMs) * 1_000) / calls);
  }
  return best;
};
