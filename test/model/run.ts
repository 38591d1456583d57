/**
 * `npm run model [-- --record]`: the longer search. One line of JSON: states, depth and seconds of all scenarios together, and for
 * each mutant how many steps its counterexample has. A broken promise is printed as a trace, and the exit code is 1.
 */
import { record } from "../../scripts/record.ts";
import { explore } from "./explore.ts";
import { MUTANTS, mutated } from "./mutants.ts";
import { scenarioNamed, SCENARIOS } from "./scenarios.ts";

const STATES_MAX = 20_000_000;

let states = 0;
let depth = 0;
let seconds = 0;
for (const scenario of SCENARIOS) {
  const model = mutated({ ...scenario, faults: scenario.moreFaults });
  const search = explore(model, STATES_MAX);
  states += search.states;
  depth = Math.max(depth, search.depth);
  seconds += search.seconds;
  const { counterexample } = search;
  if (counterexample === undefined) continue;
  console.error(`${scenario.name}: ${counterexample.property}: ${counterexample.what}`);
  counterexample.trace.forEach((line, i) => console.error(`${i + 1}. ${line}`));
  process.exitCode = 1;
}

const mutants: Record<string, number | null> = {};
for (const mutant of MUTANTS) {
  const { counterexample } = explore(mutated(scenarioNamed(mutant.scenario), mutant), STATES_MAX);
  mutants[mutant.name] = counterexample?.trace.length ?? null;
  if (counterexample === undefined) process.exitCode = 1;
}

const figures = { states, depth, seconds: Number(seconds.toFixed(1)), mutants };
console.log(JSON.stringify(figures));
if (process.argv.includes("--record")) record("model", "npm run model", figures);
