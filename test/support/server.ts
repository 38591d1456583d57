/**
 * A real Latchkey on a real workerd, in a process of its own, seen from outside: the bundle that a deployment
 * would upload, local D1 with the migrations applied, objects on disk, HTTP on 127.0.0.1 straight from
 * workerd, with no proxy in between that could tidy requests or cost time.
 *
 *     const server = await startServer({ vars: { KEY_OBJECTS: "per-key" } });
 *     await fetch(`${server.origin}/healthz`);
 *     await server.stop();
 *
 * Besides HTTP it opens what an operator has: SQL on the database, the list of objects, the log. Two things
 * nobody has in production are for tests only: `lockDatabase`, which makes D1 really fail, and `traced`, which
 * tells what each request cost. Neither changes a byte of the Worker.
 */
import { createHash, createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { convertV4MiniflareOptions, type LegacyWorkerOptions, Miniflare } from "miniflare";
import { type Build, build } from "./build.ts";
import {
  companion,
  runSql,
  type SqlCall,
  type SqlRow,
  type Statement,
  takeCalls,
} from "./companion.ts";

/** Worth nothing elsewhere. Fixed, so that a token may be minted without asking the server. */
export const TEST_SECRETS = {
  TOKEN_SECRET: "test-only-token-secret-0123456789abcdefghijklmnop",
  FINGERPRINT_SECRET: "test-only-fingerprint-secret-0123456789abcdefghij",
} as const;

export type ServerOptions = {
  /** Over the vars of wrangler.toml and the test's secrets; undefined takes one away. */
  readonly vars?: Readonly<Record<string, string | undefined>>;
  /** Over the limit of wrangler.toml; "unlimited" removes the rate limiter, for benchmarks. */
  readonly newKeysPerMinute?: number | "unlimited";
  /** Whether the migrations are applied before the server is handed over. Yes, unless said. */
  readonly migrated?: boolean;
  /** Whether `trace` can be used. It costs a little time: not for benchmarks. */
  readonly traced?: boolean;
  /** Addresses, `127.0.0.1:PORT`, that are bound as services, by the names of the bindings. */
  readonly services?: Readonly<Record<string, string>>;
  /** How many databases are bound: `DB`, then `DB_1` … One, unless said. */
  readonly databases?: number;
  /**
   * Another version of an earlier server of the list, which this is the index of: it has the same database and
   * the same objects, as two versions have while one is deployed.
   */
  readonly versionOf?: number;
};

export type ProcessOptions = {
  /** State is kept here, and found again by the next process on it; else in a folder that goes with the process. */
  readonly folder?: string;
  /** Another build than that of wrangler.toml as it stands. */
  readonly build?: Build;
};

/** A database, past the Worker. */
export type ServerDatabase = {
  /** Runs one statement. */
  readonly sql: (...statement: Statement) => Promise<SqlRow[]>;
  /** Runs several statements in one transaction, and gives the rows of each. */
  readonly sqlBatch: (statements: readonly Statement[]) => Promise<SqlRow[][]>;
};

/** What `DB` is bound to is at hand; the others by their names. */
export type Server = ServerDatabase & {
  /** `http://127.0.0.1:PORT`, without a trailing slash. */
  readonly origin: string;
  /** The database of that binding. */
  readonly database: (name: string) => ServerDatabase;
  /** Applies what is missing of migrations/ to every database. */
  readonly migrate: () => Promise<void>;
  /** Ids of every key object that was ever called, sorted: the runtime makes its file at the first call. */
  readonly objects: () => Promise<string[]>;
  /**
   * Takes a database's write lock, as another process could: until the returned function is called, D1
   * answers with errors that say nothing of what was committed, and requests stay in flight.
   */
  readonly lockDatabase: (name?: string) => () => void;
  /** Lets a cron trigger go off, and waits for its end. */
  readonly scheduled: (cron: string) => Promise<void>;
  /** What the process wrote to the log so far. */
  readonly log: readonly string[];
  /** Runs something and tells every SQL call that D1 and the objects served meanwhile. Needs `traced`. */
  readonly trace: (work: () => Promise<unknown>) => Promise<SqlCall[]>;
  /** Ends the process, and with it every server that was started along with this one. */
  readonly stop: () => Promise<void>;
};

export const startServer = async (
  options: ServerOptions & ProcessOptions = {},
): Promise<Server> => {
  const [server] = await startServers([options], options);
  if (server === undefined) throw new Error("One server was asked for.");
  return server;
};

/**
 * Several servers in one process, each with a database and objects of its own: starting workerd takes a second,
 * another Worker in it next to nothing. In this order, the next process on the same folder finds their state.
 */
export const startServers = async (
  options: readonly ServerOptions[],
  { folder, build: givenBuild }: ProcessOptions = {},
): Promise<Server[]> => {
  const built = givenBuild ?? (await build());
  const state = folder ?? mkdtempSync(join(tmpdir(), "latchkey-"));
  const log: string[] = [];
  const names = options.map(({ versionOf }, i) => namesOf(i, versionOf));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      // Else it asks Cloudflare where this machine is.
      cf: false,
      resourcePersistencePath: state,
      handleStructuredLogs: ({ message }) => log.push(message),
      workers: names.flatMap((named, i) => [
        workerOf(built, options[i] ?? {}, named),
        companion(named.companion, bound(named, options[i]?.databases)),
      ]),
    }),
  );
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopped ??= miniflare.dispose().then(() => {
      if (folder === undefined) rmSync(state, { recursive: true, force: true });
    });
    return stopped;
  };
  try {
    const servers: Server[] = [];
    for (const [i, named] of names.entries()) {
      const { migrated = true, databases } = options[i] ?? {};
      const server = await openServer({ miniflare, state, log, stop, named, built, databases });
      // A version may bind a database that the one before it did not have.
      if (migrated) await server.migrate();
      servers.push(server);
    }
    return servers;
  } catch (error) {
    await stop();
    throw error;
  }
};

type Names = {
  readonly worker: string;
  readonly companion: string;
  readonly database: string;
  /** The Worker whose objects it calls: another one's if it is a version of that. */
  readonly objects: string;
};

const namesOf = (i: number, versionOf: number = i): Names => ({
  worker: `latchkey-${i}`,
  companion: `companion-${i}`,
  database: `database-${versionOf}`,
  objects: `latchkey-${versionOf}`,
});

const openServer = async (process: {
  readonly miniflare: Miniflare;
  readonly built: Build;
  readonly state: string;
  readonly log: readonly string[];
  readonly stop: () => Promise<void>;
  readonly named: Names;
  readonly databases: number | undefined;
}): Promise<Server> => {
  const { miniflare, named } = process;
  const beside = await miniflare.unsafeGetDirectURL(named.companion);

  const database = (name: string): ServerDatabase => {
    const sqlBatch: ServerDatabase["sqlBatch"] = async (statements) =>
      runSql(beside, name, statements);
    return {
      sqlBatch,
      sql: async (...statement) => {
        const [rows = []] = await sqlBatch([statement]);
        return rows;
      },
    };
  };

  const migrate = async ({ sql, sqlBatch }: ServerDatabase): Promise<void> => {
    // The table that `wrangler d1 migrations apply` keeps.
    await sql(
      "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    );
    const applied = await sql("SELECT name FROM d1_migrations");
    for (const { name, statements } of process.built.migrations) {
      if (applied.some((row) => row["name"] === name)) continue;
      await sqlBatch([
        ...statements.map((text): Statement => [text]),
        ["INSERT INTO d1_migrations (name) VALUES (?)", name],
      ]);
    }
  };

  return {
    origin: (await miniflare.unsafeGetDirectURL(named.worker)).origin,
    ...database("DB"),
    database,
    migrate: async () => {
      const names = Object.keys(bound(named, process.databases));
      for (const name of names) await migrate(database(name));
    },
    objects: async () =>
      (await miniflare.listDurableObjectIds("KEY_OBJECT", named.objects)).toSorted(),
    lockDatabase: (name = "DB") => lock(databaseFile(process.state, databaseId(named, name))),
    scheduled: async (cron) => {
      const worker = await miniflare.getWorker(named.worker);
      const { outcome } = await worker.scheduled({ cron });
      if (outcome !== "ok") throw new Error(`The cron ${cron} ended with ${outcome}.`);
    },
    log: process.log,
    trace: async (work) => {
      const read = async () => takeCalls(beside);
      await untilQuiet(read);
      await work();
      return untilQuiet(read);
    },
    stop: process.stop,
  };
};

/** What wrangler.toml says, with the test's secrets and changes. */
const workerOf = (
  { script, worker }: Build,
  { vars, newKeysPerMinute, traced = false, databases, services = {} }: ServerOptions,
  named: Names,
): LegacyWorkerOptions => ({
  ...worker,
  name: named.worker,
  // Named as what it is: else it would be parsed for imports at every start.
  modules: [{ type: "ESModule", path: script }],
  modulesRoot: dirname(script),
  bindings: defined({ ...worker.bindings, ...TEST_SECRETS, ...vars }),
  d1Databases: bound(named, databases),
  serviceBindings: Object.fromEntries(
    Object.entries(services).map(([name, address]) => [name, { external: { address, http: {} } }]),
  ),
  durableObjects: Object.fromEntries(
    Object.entries(worker.durableObjects ?? {}).map(([name, object]) => [
      name,
      // By its name alone it would be a class of the Worker itself.
      named.objects === named.worker ? object : inScript(object, named.objects),
    ]),
  ),
  ratelimits: newKeysPerMinute === "unlimited" ? {} : limited(worker.ratelimits, newKeysPerMinute),
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  ...(traced ? { streamingTails: [named.companion] } : {}),
});

/** The bindings of a server's databases. */
const bound = (named: Names, databases = 1): Record<string, { readonly id: string }> =>
  Object.fromEntries(
    Array.from({ length: databases }, (_, i) => (i === 0 ? "DB" : `DB_${i}`)).map((name) => [
      name,
      { id: databaseId(named, name) },
    ]),
  );

/** What keeps the state of a folder the same as it was when there was one database. */
const databaseId = ({ database }: Names, name: string): string =>
  name === "DB" ? database : `${database}-${name}`;

type DurableObject = NonNullable<LegacyWorkerOptions["durableObjects"]>[string];

const inScript = (object: DurableObject, scriptName: string): DurableObject =>
  typeof object === "string"
    ? { className: object, scriptName, useSQLite: true }
    : { ...object, scriptName };

const limited = (ratelimits: LegacyWorkerOptions["ratelimits"] = {}, limit?: number) =>
  Object.fromEntries(
    Object.entries(ratelimits).map(([name, { simple, ...rest }]) => [
      name,
      { ...rest, simple: { ...simple, limit: limit ?? simple.limit } },
    ]),
  );

const defined = <Value>(record: Readonly<Record<string, Value | undefined>>) =>
  Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, Value] => entry[1] !== undefined),
  );

/** What was read until nothing new has come for a while: traces arrive after the answer they are of. */
const untilQuiet = async <Item>(read: () => Promise<Item[]>): Promise<Item[]> => {
  const items: Item[] = [];
  for (let quiet = 0; quiet < QUIET_READS;) {
    await sleep(QUIET_PAUSE_MS);
    const more = await read();
    quiet = more.length === 0 ? quiet + 1 : 0;
    items.push(...more);
  }
  return items;
};

const QUIET_READS = 3;
const QUIET_PAUSE_MS = 30;

/** Where D1 keeps a database: in a SQLite file, as the object that its id names. */
const databaseFile = (folder: string, id: string): string => {
  const namespace = "miniflare-D1DatabaseObject";
  return join(folder, "d1", namespace, `${objectId(namespace, id)}.sqlite`);
};

/** An object's id, as workerd derives it: half of it a hash of the name, half a proof of the namespace. */
const objectId = (namespace: string, name: string): string => {
  const key = createHash("sha256").update(namespace).digest();
  const half = (text: string | Buffer) =>
    createHmac("sha256", key).update(text).digest().subarray(0, 16);
  const hash = half(name);
  return Buffer.concat([hash, half(hash)]).toString("hex");
};

const lock = (file: string): (() => void) => {
  const connection = new DatabaseSync(file, { timeout: LOCK_TIMEOUT_MS });
  connection.exec("BEGIN IMMEDIATE");
  return () => {
    if (connection.isOpen) connection.close();
  };
};

/** A write under way is waited for. */
const LOCK_TIMEOUT_MS = 2_000;
