/**
 * `--only console`: how long the console's pages take to their first byte with 10,000 requests in the lists, one at a time,
 * on the Worker as it is deployed. Milliseconds, and so of this machine: shown, and not kept.
 */
import { type Console, openConsole } from "../test/support/console.ts";
import { fillRequests, LIST_PAGES } from "../test/support/console-many.ts";
import { startServer } from "../test/support/server.ts";
import { median } from "./load.ts";

const REQUESTS = 10_000;
/** Of each page and round. */
const ASKED = 10;

type Seen = { readonly firstByteMs: number; readonly bytes: number };

const load = async (origin: string, { cookie }: Console, path: string): Promise<Seen> => {
  const startedAt = performance.now();
  const response = await fetch(origin + path, { headers: { Cookie: cookie } });
  if (response.body === null) throw new Error(`${path} was answered without a page`);
  let firstByteMs: number | undefined;
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    firstByteMs ??= performance.now() - startedAt;
    bytes += chunk.byteLength;
  }
  if (response.status !== 200) throw new Error(`${path} was answered ${response.status}`);
  return { firstByteMs: firstByteMs ?? performance.now() - startedAt, bytes };
};

const percentile95 = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1] ?? 0;

export const benchConsole = async ({ rounds }: { readonly rounds: number }): Promise<void> => {
  const server = await startServer({ newKeysPerMinute: "unlimited" });
  const seen = new Map<string, Seen[]>(LIST_PAGES.map((path) => [path, []]));
  try {
    await fillRequests(server, REQUESTS);
    const operator = await openConsole(server, { scope: "ops:read ops:support ops:act" });
    // A first round warms up, and is not counted; in each the pages take turns.
    for (let round = -1; round < rounds; round++) {
      for (let i = 0; i < ASKED; i++) {
        for (const [path, kept] of seen) {
          const one = await load(server.origin, operator, path);
          if (round >= 0) kept.push(one);
        }
      }
      process.stderr.write(`console: round ${round + 1} of ${rounds}\n`);
    }
  } finally {
    await server.stop();
  }
  console.log(`\nconsole, ${REQUESTS} requests, first byte\nmedian ms   p95 ms     KB   page`);
  for (const [path, all] of seen) {
    const times = all.map(({ firstByteMs }) => firstByteMs);
    console.log(
      [
        median(times).toFixed(1).padStart(9),
        percentile95(times).toFixed(1).padStart(8),
        (median(all.map(({ bytes }) => bytes)) / 1_000).toFixed(0).padStart(6),
        `  ${path}`,
      ].join(" "),
    );
  }
};
