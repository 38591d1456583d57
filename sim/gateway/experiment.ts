/**
 * Clients that retry, the real gateway in workerd, and an API behind it that fails by seed. Each way of retrying has a
 * gateway, a database and an API of its own, all at the same time and under the same troubles: what differs is what the
 * clients do, and what the gateway learns from it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "../../test/support/build.ts";
import { startServers } from "../../test/support/server.ts";
import { randomOf } from "../random.ts";
import type { Ended, MakeClient } from "./clients.ts";
import { arrivalsOf, type Span } from "./faults.ts";
import { type FaultyUpstream, startFaultyUpstream } from "./upstream.ts";

export type Experiment = {
  readonly seed: number;
  readonly spans: readonly Span[];
  /** For how long requests arrive, how many a second, and how long each is given, milliseconds. */
  readonly spanMs: number;
  readonly perSecond: number;
  readonly patienceMs: number;
};

export type Result = {
  readonly requests: number;
  readonly succeeded: number;
  readonly failedRetries: number;
  /** Requests that the API behind has carried out, and calls of it that failed. */
  readonly effects: number;
  readonly upstreamFailed: number;
};

/** The gateway gives a call up after this long. */
const TIMEOUT_MS = 1_000;

/** @returns for each experiment the result of each way, in their order */
export const runExperiments = async (
  experiments: readonly Experiment[],
  ways: readonly MakeClient[],
  progress: (secondsLeft: number) => void = () => undefined,
): Promise<readonly (readonly Result[])[]> => {
  const runs = experiments.flatMap((experiment) =>
    ways.map((makeClient) => ({ experiment, makeClient })),
  );
  const upstreams = await Promise.all(
    runs.map(async ({ experiment }) => startFaultyUpstream(experiment.seed, experiment.spans)),
  );
  const servers = await startServers(
    upstreams.map(({ origin }) => ({
      newKeysPerMinute: "unlimited",
      vars: { GATEWAY_ROUTES: routesTo(origin) },
    })),
    { build: await build() },
  );
  const longestMs = Math.max(...experiments.map(({ spanMs, patienceMs }) => spanMs + patienceMs));
  const startedMs = performance.now();
  const timer = setInterval(() => {
    progress(Math.ceil((longestMs - (performance.now() - startedMs)) / 1_000));
  }, 5_000);
  try {
    const results = await Promise.all(
      runs.map(async ({ experiment, makeClient }, at) => {
        const [server, upstream] = [servers[at], upstreams[at]];
        if (server === undefined || upstream === undefined) throw new Error("A server is missing.");
        return runOne(experiment, makeClient, server.origin, upstream);
      }),
    );
    return experiments.map((_, at) => results.slice(at * ways.length, (at + 1) * ways.length));
  } finally {
    clearInterval(timer);
    await Promise.all([...servers, ...upstreams].map(async (one) => one.stop()));
  }
};

/** It runs a key once by itself, and says so: what breaks off is sent again. */
const routesTo = (origin: string): string =>
  JSON.stringify([
    { path: "/**", upstream: origin, honoursKey: true, timeoutMs: TIMEOUT_MS, tenant: "all" },
  ]);

const runOne = async (
  { seed, spanMs, perSecond, patienceMs }: Experiment,
  makeClient: MakeClient,
  origin: string,
  upstream: FaultyUpstream,
): Promise<Result> => {
  const send = makeClient(randomOf(seed + 2), { patienceMs });
  // The first call of a Worker loads it, which is no trouble of the API's.
  await send(`${origin}/payments`, `warm-up-${seed}`);
  const before = upstream.effects.size;
  upstream.begin();
  const startedMs = performance.now();
  const ended: Promise<Ended>[] = [];
  for (const [at, arrivalMs] of arrivalsOf(randomOf(seed + 3), perSecond, spanMs).entries()) {
    await sleep(Math.max(0, arrivalMs - (performance.now() - startedMs)));
    ended.push(send(`${origin}/payments`, `intent-${seed}-${at}`));
  }
  const all = await Promise.all(ended);
  return {
    requests: all.length,
    succeeded: all.filter(({ succeeded }) => succeeded).length,
    failedRetries: all.reduce((sum, one) => sum + one.failedRetries, 0),
    effects: upstream.effects.size - before,
    upstreamFailed: upstream.counts.failed,
  };
};
