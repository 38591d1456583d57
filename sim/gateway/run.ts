/**
 * `npm run sim:gateway [-- --seeds 1,2 --seconds 90]`: the experiment of `experiment.ts` on several seeds at once, in less
 * than three minutes; prints what came of it, and writes it to docs/sim.json and docs/simulation.md.
 */
import { parseArgs } from "node:util";
import { main } from "../../scripts/tool.ts";
import { exponential, type MakeClient, obedient, withSdk } from "./clients.ts";
import { runExperiments } from "./experiment.ts";
import { troublesOf } from "./faults.ts";
import {
  cutOf,
  figuresOf,
  keep,
  per100,
  successOf,
  type Sums,
  summed,
  type Way,
} from "./figures.ts";

const WAYS: readonly {
  readonly way: Way;
  readonly title: string;
  readonly makeClient: MakeClient;
}[] = [
  { way: "exponential", title: "exponential ×5, full jitter", makeClient: exponential },
  { way: "learned", title: "obeys `Retry-After`", makeClient: obedient },
  { way: "sdk", title: "the client SDK", makeClient: withSdk },
];

const PER_SECOND = 6;
const PATIENCE_MS = 60_000;

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

const sectionOf = (sums: Sums, seeds: readonly number[], seconds: number): string => {
  const { exponential: blind, learned } = sums;
  const rows = WAYS.map(({ way, title }) => {
    const result = sums[way];
    const cells = [
      title,
      successOf(result).toFixed(1),
      per100(result.failedRetries, result).toFixed(1),
      way === "exponential" ? "" : `${(100 * cutOf(blind, result)).toFixed(0)} %`,
      per100(result.upstreamFailed, result).toFixed(1),
      `${result.effects} of ${result.requests}`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  const reached = cutOf(blind, learned) >= 0.7 && successOf(learned) >= successOf(blind);
  return `## The same behind the real gateway

Written by \`npm run sim:gateway\`. No model of an API and no virtual time: the gateway as it is deployed, in workerd, in front of
an API that fails by seed, with time scaled down. Trouble lasts 3 to 12 s instead of minutes: 503, reset connections, answers
that come too late, 429 beyond a few a second; 2 in 100 calls fail beside. ${PER_SECOND} requests a second arrive for ${seconds} s, each with
${PATIENCE_MS / 1_000} s of patience, on seeds ${seeds.join(", ")}. Each way of retrying has a gateway of its own that begins knowing nothing, at the same
time and under the same troubles.

| | success, % | failed retries per 100 | fewer | failed calls of the API per 100 | carried out |
| --- | ---: | ---: | ---: | ---: | ---: |
${rows.join("\n")}

Wanted: 70 % fewer failed retries at no lower success, of clients that obey over those that do not. ${reached ? "Reached." : "**Not reached.**"}

Constants of the gateway and of the advisor are not scaled: what is believed of outages, until some were seen, is of minutes. Those of the
exponential clients are not either, which flatters them: at a tenth of its pauses, as the troubles are a tenth, each would have
given up within a second. All of them have the gateway's own healing and its circuit, which is why the API is called no more
often for those who are impatient, and why more is carried out than their clients ever hear of.

`;
};
