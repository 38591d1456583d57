/** What test files share: a server for a block of tests, and the routing modes that both have to pass. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, onTestFinished } from "vitest";
import { expectBooksBalanced } from "./books.ts";
import { type Server, type ServerOptions, startServer, startServers } from "./server.ts";

/** One object for all keys of a tenant, and one for each key: the same tests hold in both. */
export const ROUTINGS = ["1", "per-key"] as const;

/** For `useServers`: a server for each routing mode. */
export const EVERY_ROUTING = {
  "1": { vars: { KEY_OBJECTS: "1" } },
  "per-key": { vars: { KEY_OBJECTS: "per-key" } },
} satisfies Record<(typeof ROUTINGS)[number], ServerOptions>;

/** As for `startServers`, but another version is of a server with a name. */
type NamedOptions<Name> = Omit<ServerOptions, "versionOf"> & { readonly versionOf?: NoInfer<Name> };

/** Does something while D1 fails. */
export const whileLocked = async <Value>(
  server: Server,
  work: () => Promise<Value>,
): Promise<Value> => {
  const unlock = server.lockDatabase();
  try {
    return await work();
  } finally {
    unlock();
  }
};

/**
 * For `beforeEach`, with up to a quarter of a minute: the simulated limiter counts by minutes of the clock, and a test that
 * fills one must not meet its end.
 */
export const withinOneMinute = async (): Promise<void> => {
  const leftMs = 60_000 - (Date.now() % 60_000);
  if (leftMs < 15_000) await sleep(leftMs);
};

/** A server on state that outlives it, for as long as the work takes: one deployment after another. */
export const during = async <Value>(
  options: ServerOptions & { readonly folder: string },
  work: (server: Server) => Promise<Value>,
): Promise<Value> => {
  const server = await startServer(options);
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
};

/** Servers for the tests of this file, by name. After each test that changed something, its books must balance. */
export const useServers = <Name extends string>(
  options: Readonly<Record<Name, NamedOptions<Name>>>,
): ((name: Name) => Server) => {
  const all = Object.keys(options) as Name[];
  const servers = new Map<Name, Server>();
  beforeAll(async () => {
    const started = await startServers(
      all.map((name): ServerOptions => {
        const { versionOf, ...rest }: NamedOptions<Name> = options[name];
        return versionOf === undefined ? rest : { ...rest, versionOf: all.indexOf(versionOf) };
      }),
    );
    started.forEach((server, i) => servers.set(all[i] as Name, server));
  });
  const used = new Set<Name>();
  const checkedAt = new Map<Name, unknown>();
  afterEach(async () => {
    const names = [...used];
    used.clear();
    for (const name of names) {
      const server = servers.get(name);
      if (server === undefined || options[name].migrated === false) continue;
      const [changes] = await server.sql("SELECT total_changes() AS rows");
      if (changes?.["rows"] === checkedAt.get(name)) continue;
      checkedAt.set(name, changes?.["rows"]);
      await expectBooksBalanced(server);
    }
  });
  afterAll(async () => {
    for (const server of servers.values()) await server.stop();
  });
  return (name) => {
    used.add(name);
    const server = servers.get(name);
    if (server === undefined) throw new Error("Servers run from beforeAll to afterAll.");
    return server;
  };
};

/** `server.lockDatabase`, undone at the latest when the test ends, however it ends. */
export const lockDatabase = (server: Server): (() => void) => {
  const unlock = server.lockDatabase();
  onTestFinished(unlock);
  return unlock;
};
