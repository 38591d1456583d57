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
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { convertV4MiniflareOptions, type LegacyWorkerOptions, Miniflare } from "miniflare";
import { type Build, build } from "./build.ts";
import {
  COMPANION,
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
  /** State is kept here, and found again by the next server on it; else in a folder that goes with the server. */
  readonly folder?: string;
  /** Whether `trace` can be used. It costs a little time: not for benchmarks. */
  readonly traced?: boolean;
  /** Another build than that of wrangler.toml as it stands. */
  readonly build?: Build;
};

export type Server = {
  /** `http://127.0.0.1:PORT`, without a trailing slash. */
  readonly origin: string;
  /** Runs one statement on the database, past the Worker. */
  readonly sql: (...statement: Statement) => Promise<SqlRow[]>;
  /** Runs several statements in one transaction, and gives the rows of each. */
  readonly sqlBatch: (statements: readonly Statement[]) => Promise<SqlRow[][]>;
  /** Applies what is missing of migrations/. */
  readonly migrate: () => Promise<void>;
  /** Ids of every key object that was ever called, sorted: the runtime makes its file at the first call. */
  readonly objects: () => Promise<string[]>;
  /**
   * Takes the database's write lock, as another process could: until the returned function is called, D1
   * answers with errors that say nothing of what was committed, and requests stay in flight.
   */
  readonly lockDatabase: () => () => void;
  /** What the Worker, the objects and workerd wrote to the log so far. */
  readonly log: readonly string[];
  /** Runs something and tells every SQL call that D1 and the objects served meanwhile. Needs `traced`. */
  readonly trace: (work: () => Promise<unknown>) => Promise<SqlCall[]>;
  /** Ends the process, and removes the state unless it has a folder of its own. */
  readonly stop: () => Promise<void>;
};

const WORKER = "latchkey";
const HOST = "127.0.0.1";

export const startServer = async (options: ServerOptions = {}): Promise<Server> => {
  const built = options.build ?? (await build());
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "latchkey-"));
  const log: string[] = [];
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      // Else it asks Cloudflare where this machine is.
      cf: false,
      resourcePersistencePath: folder,
      handleStructuredLogs: ({ message }) => log.push(message),
      workers: [workerOf(built, options), companion(d1Of(built))],
    }),
  );
  const stop = async (): Promise<void> => {
    await miniflare.dispose();
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  };
  try {
    const origin = (await miniflare.unsafeGetDirectURL(WORKER)).origin;
    const beside = await miniflare.unsafeGetDirectURL(COMPANION);

    const sqlBatch: Server["sqlBatch"] = async (statements) => runSql(beside, statements);
    const sql: Server["sql"] = async (...statement) => {
      const [rows = []] = await sqlBatch([statement]);
      return rows;
    };

    const migrate = async (): Promise<void> => {
      // The table that `wrangler d1 migrations apply` keeps.
      await sql(
        "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
      );
      const applied = await sql("SELECT name FROM d1_migrations");
      for (const { name, statements } of built.migrations) {
        if (applied.some((row) => row["name"] === name)) continue;
        await sqlBatch([
          ...statements.map((text): Statement => [text]),
          ["INSERT INTO d1_migrations (name) VALUES (?)", name],
        ]);
      }
    };

    const trace: Server["trace"] = async (work) => {
      const read = async () => takeCalls(beside);
      await untilQuiet(read);
      await work();
      return untilQuiet(read);
    };

    if (options.migrated !== false) await migrate();
    return {
      origin,
      sql,
      sqlBatch,
      migrate,
      objects: async () => (await miniflare.listDurableObjectIds("KEY_OBJECT", WORKER)).toSorted(),
      lockDatabase: () => lock(databaseFile(folder)),
      log,
      trace,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
};

/** What wrangler.toml says, with the test's secrets and changes. */
const workerOf = (
  { script, worker }: Build,
  { vars, newKeysPerMinute, traced = false }: ServerOptions,
): LegacyWorkerOptions => ({
  ...worker,
  name: WORKER,
  // Named as what it is: else it would be parsed for imports at every start.
  modules: [{ type: "ESModule", path: script }],
  modulesRoot: dirname(script),
  bindings: defined({ ...worker.bindings, ...TEST_SECRETS, ...vars }),
  ratelimits: newKeysPerMinute === "unlimited" ? {} : limited(worker.ratelimits, newKeysPerMinute),
  unsafeDirectSockets: [{ host: HOST, port: 0 }],
  ...(traced ? { streamingTails: [COMPANION] } : {}),
});

const limited = (ratelimits: LegacyWorkerOptions["ratelimits"] = {}, limit?: number) =>
  Object.fromEntries(
    Object.entries(ratelimits).map(([name, { simple, ...rest }]) => [
      name,
      { ...rest, simple: { ...simple, limit: limit ?? simple.limit } },
    ]),
  );

const d1Of = ({ worker: { d1Databases } }: Build): Pick<LegacyWorkerOptions, "d1Databases"> =>
  d1Databases === undefined ? {} : { d1Databases };

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

/** Where D1 keeps the one database: a SQLite file with a hash for a name. */
const databaseFile = (folder: string): string => {
  const d1 = join(folder, "d1", "miniflare-D1DatabaseObject");
  const [file, ...others] = readdirSync(d1).filter(
    (name) => name.endsWith(".sqlite") && name !== "metadata.sqlite",
  );
  if (file === undefined || others.length > 0)
    throw new Error(`There is not one database in ${d1}.`);
  return join(d1, file);
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
