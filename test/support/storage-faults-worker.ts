/**
 * The Worker as it is deployed, with stores that fail. Every key is served by two incarnations of its object, each with
 * a storage of its own and a connection of its own to the one database; each request goes to one of the two. What
 * becomes of a batch, a read or a write is drawn from a seed.
 *
 * `POST /faults` with `seeded`, `stalled` or `none` says what is to be suffered from now on; `none` also lets arrive
 * whatever is still late.
 */
import { env } from "cloudflare:workers";
import type { Bindings } from "../../src/env.ts";
import { keyObjectFor } from "../../src/objects/key-object.ts";
import type { EngineStorage } from "../../src/objects/key-engine.ts";
import { operations } from "../../src/operations/registry.ts";
import worker from "../../src/worker.ts";
import { FaultyDatabase, type FaultRates, seededFaults, seededRandom } from "./faulty-database.ts";

export { AdvisorObject, RevocationObject, TenantObject } from "../../src/worker.ts";

type Suffering = "seeded" | "stalled" | "none";

/** Bindings of the rig, beside those of the Worker. */
const rig = env as unknown as {
  readonly FAULT_SEED: string;
  /** The other incarnations. */
  readonly KEY_OBJECT_TWIN: DurableObjectNamespace;
};

/** About every third batch fails in some way, every sixth read. */
const RATES: FaultRates = {
  batches: {
    "lost-before": 0.06,
    "lost-after": 0.06,
    late: 0.05,
    "late-twice": 0.02,
    twice: 0.03,
    "twice-lost": 0.02,
    "twice-late": 0.02,
    overloaded: 0.03,
    full: 0.0005,
    "timed-out-before": 0.02,
    "timed-out-after": 0.03,
    "stalled-before": 0.002,
    "stalled-after": 0.002,
  },
  reads: { lost: 0.12, overloaded: 0.04, stalled: 0.002 },
};

/** Of each access to an object's storage. */
const STORAGE_FAULT_RATE = 0.02;

const random = seededRandom(Number(rig.FAULT_SEED));
let suffering: Suffering = "none";
const databases: FaultyDatabase[] = [];

const obey = (database: FaultyDatabase): void => {
  if (suffering === "seeded") database.heal();
  else if (suffering === "stalled") database.always("stalled-before", "stalled");
  else database.always("none", "none");
};

const faultyDatabase = (real: D1Database): D1Database => {
  const made = new FaultyDatabase(real, seededFaults(Math.floor(random() * 2 ** 31), RATES));
  databases.push(made);
  obey(made);
  // What the product uses of a binding, and no more.
  return made as unknown as D1Database;
};

const FULL = "database or disk is full: SQLITE_FULL";

/** Fails before the work, or after it: then it was done, and nobody is told. */
const perhaps = <Value>(work: () => Value): Value => {
  const drawn = suffering === "seeded" ? random() : 1;
  if (drawn < STORAGE_FAULT_RATE / 2) throw new Error(FULL);
  const value = work();
  if (drawn < STORAGE_FAULT_RATE) throw new Error(FULL);
  return value;
};

const faultyStorage = (real: EngineStorage): EngineStorage => ({
  get sql() {
    return perhaps(() => real.sql);
  },
  transactionSync: (work) => perhaps(() => real.transactionSync(work)),
  getAlarm: async () => perhaps(() => real.getAlarm()),
  setAlarm: async (at) => perhaps(() => real.setAlarm(at)),
  deleteAll: async () => perhaps(() => real.deleteAll()),
});

const Incarnation = keyObjectFor(operations, { storage: faultyStorage });

export class KeyObject extends Incarnation {
  constructor(ctx: DurableObjectState, bindings: Bindings) {
    super(ctx, { ...bindings, DB: faultyDatabase(bindings.DB) });
  }
}

export class KeyObjectTwin extends KeyObject {}

const setFaults = async (request: Request): Promise<Response> => {
  suffering = (await request.text()) as Suffering;
  for (const database of databases) {
    obey(database);
    database.endStalls();
    if (suffering === "none") await database.deliverLate();
  }
  return new Response(null, { status: 204 });
};

export default {
  fetch: (request, bindings, context) => {
    if (new URL(request.url).pathname === "/faults") return setFaults(request);
    const isTwin = random() < 0.5;
    return worker.fetch(
      request,
      isTwin ? { ...bindings, KEY_OBJECT: rig.KEY_OBJECT_TWIN } : bindings,
      context,
    );
  },
} satisfies ExportedHandler<Bindings>;
