/**
 * `--only gateway`: what a protected call through the gateway costs, over the same call through a plain Hono proxy in the
 * same workerd; and a replay, over an empty call of the key object. The upstream takes 20 ms, in a process of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Connection, type Measurement, measure, median, requestText } from "./load.ts";
import { startBenchServer } from "./server.ts";

export type GatewayOptions = { readonly rounds: number; readonly measureMs: number };

const UPSTREAM_MS = 20;
const CONNECTIONS = 32;
/** Some ten calls of each connection: by then they are as far apart as they stay. */
const UNCOUNTED_MS = 400;
/** Keys that have an answer, to be replayed. */
const ANSWERED = 500;

/**
 * What is compared is interleaved, and nothing else: of empty calls and replays there are so many more that their garbage
 * would be collected while the others are measured.
 */
const PAIRS = [
  ["proxy", "fresh"],
  ["empty", "replay"],
] as const;
const PATHS = PAIRS.flat();
type Path = (typeof PATHS)[number];

const startUpstream = async () => {
  const child = spawn(process.execPath, ["bench/gateway-upstream.ts", String(UPSTREAM_MS)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { origin: `http://127.0.0.1:${line.toString().trim()}`, stop: () => child.kill() };
};

export const benchGateway = async (
  script: string,
  { rounds, measureMs }: GatewayOptions,
): Promise<Record<string, number>> => {
  const upstream = await startUpstream();
  const server = await startBenchServer(script, "1", { UPSTREAM_ORIGIN: upstream.origin });
  let keys = 0;
  const post = (path: string, key: string): string =>
    requestText(
      "POST",
      path,
      {
        Authorization: "Bearer sk_bench",
        "Content-Type": "application/x-www-form-urlencoded",
        "Idempotency-Key": key,
      },
      "amount=1250&currency=eur",
    );
  const next: Record<Path, () => string> = {
    proxy: () => post("/proxy/v1/charges", `bench-${keys++}`),
    fresh: () => post("/v1/charges", `bench-${keys++}`),
    empty: () => post("/empty", `bench-${keys++}`),
    replay: () => post("/v1/charges", `answered-${Math.floor(Math.random() * ANSWERED)}`),
  };
  const measured: Record<Path, Measurement[]> = { proxy: [], fresh: [], empty: [], replay: [] };
  try {
    const connection = await Connection.open(server.port);
    for (let i = 0; i < ANSWERED; i++) {
      const { status, body } = await connection.send(post("/v1/charges", `answered-${i}`));
      if (status !== 200) throw new Error(`Preparation failed: ${status} ${body}`);
    }
    connection.close();
    for (const pair of PAIRS) {
      // A first round warms both ways up, and is not counted.
      for (let round = -1; round < rounds; round++) {
        for (const path of pair) {
          const result = await measure(
            server.port,
            CONNECTIONS,
            next[path],
            measureMs,
            UNCOUNTED_MS,
          );
          if (Object.keys(result.statuses).some((status) => status !== "200")) {
            throw new Error(`${path}: ${JSON.stringify(result.statuses)}`);
          }
          if (round >= 0) measured[path].push(result);
        }
        process.stderr.write(`gateway, ${pair.join(" and ")}: round ${round + 1} of ${rounds}\n`);
      }
    }
  } finally {
    await server.stop();
    upstream.stop();
  }
  console.log(`gateway, upstream ${UPSTREAM_MS} ms, ${CONNECTIONS} connections`);
  console.log("path     req/s   p50 ms   p99 ms");
  for (const path of PATHS) {
    const of = (value: (one: Measurement) => number): number => median(measured[path].map(value));
    console.log(
      [
        path.padEnd(6),
        of((one) => one.requestsPerSecond)
          .toFixed(0)
          .padStart(7),
        of((one) => one.p50Ms)
          .toFixed(2)
          .padStart(8),
        of((one) => one.p99Ms)
          .toFixed(2)
          .padStart(8),
      ].join(" "),
    );
  }
  /** Median over rounds, of neighbours: each round's pair saw the same machine. */
  const pairs = (a: Path, b: Path, compare: (a: Measurement, b: Measurement) => number): number =>
    median(
      measured[a].flatMap((one, i) => {
        const other = measured[b][i];
        return other === undefined ? [] : [compare(one, other)];
      }),
    );
  return {
    gateway_fresh_over_proxy_c32: pairs(
      "fresh",
      "proxy",
      (a, b) => a.requestsPerSecond / b.requestsPerSecond,
    ),
    gateway_p50_over_proxy_ms_c32: pairs("fresh", "proxy", (a, b) => a.p50Ms - b.p50Ms),
    gateway_replay_over_empty_call: pairs(
      "replay",
      "empty",
      (a, b) => a.requestsPerSecond / b.requestsPerSecond,
    ),
  };
};
