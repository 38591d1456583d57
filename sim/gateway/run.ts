/**
 * `npm run sim:gateway [-- --seeds 1,2 --seconds 90]`: the experiment of `experiment.ts` on several seeds at once, in less
 * than three minutes; prints what came of it, and writes it to docs/sim.json and docs/simulation.md.
 */
import { parseArgs } from "node:util";
import { main } from "../../scripts/tool.ts";
import { runExperiments } from "./experiment.ts";
import { troublesOf } from "./faults.ts";
import { figuresOf, keep, per100, successOf, type Sums, summed, type Way } from "./figures.ts";
import { PATIENCE_MS, PER_SECOND, sectionOf, WAYS } from "./section.ts";

await main(async () => {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "1,2,3" },
      seconds: { type: "string", default: "90" },
      dry: { type: "boolean", default: false },
    },
  });
  const seeds = values.seeds.split(",").map(Number);
  const spanMs = Number(values.seconds) * 1_000;
  const experiments = seeds.map((seed) => ({
    seed,
    spans: troublesOf(seed, spanMs),
    spanMs,
    perSecond: PER_SECOND,
    patienceMs: PATIENCE_MS,
  }));
  const results = await runExperiments(
    experiments,
    WAYS.map(({ makeClient }) => makeClient),
    (secondsLeft) => process.stderr.write(`at most ${secondsLeft} s left\n`),
  );
  for (const [at, seed] of seeds.entries()) {
    for (const [i, { title }] of WAYS.entries()) {
      const result = results[at]?.[i];
      if (result === undefined) continue;
      console.log(
        `seed ${seed}  ${title.padEnd(28)} success ${successOf(result).toFixed(1).padStart(5)} %  failed retries per 100 ${per100(result.failedRetries, result).toFixed(1).padStart(6)}  failed calls of the API per 100 ${per100(result.upstreamFailed, result).toFixed(1).padStart(6)}  carried out ${result.effects} of ${result.requests}`,
      );
    }
  }
  const sums = Object.fromEntries(
    WAYS.map(({ way }, i) => [way, summed(results.flatMap((of) => of[i] ?? []))]),
  ) as Record<Way, Sums[Way]>;
  console.log(JSON.stringify(figuresOf(sums), null, 2));
  if (!values.dry) keep(sums, sectionOf(sums, seeds, Number(values.seconds)));
});
