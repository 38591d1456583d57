/**
 * `--only replay-scale`: whether a replay takes longer when many keys are stored. Two tenants in one server, one with a
 * thousand keys, one with a million, each in an object of its own beside the same database; one connection asks them by
 * turns, so that every pair of requests sees the same machine.
 *
 * The keys are copies of one real payment, made by SQL in the journal and in the object's table: a row differs from
 * what a million payments would have left there in nothing but its key.
 */
import { Connection, median } from "./load.ts";
import { startBenchServer } from "./server.ts";
import { askBench, copiesWritten, readCounters, Tenant } from "./tenant.ts";

export type ReplayScaleOptions = {
  /** Keys of the large tenant. */
  readonly keys: number;
  readonly rounds: number;
};

const SMALL_KEYS = 1_000;
/** Each round asks for this many keys of either tenant, none of them twice. */
const ASKED = 500;
/** From D1 each takes two trips, and one of them is a batch. */
const ASKED_OF_D1 = 150;
/** Hot keys: few enough that memory holds all of them. */
const HOT = 200;
/** Rows of one transaction. */
const FILL_ROWS = 25_000;

const BODY = { source: "acc-0", destination: "acc-1", amountMinor: 1, currency: "EUR" };

/** A tenant with so many keys, all answered. */
type Stocked = { readonly name: string; readonly tenant: Tenant; readonly keys: number };

const keyOf = (i: number): string => `bench-fill-${i.toString().padStart(12, "0")}`;

const stock = async (port: number, name: string, keys: number): Promise<Stocked> => {
  const tenant = await Tenant.open(name, port);
  await tenant.openAccount("acc-0");
  await tenant.openAccount("acc-1");
  const template = tenant.freshKey();
  await tenant.must(tenant.post("/v1/payments", template, BODY));
  await copiesWritten();
  const startedAt = performance.now();
  for (let from = 0; from < keys; from += FILL_ROWS) {
    const count = Math.min(FILL_ROWS, keys - from);
    await askBench(port, "/bench/fill", { tenant: name, template, from, count });
    const done = from + count;
    if (done === keys || done % (10 * FILL_ROWS) === 0) {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
      process.stderr.write(`replay-scale: ${name}: ${done} of ${keys} keys, ${seconds} s\n`);
    }
  }
  return { name, tenant, keys };
};

/** Asks both by turns for so many keys. Returns the two medians, in milliseconds. */
const ask = async (
  connection: Connection,
  both: readonly [Stocked, Stocked],
  keyFor: (stocked: Stocked, i: number) => string,
  count: number,
): Promise<readonly [number, number]> => {
  const times: readonly [number[], number[]] = [[], []];
  for (let i = 0; i < 2 * count; i++) {
    // In pairs, and each of a pair is first as often as the other.
    const pair = Math.floor(i / 2);
    const which = (i + pair) % 2 === 0 ? 0 : 1;
    const stocked = both[which];
    const request = stocked.tenant.post("/v1/payments", keyFor(stocked, pair), BODY);
    const startedAt = performance.now();
    const { status, body } = await connection.send(request);
    times[which].push(performance.now() - startedAt);
    if (status !== 201) throw new Error(`A replay was answered ${status} ${body}`);
  }
  return [median(times[0]), median(times[1])];
};

/** Spreads the asked keys over all of them, none twice in a round: a step that shares no factor with 10. */
const spread =
  (round: number) =>
  ({ keys }: Stocked, i: number): string =>
    keyOf(((round * ASKED + i) * STEP) % keys);
const STEP = 618_031;

const hot = (_stocked: Stocked, i: number): string => keyOf(i % HOT);

/** What is measured: where the outcomes are when they are asked for. */
const PLACES = [
  // In the object's SQLite: its memory went with its last life.
  {
    name: "replay",
    restart: { losingCopies: false },
    keyFor: spread,
    warm: 10,
    asked: ASKED,
    readsD1: false,
  },
  {
    name: "replay_hot",
    restart: undefined,
    keyFor: () => hot,
    warm: HOT,
    asked: ASKED,
    readsD1: false,
  },
  // In D1 alone. Last, since it takes away what the others ask for.
  {
    name: "replay_d1",
    restart: { losingCopies: true },
    keyFor: spread,
    warm: 10,
    asked: ASKED_OF_D1,
    readsD1: true,
  },
] as const;

/** Ratios of the large tenant's median to the small one's, the median of all rounds. */
export const benchReplayScale = async (
  script: string,
  { keys, rounds }: ReplayScaleOptions,
): Promise<Record<string, number>> => {
  const server = await startBenchServer(script, "1");
  const { port } = server;
  const small = await stock(port, "bench-small", SMALL_KEYS);
  const large = await stock(port, "bench-large", keys);
  const both = [small, large] as const;
  const figures: Record<string, number> = {};
  console.log(`\n${keys} keys beside ${SMALL_KEYS}\nplace       p50 ms   p50 ms, many   ratio`);
  for (const { name, restart, keyFor, warm, asked, readsD1 } of PLACES) {
    const medians: (readonly [number, number])[] = [];
    for (let round = 0; round < rounds; round++) {
      if (restart !== undefined) {
        for (const { name: tenant } of both) {
          await askBench(port, "/bench/restart", { tenant, ...restart });
        }
      }
      const connection = await Connection.open(port);
      // Starts the objects, and fetches the hot keys.
      await ask(connection, both, hot, warm);
      const before = await readCounters(port);
      medians.push(await ask(connection, both, keyFor(round), asked));
      const { d1Queries } = await readCounters(port);
      if (d1Queries > before.d1Queries !== readsD1) {
        throw new Error(`${name}: ${d1Queries - before.d1Queries} queries of D1.`);
      }
      connection.close();
    }
    const ratio = median(medians.map(([one, many]) => many / one));
    figures[`${name}_${short(keys)}_over_1k`] = ratio;
    const [one, many] = ([0, 1] as const).map((i) => median(medians.map((pair) => pair[i])));
    console.log(
      `${name.padEnd(10)}  ${one?.toFixed(2).padStart(6)}   ${many?.toFixed(2).padStart(12)}   ${ratio.toFixed(2).padStart(5)}`,
    );
  }
  for (const { tenant } of both) tenant.close();
  await server.stop();
  return figures;
};

/** 1,000,000 is `1m`, 200,000 `200k`: a figure says in its name what it was measured with. */
const short = (keys: number): string =>
  keys % 1_000_000 === 0 ? `${keys / 1_000_000}m` : `${keys / 1_000}k`;
