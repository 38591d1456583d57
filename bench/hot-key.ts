/**
 * `--only hot-key`: whether one key that a thousand clients retry holds up the others of its object. Eight connections
 * pay, in turns alone and while a key of the same tenant is in flight and a thousand connections ask for it, each
 * willing to wait. A hundred may; the others hear 423 at once, and come back after a second, as `Retry-After` says.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Connection, measure, median } from "./load.ts";
import { startBenchServer } from "./server.ts";
import { Tenant } from "./tenant.ts";

export type HotKeyOptions = {
  readonly rounds: number;
  /** Of one measurement, milliseconds. */
  readonly measureMs: number;
};

const CONNECTIONS = 8;
const RETRIES = 1_000;
const RETRY_AFTER_MS = 1_000;
/** Until all thousand have asked for the first time. */
const SETTLE_MS = 1_500;

export const benchHotKey = async (
  script: string,
  { rounds, measureMs }: HotKeyOptions,
): Promise<Record<string, number>> => {
  const server = await startBenchServer(script, "1");
  const { port } = server;
  const tenant = await Tenant.open("bench-hot", port);
  for (const id of ["acc-0", "acc-1"]) await tenant.openAccount(id);
  const pay = (): string => {
    const body = { source: "acc-0", destination: "acc-1", amountMinor: 1, currency: "EUR" };
    return tenant.post("/v1/payments", tenant.freshKey(), body);
  };
  const holdMs = SETTLE_MS + measureMs + 500;
  await measure(port, CONNECTIONS, pay, measureMs);
  const p50: number[] = [];
  const p99: number[] = [];
  const hotAnswers: Record<string, number> = {};
  for (let round = 0; round < rounds; round++) {
    const alone = await measure(port, CONNECTIONS, pay, measureMs);
    const hot = tenant.post(`/bench/hold/${holdMs}`, tenant.freshKey(), {}, { Prefer: "wait=20" });
    const crowd = Promise.all(
      Array.from({ length: RETRIES }, async () => {
        const connection = await Connection.open(port);
        for (let status = 0; status !== 201;) {
          ({ status } = await connection.send(hot));
          hotAnswers[status] = (hotAnswers[status] ?? 0) + 1;
          if (status !== 201) await sleep(RETRY_AFTER_MS);
        }
        connection.close();
      }),
    );
    await sleep(SETTLE_MS);
    const beside = await measure(port, CONNECTIONS, pay, measureMs);
    await crowd;
    p50.push(beside.p50Ms / alone.p50Ms);
    p99.push(beside.p99Ms / alone.p99Ms);
    process.stderr.write(`hot-key: round ${round + 1} of ${rounds}\n`);
  }
  tenant.close();
  await server.stop();
  console.log(
    `\n${CONNECTIONS} connections beside ${RETRIES} retries of a key in flight: p50 ${median(p50).toFixed(2)}, p99 ${median(p99).toFixed(2)} of what they are alone; the retries were answered ${JSON.stringify(hotAnswers)}`,
  );
  return { hot_key_p50_beside_over_alone: median(p50), hot_key_p99_beside_over_alone: median(p99) };
};
