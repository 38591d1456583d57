/**
 * `npm run soak -- --minutes 10 --seed 7 [--record]`: steady load on a server that is killed every minute, while keys expire, are
 * swept and are forgotten. Prints a line every few seconds: what workerd holds in memory, what lies on the disk, and how
 * many keys the journal knows. Business rows stay for ever, so the database is set against them.
 *
 * The last line is the result as JSON. The exit code is 0 only if every curve is flat once keys are being forgotten (the
 * last third of the run against the third before it), and if the checker finds nothing lost, doubled or left open.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { record } from "../../scripts/record.ts";
import { Complaint, main } from "../../scripts/tool.ts";
import { checkLedger } from "./crash-checker.ts";
import { Clients } from "./crash-clients.ts";
import { History } from "./crash-history.ts";
import { Random } from "./crash-random.ts";
import { buildCrashWorker, CrashServer } from "./crash-server.ts";

const SAMPLE_MS = 5_000;
const LIFE_MS = 60_000;
/** After so long a key is forgotten, whatever came in between: then nothing may grow any more. */
const EXPIRY = { keyLifetimeSeconds: 20, sweepSeconds: 2, tombstoneSeconds: 20 };
/** A curve that is flat still wavers: with the load, and with what a sweep has just left to do. */
const GROWTH_MAX = 1.25;
/** Enough to see the curve. */
const CURVE_POINTS = 12;

type Sample = {
  readonly seconds: number;
  readonly requests: number;
  readonly memoryMb: number;
  readonly objectsKb: number;
  readonly journalRows: number;
  /** Keys that the journal knows, and answers that it holds, for each request of the last minute: the load wavers. */
  readonly keysPerRequest: number;
  readonly answersPerRequest: number;
  /** Bytes of the database for each row of business. */
  readonly databaseBytesPerRow: number;
};

const CURVES = [
  "memoryMb",
  "objectsKb",
  "keysPerRequest",
  "answersPerRequest",
  "databaseBytesPerRow",
] as const;

await main(async () => {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      record: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  const seed = Number(values.seed);
  if (!(minutes > 0) || !Number.isInteger(seed)) {
    throw new Complaint("npm run soak -- [--minutes NUMBER] [--seed NUMBER] [--record]");
  }
  console.log(`seed ${seed}, ${minutes} minutes`);

  const folder = mkdtempSync(join(tmpdir(), "latchkey-soak-"));
  const server = new CrashServer(await buildCrashWorker(), folder);
  const history = new History(join(folder, "history.jsonl"));
  const random = new Random(seed);
  const clients = new Clients({ target: server, history, random: random.fork("clients") });
  const samples: Sample[] = [];
  const violations: string[] = [];
  const startedAtMs = Date.now();
  const endsAtMs = startedAtMs + minutes * 60_000;
  let kills = 0;
  try {
    clients.start();
    while (Date.now() < endsAtMs) {
      await server.start({ keyObjects: "2", expiry: EXPIRY });
      const diesAtMs = Math.min(endsAtMs, Date.now() + LIFE_MS);
      while (Date.now() + SAMPLE_MS < diesAtMs) {
        await sleep(SAMPLE_MS);
        const sample = await sampleOf(server, clients, startedAtMs, samples);
        samples.push(sample);
        console.log(JSON.stringify(sample));
      }
      await server.kill();
      kills += 1;
      violations.push(...checkLedger(server.copyDatabase()));
    }
  } finally {
    await clients.stop();
    await server.close();
    history.close();
    rmSync(folder, { recursive: true, force: true });
  }
  const growth = growthOf(samples);
  for (const curve of CURVES) {
    if (!(growth[curve] <= GROWTH_MAX)) violations.push(`${curve} grew by ${growth[curve]}`);
  }
  for (const violation of violations) console.log(violation);
  const requests = samples.at(-1)?.requests ?? 0;
  const result = { seed, minutes, kills, requests, growth, violations: violations.length };
  console.log(JSON.stringify(result));
  if (values.record) {
    const curve = samples.filter((_, i) => i % Math.ceil(samples.length / CURVE_POINTS) === 0);
    record("soak", `npm run soak -- --minutes ${minutes} --seed ${seed}`, { ...result, curve });
  }
  if (violations.length > 0) process.exitCode = 1;
});

async function sampleOf(
  server: CrashServer,
  clients: Clients,
  startedAtMs: number,
  before: readonly Sample[],
): Promise<Sample> {
  const [row] = await server.query(
    `SELECT (SELECT COUNT(*) FROM journal) AS keys, (SELECT COUNT(*) FROM journal WHERE body IS NOT NULL) AS answers,
       (SELECT COUNT(*) FROM entries) + (SELECT COUNT(*) FROM stock_moves) + (SELECT COUNT(*) FROM order_lines)
         + (SELECT COUNT(*) FROM accounts) AS business`,
  );
  const { database, objects } = server.stateBytes();
  const seconds = Math.round((Date.now() - startedAtMs) / 1_000);
  const minuteAgo = before.findLast((sample) => sample.seconds <= seconds - 60)?.requests ?? 0;
  const recent = Math.max(1, clients.sends - minuteAgo);
  return {
    seconds,
    requests: clients.sends,
    memoryMb: Math.round(memoryOf(server.group) / 1024),
    objectsKb: Math.round(objects / 1024),
    journalRows: Number(row?.["keys"]),
    keysPerRequest: hundredths(Number(row?.["keys"]) / recent),
    answersPerRequest: hundredths(Number(row?.["answers"]) / recent),
    databaseBytesPerRow: Math.round(database / Math.max(1, Number(row?.["business"]))),
  };
}

/** Resident memory of the workerd of a process group, KiB. */
function memoryOf(group: number | undefined): number {
  return execFileSync("ps", ["-A", "-o", "pgid=,rss=,comm="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([pgid, , command]) => Number(pgid) === group && command?.includes("workerd"))
    .reduce((sum, [, rss]) => sum + Number(rss), 0);
}

/** The mean of the last third over that of the third before: between two sweeps a curve rises and falls. */
function growthOf(samples: readonly Sample[]): Record<(typeof CURVES)[number], number> {
  const third = Math.floor(samples.length / 3);
  const middle = samples.slice(third, 2 * third);
  const last = samples.slice(2 * third);
  const growth = (curve: (typeof CURVES)[number]): number =>
    hundredths(mean(last, curve) / mean(middle, curve));
  return {
    memoryMb: growth("memoryMb"),
    objectsKb: growth("objectsKb"),
    keysPerRequest: growth("keysPerRequest"),
    answersPerRequest: growth("answersPerRequest"),
    databaseBytesPerRow: growth("databaseBytesPerRow"),
  };
}

function hundredths(value: number): number {
  return Math.round(100 * value) / 100;
}

function mean(samples: readonly Sample[], curve: (typeof CURVES)[number]): number {
  return samples.reduce((sum, sample) => sum + sample[curve], 0) / samples.length;
}
