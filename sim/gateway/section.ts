/** The ways that are compared, and what is told of them in docs/simulation.md. */
import { exponential, type MakeClient, obedient, withSdk } from "./clients.ts";
import { cutOf, per100, successOf, type Sums, type Way } from "./figures.ts";

export const WAYS: readonly {
  readonly way: Way;
  readonly title: string;
  readonly makeClient: MakeClient;
}[] = [
  { way: "exponential", title: "exponential ×5, full jitter", makeClient: exponential },
  { way: "learned", title: "obeys `Retry-After`", makeClient: obedient },
  { way: "sdk", title: "the client SDK", makeClient: withSdk },
];

export const PER_SECOND = 6;
export const PATIENCE_MS = 60_000;

export const sectionOf = (sums: Sums, seeds: readonly number[], seconds: number): string => {
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
given up within a second. All of them have the gateway's own healing and its circuit, which is why the API is hardly called more
often for those who are impatient, and why more is carried out than their clients ever hear of. So the gain is that of obeying; what the
learning alone is worth, the simulation above tells apart. The order of events is not fixed by the seed here: figures
differ by a few points from run to run.

`;
};
