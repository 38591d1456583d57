/**
 * `--only paths`: what exactly-once costs, and what it gains: fresh, replayed and unprotected requests, interleaved, at
 * several numbers of connections, and the rows written for one payment.
 */
import type { Counters } from "./counters.ts";
import { type Measurement, measure, median } from "./load.ts";
import { startBenchServer } from "./server.ts";
import { copiesWritten, readCounters, Tenant } from "./tenant.ts";

export type PathsOptions = {
  /** `KEY_OBJECTS`. */
  readonly mode: string;
  readonly rounds: number;
  /** Of one measurement, milliseconds. */
  readonly measureMs: number;
  readonly quick: boolean;
};

type Path = "naive" | "fresh" | "replay" | "empty";
type Setting = {
  readonly path: Path;
  readonly connections: number;
  readonly accounts: number;
  readonly refusals: number;
};

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

const nextRequest =
  (tenant: Tenant, setting: Setting, answered: readonly Answered[]) => (): string => {
    const post = (path: string, body: unknown, key = tenant.freshKey()): string =>
      tenant.post(path, key, body);
    const refused = Math.random() < setting.refusals;
    const body = payment(setting.accounts, refused);
    switch (setting.path) {
      case "naive":
        return post("/bench/naive/payments", body);
      case "empty":
        return post("/bench/empty/payments", body);
      case "fresh":
        return post("/v1/payments", body);
      case "replay": {
        const old = answered[Math.floor(Math.random() * answered.length)];
        if (old === undefined) throw new Error("Nothing to replay.");
        return post("/v1/payments", old.body, old.key);
      }
    }
  };

const settingsOf = (mode: string, quick: boolean): Setting[] => {
  const connections = quick ? [1, 32] : [1, 8, 32, 64];
  const accountSets = quick || mode === "per-key" ? [1000] : [2, 1000];
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

const runMode = async (script: string, { mode, rounds, measureMs, quick }: PathsOptions) => {
  const server = await startBenchServer(script, mode);
  const tenant = await Tenant.open("bench", server.port);
  for (let i = 0; i < 1000; i++) await tenant.openAccount(`acc-${i}`);
  const pay = (key: string, body: unknown): Promise<string> =>
    tenant.must(tenant.post("/v1/payments", key, body));
  const answered: Answered[] = [];
  for (let i = 0; i < 500; i++) {
    const old = { key: tenant.freshKey(), body: payment(1000, false) };
    await pay(old.key, old.body);
    answered.push(old);
  }

  // Rows are counted on their own, one payment after the other, so that nothing else is in the counters.
  const rowsAt = async (): Promise<Counters> => {
    await copiesWritten();
    return readCounters(server.port);
  };
  const before = await rowsAt();
  const COUNTED = 200;
  for (let i = 0; i < COUNTED; i++) {
    await pay(tenant.freshKey(), payment(1000, false));
  }
  const after = await rowsAt();
  for (const old of answered.slice(0, COUNTED)) {
    await pay(old.key, old.body);
  }
  const afterReplays = await rowsAt();

  tenant.close();

  const measured = new Map<string, Measurement[]>();
  const settings = settingsOf(mode, quick);
  for (let round = 0; round < rounds; round++) {
    for (const setting of settings) {
      const result = await measure(
        server.port,
        setting.connections,
        nextRequest(tenant, setting, answered),
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

export const benchPaths = async (
  script: string,
  options: PathsOptions,
): Promise<Record<string, number>> => {
  const main = await runMode(script, options);
  console.log(table(options.mode, main));
  const perKey = await runMode(script, { ...options, mode: "per-key" });
  console.log(`\n${table("per-key", perKey)}`);

  const at = (path: Path, connections: number, refusals = 0): Setting => ({
    path,
    connections,
    accounts: 1000,
    refusals,
  });
  const freshOverNaive = (connections: number): number =>
    ratio(main, at("fresh", connections), at("naive", connections));
  return {
    fresh_over_naive_c1: freshOverNaive(1),
    ...(options.quick ? {} : { fresh_over_naive_c8: freshOverNaive(8) }),
    fresh_over_naive_c32: freshOverNaive(32),
    ...(options.quick ? {} : { fresh_over_naive_c64: freshOverNaive(64) }),
    fresh_refusals_over_naive_c32: ratio(main, at("fresh", 32, 0.05), at("naive", 32, 0.05)),
    replay_over_empty_call: ratio(main, at("replay", 32), at("empty", 32)),
    replay_d1_queries: main.replayQueries,
    rows_d1_per_payment: main.rowsD1,
    rows_object_per_payment: main.rowsObject,
    per_key_fresh_over_naive_c32: ratio(perKey, at("fresh", 32), at("naive", 32)),
  };
};
