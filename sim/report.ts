/** The report that is kept: `docs/simulation.md`. Every figure in it is from the run that writes it. */
import { ece } from "./measure.ts";
import { cellOf, type Figures, meanOf, round, type Row } from "./study.ts";
import { WASTE_MAX } from "./tune.ts";
import { WORKLOADS } from "./workloads.ts";

export type Study = {
  readonly figures: Figures;
  readonly rows: readonly Row[];
  readonly ablations: readonly Row[];
  readonly tuningSeeds: readonly number[];
  readonly seeds: readonly number[];
  readonly policiesTried: number;
};

type Goal = {
  readonly name: string;
  readonly figure: keyof Figures;
  readonly wanted: string;
  readonly reached: (value: number) => boolean;
};

const GOALS: readonly Goal[] = [
  {
    name: "mean success over the best tuned fixed policy, points",
    figure: "mean_success_gain_pp",
    wanted: "≥ 2.5",
    reached: (value) => value >= 2.5,
  },
  {
    name: "worst workload against any tuned fixed policy, points",
    figure: "worst_workload_gap_pp",
    wanted: "≥ −0.2",
    reached: (value) => value >= -0.2,
  },
  {
    name: "failed retries per 100 requests",
    figure: "failed_retries_per_100",
    wanted: "≤ 6",
    reached: (value) => value <= 6,
  },
  {
    name: "fewer failed retries than exponential ×5",
    figure: "failed_retries_cut_vs_exponential",
    wanted: "≥ 0.9",
    reached: (value) => value >= 0.9,
  },
  {
    name: "c: success, %",
    figure: "metastable_success",
    wanted: "≥ 99.9",
    reached: (value) => value >= 99.9,
  },
  {
    name: "c: seconds to recover, worst run",
    figure: "metastable_recovery_s",
    wanted: "≤ 5",
    reached: (value) => value <= 5,
  },
  {
    name: "c: peak load, worst run",
    figure: "metastable_peak",
    wanted: "≤ 1.5",
    reached: (value) => value <= 1.5,
  },
  {
    name: "b: peak load, worst run",
    figure: "outage_peak",
    wanted: "≤ 5",
    reached: (value) => value <= 5,
  },
  {
    name: "calibration error, worst of a to g",
    figure: "ece_max",
    wanted: "≤ 0.03",
    reached: (value) => value <= 0.03,
  },
  {
    name: "calibration error, h",
    figure: "ece_low_traffic",
    wanted: "≤ 0.05",
    reached: (value) => value <= 0.05,
  },
  {
    name: "microseconds a decision",
    figure: "decision_us",
    wanted: "≤ 10",
    reached: (value) => value <= 10,
  },
];

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, at) => (at === 0 ? "---" : "---:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");

const names = WORKLOADS.map(({ name }) => name);

const fixedTo = (value: number, digits: number): string => round(value, digits).toFixed(digits);

const perWorkload = (
  rows: readonly Row[],
  figure: "success" | "failedRetries" | "lateS" | "peak",
): string =>
  table(
    ["", ...names, "mean"],
    rows.map((row) => {
      const values = names.map((name) => cellOf(row, name)[figure]);
      const digits = figure === "lateS" ? 0 : 1;
      const middle = values.reduce((sum, value) => sum + value, 0) / values.length;
      return [
        row.name,
        ...values.map((value) => fixedTo(value, digits)),
        figure === "success" || figure === "failedRetries" ? `**${fixedTo(middle, 1)}**` : "",
      ];
    }),
  );

export const report = ({
  figures,
  rows,
  ablations,
  tuningSeeds,
  seeds,
  policiesTried,
}: Study): string => {
  const [advised, ...others] = rows;
  if (advised === undefined) throw new Error("The advisor did not run.");
  const missed = GOALS.filter(({ figure, reached }) => !reached(figures[figure]));
  const worse = others.flatMap((row) =>
    WORKLOADS.filter(
      ({ name }) => cellOf(row, name).success > cellOf(advised, name).success + 0.05,
    ).map(
      ({ name }) =>
        `- ${name}: ${row.name} has ${fixedTo(cellOf(row, name).success - cellOf(advised, name).success, 2)} points more success, with ${fixedTo(cellOf(row, name).failedRetries, 1)} failed retries per 100 against ${fixedTo(cellOf(advised, name).failedRetries, 1)}.`,
    ),
  );
  const slower = others.flatMap((row) =>
    ["b", "f"]
      .filter(
        (name) =>
          cellOf(row, name).success > 90 &&
          cellOf(row, name).lateS < cellOf(advised, name).lateS - 1,
      )
      .map(
        (name) =>
          `- ${name}: ${row.name} takes ${fixedTo(cellOf(row, name).lateS, 0)} s to success where the advisor takes ${fixedTo(cellOf(advised, name).lateS, 0)} s, at ${fixedTo(cellOf(row, name).peak, 1)} times the usual load against ${fixedTo(cellOf(advised, name).peak, 1)}.`,
      ),
  );
  return `# The retry advisor, simulated

Written by \`npm run sim\`; the figures alone are in [sim.json](sim.json). A simulation says what is possible where origins
fail as these do. It does not say what a given network will give: the same advisor reports its own calibration at
\`GET /v1/ops/retry-advice\`.

## What it must reach

${table(
  ["", "wanted", "got", ""],
  GOALS.map(({ name, figure, wanted, reached }) => [
    name,
    wanted,
    String(figures[figure]),
    reached(figures[figure]) ? "reached" : "**not reached**",
  ]),
)}

${missed.length === 0 ? "All of them are reached." : `Not reached: ${missed.map(({ name }) => name).join("; ")}.`}

Every figure counts from the first request of a run, when nothing has been learned yet; "worst run" is over all hold-out
seeds. The gain is over the fixed policy with the highest mean success, whatever it costs the origin.

## Method

- Event by event, in virtual time. Each request has a deadline of 300 to 600 s; a success after it is none. What a request
  meets depends on the seed alone, so every policy is asked the same.
- ${policiesTried} fixed policies (retries, first pause, longest pause, budget, circuit breaker that fails or that holds, which codes) are
  tried on seeds ${tuningSeeds.join(", ")}: a grid, then the neighbours of the best. Two are kept: the one with the highest mean success, and the
  best of those that waste no more than ${WASTE_MAX} retries per 100 requests.
- What fixed policies share, budget and breaker, is shared by all requests at once, which flatters them: real clients have
  one each. The advisor is shared too.
- The AWS modes are the code of \`@smithy/core\`, with its defaults.
- All of it is then run on ${seeds.length} seeds that nothing was tuned on (${seeds[0] ?? ""} to ${seeds.at(-1) ?? ""}). The advisor has the same constants for all workloads; they
  were chosen on other seeds than these.

${table(
  ["workload", "what happens"],
  WORKLOADS.map(({ name, title }) => [name, title]),
)}

## Success, %

${perWorkload(rows, "success")}

![Success by workload](sim-success.svg)

## Failed retries per 100 requests

${perWorkload(rows, "failedRetries")}

## Peak load, worst run

The most attempts of any five seconds, over what arrivals alone make on average. Arrivals bunch by chance: what has no retry
has a peak as well, below which only holding back first tries leads. In h a single request is many times the mean.

${perWorkload(rows, "peak")}

![Load in the overload](sim-overload.svg)

## Seconds to success, of what did not succeed at once

${perWorkload(rows, "lateS")}

## Calibration

Of the retries that were given a probability, how far it was from what came of them (expected calibration error, 20 bins,
all seeds together, from the first retry on). Where few retries are made in a run, most are made before much was learned.

${table(
  ["", ...names],
  [
    ["retries", ...names.map((name) => String(cellOf(advised, name).foretold.length))],
    ["error", ...names.map((name) => fixedTo(ece(cellOf(advised, name).foretold), 3))],
  ],
)}

![What was foretold and what came](sim-calibration.svg)

## What each part is worth

${table(
  [
    "",
    "mean success, %",
    "failed retries per 100",
    "success in c, %",
    "peak in b",
    "worst calibration error",
  ],
  [advised, ...ablations].map((row) => [
    row.name,
    fixedTo(meanOf(row, "success"), 2),
    fixedTo(meanOf(row, "failedRetries"), 2),
    fixedTo(cellOf(row, "c").success, 2),
    fixedTo(cellOf(row, "b").peak, 1),
    fixedTo(Math.max(...names.map((name) => ece(cellOf(row, name).foretold))), 3),
  ]),
)}

Most of the gain over fixed policies comes from knowing that an origin is down, and from how it is returned to; the classes
decide what is worth repeating at all.

## Where it does not win

${[...worse, ...slower].length === 0 ? "Nowhere, in these runs." : [...worse, ...slower].join("\n")}

## To repeat it

\`npm run sim\` (some minutes, on all cores; \`-- --quick\` tries fewer policies and seeds, and writes nothing). The same seeds give
the same figures, but for the time of a decision.
`;
};
