/** `npm run sim [-- --quick]`: tunes, runs, prints, and writes docs/sim.json, docs/simulation.md and its charts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { main, root } from "../scripts/tool.ts";
import { barChart, calibrationChart, loadChart } from "./charts.ts";
import { withCells } from "./cells.ts";
import { withGatewayFigures, withGatewaySection } from "./gateway/figures.ts";
import type { Without } from "./policies/advised.ts";
import type { Contender } from "./policies/contender.ts";
import { type Fixed, GRID, nameOf } from "./policies/fixed.ts";
import { report } from "./report.ts";
import { cellOf, decisionUs, figuresOf, meanOf, type Row, study } from "./study.ts";
import { tune } from "./tune.ts";
import { WORKLOADS } from "./workloads.ts";

const EXPONENTIAL: Fixed = { retries: 5, baseMs: 200, capMs: 20_000, codes: "usual" };
const NO_RETRY: Fixed = { ...EXPONENTIAL, retries: 0 };
const WITH_BREAKER: Fixed = { ...EXPONENTIAL, breaker: "fails", openMs: 10_000 };
const WITHOUT: readonly Without[] = ["health", "admission", "tokens", "calibration", "classes"];

const TUNING_SEEDS = [101, 102, 103];
const SEEDS = Array.from({ length: 20 }, (_, at) => 1001 + at);

const fixed = (policy: Fixed): Contender => ({ kind: "fixed", policy });
const advised = (...without: readonly Without[]): Contender => ({ kind: "advised", without });

await main(async () => {
  const { values } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
  const grid = values.quick ? GRID.filter((_, at) => at % 12 === 0) : GRID;
  const tuningSeeds = values.quick ? TUNING_SEEDS.slice(0, 1) : TUNING_SEEDS;
  // A look in between spoils no hold-out seed.
  const seeds = values.quick ? tuningSeeds : SEEDS;

  const { tuned, rows, ablations } = await withCells(async (runCell) => {
    const best = await tune(tuningSeeds, grid, runCell, progress);
    const frugal = best.best.policy;
    const greedy = best.greediest.policy;
    return {
      tuned: best,
      rows: await study(
        [
          { name: "advisor", contender: advised() },
          { name: "no retry", contender: fixed(NO_RETRY) },
          { name: "exponential ×5, full jitter", contender: fixed(EXPONENTIAL) },
          { name: "the same with a breaker", contender: fixed(WITH_BREAKER) },
          { name: "AWS standard", contender: { kind: "aws", mode: "standard" } },
          { name: "AWS adaptive", contender: { kind: "aws", mode: "adaptive" } },
          { name: `fixed, frugal (${nameOf(frugal)})`, contender: fixed(frugal) },
          { name: `fixed, most success (${nameOf(greedy)})`, contender: fixed(greedy) },
        ],
        seeds,
        runCell,
        progress,
      ),
      ablations: await study(
        WITHOUT.map((part) => ({ name: `without ${part}`, contender: advised(part) })),
        seeds,
        runCell,
        progress,
      ),
    };
  });
  const took = decisionUs();
  const [advisor, , exponential, , , , frugal, greedy] = rows;
  if (!advisor || !exponential || !frugal || !greedy) throw new Error("A contender is missing.");
  const figures = figuresOf(advisor, exponential, [frugal, greedy], took);
  process.stderr.write("\n");
  for (const row of [...rows, ...ablations]) console.log(line(row));
  console.log(JSON.stringify(figures, null, 2));
  if (values.quick) return;

  write("sim.json", `${JSON.stringify(withGatewayFigures(figures), null, 2)}\n`);
  write(
    "simulation.md",
    withGatewaySection(
      report({ figures, rows, ablations, tuningSeeds, seeds, policiesTried: tuned.tried }),
    ),
  );
  const names = WORKLOADS.map(({ name }) => name);
  write(
    "sim-success.svg",
    barChart(
      "Success, %, by workload",
      names,
      [advisor, frugal, greedy, exponential].map((row, at) => ({
        name: ["advisor", "fixed, frugal", "fixed, most success", "exponential ×5"][at] ?? "",
        values: names.map((name) => cellOf(row, name).success),
      })),
    ),
  );
  write(
    "sim-overload.svg",
    loadChart("Attempts a second over arrivals, in c", [
      { name: "advisor", outcome: cellOf(advisor, "c").shown },
      { name: "fixed, frugal", outcome: cellOf(frugal, "c").shown },
      { name: "exponential ×5", outcome: cellOf(exponential, "c").shown },
    ]),
  );
  write(
    "sim-calibration.svg",
    calibrationChart(
      "Foretold, and what came of it",
      ["a", "b", "d", "h"].map((name) => ({ name, foretold: cellOf(advisor, name).foretold })),
    ),
  );
});

function write(name: string, content: string): void {
  writeFileSync(join(root, "docs", name), content);
}

function progress(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r${text.padEnd(100)}` : `${text}\n`);
}

function line(row: Row): string {
  const each = WORKLOADS.map(({ name }) => cellOf(row, name).success.toFixed(1).padStart(5));
  return `${row.name.padEnd(72)} ${each.join(" ")}  mean ${meanOf(row, "success").toFixed(2)} %  failed ${meanOf(row, "failedRetries").toFixed(1)}`;
}
