/**
 * `npm run bench`: what exactly-once costs, and what it gains. Every figure is a ratio within one interleaved run,
 * the median of its rounds; absolute numbers say more about the machine than about the product.
 *
 * Options: `--rounds N` (5), `--ms N` of one measurement (1200), `--quick` (fewer of both, one account set).
 */
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { Connection, type Measurement, measure, median, requestText } from "./load.ts";
import { bundleBenchWorker, startBenchServer, TOKEN_SECRET } from "./server.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "1200" },
    quick: { type: "boolean", default: false },
    mode: { type: "string", default: "1" },
  },
});
const rounds = options.quick ? 3 : Number(options.rounds);
const measureMs = options.quick ? 700 : Number(options.ms);

type Path = "naive" | "fresh" | "replay" | "empty";
type Setting = {
  readonly path: Path;
  readonly connections: number;
  readonly accounts: number;
  readonly refusals: number;
};

const token = await new SignJWT({
  tenant: "bench",
  scope: "payments:write ledger:fund read",
})
  .setProtectedHeader({ alg: "HS256" })
  .setIssuer("latchkey")
  .setSubject("bench")
  .setJti(randomUUID())
  .setExpirationTime("6h")
  .sign(new TextEncoder().encode(TOKEN_SECRET));

const post = (path: string, key: string, body: unknown): string =>
  requestText(
    "POST",
    path,
    {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      "Idempotency-Key": key,
    },
    JSON.stringify(body),
  );

let keys = 0;
const freshKey = (): string => `bench-key-${(keys++).toString().padStart(12, "0")}`;

const payment = (accounts: number, refused: boolean) => {
  const source = Math.floor(Math.random() * accounts);
  const destination = (source + 1 + Math.floor(Math.random() * (accounts - 1))) % accounts;
  return {
    source: `acc-${source}`,
    destination: `acc-${destination}`,
    // More than any account holds.
    amountMinor: refused ? 900_000_000_000 : 1 + Math.floor(Math.random() * 3),
    currency: "EUR",
  };
};

/** A key that has been answered, and its body. */
type Answered = { readonly key: string; readonly body: unknown };

const nextRequest = (setting: Setting, answered: readonly Answered[]) => (): string => {
  const refused = Math.random() < setting.refusals;
  const body = payment(setting.accounts, refused);
  switch (setting.path) {
    case "naive":
      return post("/bench/naive/payments", freshKey(), body);
    case "empty":
      return post("/bench/empty/payments", freshKey(), body);
    case "fresh":
      return post("/v1/payments", freshKey(), body);
    case "replay": {
      const old = answered[Math.floor(Math.random() * answered.length)];
      if (old === undefined) throw new Error("Nothing to replay.");
      return post("/v1/payments", old.key, old.body);
    }
  }
};

type Counters = {
  d1Queries: number;
  d1RowsWritten: number;
  objectRowsWritten: number;
  objectAlarmsSet: number;
};

const readCounters = async (connection: Connection): Promise<Counters> =>
  JSON.parse(
    (await connection.send(requestText("GET", "/bench/counters", {}, ""))).body,
  ) as Counters;

const settingsOf = (mode: string): Setting[] => {
  const connections = options.quick ? [1, 32] : [1, 8, 32, 64];
  const accountSets = options.quick || mode === "per-key" ? [1000] : [2, 1000];
  const paths: Path[] =
    mode === "per-key" ? ["naive", "fresh"] : ["naive", "fresh", "replay", "empty"];
  return accountSets.flatMap((accounts) =>
    connections.flatMap((count) => [
      ...paths.map((path) => ({ path, connections: count, accounts, refusals: 0 })),
      ...(mode === "per-key"
        ? []
        : (["naive", "fresh"] as const).map((path) => ({
            path,
            connections: count,
            accounts,
            refusals: 0.05,
          }))),
    ]),
  );
};

const nameOf = (s: Setting): string => `${s.accounts}/${s.refusals}/${s.connections}/${s.path}`;

const runMode = async (script: string, mode: string) => {
  const server = await startBenchServer(script, mode);
  const first = await Connection.open(server.port);
  const must = async (request: string): Promise<void> => {
    const answer = await first.send(request);
    if (answer.status >= 300)
      throw new Error(`Preparation failed: ${answer.status} ${answer.body}`);
  };
  for (let i = 0; i < 1000; i++) {
    const id = `acc-${i}`;
    await must(post("/v1/accounts", freshKey(), { id, currency: "EUR" }));
    await must(
      post("/v1/payments", freshKey(), {
        source: "system:EUR",
        destination: id,
        amountMinor: 1_000_000_000,
        currency: "EUR",
      }),
    );
  }
  const answered: Answered[] = [];
  for (let i = 0; i < 500; i++) {
    const old = { key: freshKey(), body: payment(1000, false) };
    await must(post("/v1/payments", old.key, old.body));
    answered.push(old);
  }

  // Rows are counted on their own, one payment after the other, so that nothing else is in the counters.
  const rowsAt = async (): Promise<Counters> => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    return readCounters(first);
  };
  const before = await rowsAt();
  const COUNTED = 200;
  for (let i = 0; i < COUNTED; i++) {
    await must(post("/v1/payments", freshKey(), payment(1000, false)));
  }
  const after = await rowsAt();
  for (const old of answered.slice(0, COUNTED)) {
    await must(post("/v1/payments", old.key, old.body));
  }
  const afterReplays = await rowsAt();

  first.close();

  const measured = new Map<string, Measurement[]>();
  const settings = settingsOf(mode);
  for (let round = 0; round < rounds; round++) {
    for (const setting of settings) {
      const result = await measure(
        server.port,
        setting.connections,
        nextRequest(setting, answered),
        measureMs,
      );
      const unexpected = Object.keys(result.statuses).filter((s) => s !== "201" && s !== "402");
      if (unexpected.length > 0) {
        throw new Error(`${nameOf(setting)}: ${JSON.stringify(result.statuses)}`);
      }
      const name = nameOf(setting);
      measured.set(name, [...(measured.get(name) ?? []), result]);
    }
    process.stderr.write(`mode ${mode}: round ${round + 1} of ${rounds}\n`);
  }
  await server.stop();
  return {
    settings,
    measured,
    rowsD1: (after.d1RowsWritten - before.d1RowsWritten) / COUNTED,
    rowsObject: (after.objectRowsWritten - before.objectRowsWritten) / COUNTED,
    alarms: after.objectAlarmsSet - before.objectAlarmsSet,
    replayQueries: afterReplays.d1Queries - after.d1Queries,
  };
};

type ModeResult = Awaited<ReturnType<typeof runMode>>;

const rate = (result: ModeResult, setting: Setting): number =>
  median((result.measured.get(nameOf(setting)) ?? []).map((one) => one.requestsPerSecond));

/** Median of the ratios of neighbours: each round's pair saw the same machine. */
const ratio = (result: ModeResult, above: Setting, below: Setting): number => {
  const a = result.measured.get(nameOf(above)) ?? [];
  const b = result.measured.get(nameOf(below)) ?? [];
  return median(a.map((one, i) => one.requestsPerSecond / (b[i]?.requestsPerSecond ?? Number.NaN)));
};

const table = (mode: string, result: ModeResult): string => {
  const lines = [
    `KEY_OBJECTS=${mode}`,
    "accounts  refusals  connections  path    req/s   p50 ms   p99 ms  over naive",
  ];
  for (const setting of result.settings) {
    const all = result.measured.get(nameOf(setting)) ?? [];
    const cells = [
      String(setting.accounts).padStart(8),
      `${setting.refusals * 100} %`.padStart(8),
      String(setting.connections).padStart(11),
      setting.path.padEnd(6),
      rate(result, setting).toFixed(0).padStart(6),
      median(all.map((one) => one.p50Ms))
        .toFixed(2)
        .padStart(7),
      median(all.map((one) => one.p99Ms))
        .toFixed(2)
        .padStart(7),
      ratio(result, setting, { ...setting, path: "naive" })
        .toFixed(2)
        .padStart(10),
    ];
    lines.push(cells.join("  "));
  }
  return lines.join("\n");
};

const round2 = (value: number): number => Math.round(value * 100) / 100;

const script = bundleBenchWorker();
const main = await runMode(script, options.mode);
console.log(table(options.mode, main));
const perKey = await runMode(script, "per-key");
console.log(`\n${table("per-key", perKey)}`);

const at = (path: Path, connections: number, refusals = 0): Setting => ({
  path,
  connections,
  accounts: 1000,
  refusals,
});
const freshOverNaive = (connections: number): number =>
  round2(ratio(main, at("fresh", connections), at("naive", connections)));
const latest = {
  fresh_over_naive_c1: freshOverNaive(1),
  ...(options.quick ? {} : { fresh_over_naive_c8: freshOverNaive(8) }),
  fresh_over_naive_c32: freshOverNaive(32),
  ...(options.quick ? {} : { fresh_over_naive_c64: freshOverNaive(64) }),
  fresh_refusals_over_naive_c32: round2(ratio(main, at("fresh", 32, 0.05), at("naive", 32, 0.05))),
  replay_over_empty_call: round2(ratio(main, at("replay", 32), at("empty", 32))),
  replay_d1_queries: main.replayQueries,
  rows_d1_per_payment: round2(main.rowsD1),
  rows_object_per_payment: round2(main.rowsObject),
  per_key_fresh_over_naive_c32: round2(ratio(perKey, at("fresh", 32), at("naive", 32))),
};
console.log(`\n${JSON.stringify(latest, null, 2)}`);
if (!options.quick) writeFileSync("bench/latest.json", `${JSON.stringify(latest, null, 2)}\n`);
