/**
 * A server that can be killed. Each life is a process group of its own, Node and workerd, over one folder that
 * outlives it: Durable Object storage, alarms and D1 as files. `kill` is SIGKILL to the whole group, so that
 * nothing which was only in memory can be left, and it returns when nothing of the group runs any more.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { V4MiniflareOptions } from "miniflare";
import type { CrashPoint } from "../../src/kernel/crash-point.ts";
import { quiet, root } from "../../scripts/tool.ts";
import { type Build, build } from "./build.ts";

/** What is said over the IPC channel of the server process. */
export type ToServer =
  | {
      readonly do: "start";
      readonly options: V4MiniflareOptions;
      /** Statements that make the schema, for a folder that is new. */
      readonly schema?: readonly string[];
    }
  | { readonly do: "query"; readonly sql: string };

export type FromServer =
  | { readonly is: "waiting" }
  | { readonly is: "ready"; readonly url: string }
  | { readonly is: "rows"; readonly rows: readonly Record<string, unknown>[] }
  | { readonly is: "failed"; readonly reason: string };

/** Worth nothing elsewhere. */
export const TOKEN_SECRET = "crash-test-token-secret-0123456789abcdefghijkl";
const FINGERPRINT_SECRET = "crash-test-fingerprint-secret-0123456789abcdef";

/** A loaded machine starts workerd in ten seconds; a start that takes longer has failed. */
const START_TIMEOUT_MS = 30_000;
/** How long the kernel may take to end a group that was killed. */
const END_TIMEOUT_MS = 10_000;

/** The Worker as it would be deployed, but for its crash points, which are in. */
export const buildCrashWorker = (): Promise<Build> =>
  build({ entry: "test/support/crash-worker.ts", define: { CRASH_POINTS: "true" } });

/** Where the server is to die. */
export type Arming = {
  readonly point: CrashPoint;
  /** The how-manieth time that the point is reached. */
  readonly countdown: number;
  /** Between the report and the SIGKILL: what was begun before the point gets that much further. */
  readonly delayMs: number;
};

export type Expiry = {
  readonly keyLifetimeSeconds: number;
  readonly sweepSeconds: number;
  /** Thirty days, unless said. */
  readonly tombstoneSeconds?: number;
};

export type Life = {
  /** `KEY_OBJECTS`. */
  readonly keyObjects: string;
  readonly arming?: Arming;
  /** Unless given, keys outlive the run, and nothing is swept. */
  readonly expiry?: Expiry;
  /** Vars and secrets beside the usual ones. */
  readonly vars?: Readonly<Record<string, string>>;
  /** No other life will follow. */
  readonly last?: boolean;
};

export class CrashServer {
  readonly #build: Build;
  readonly #folder: string;
  readonly #controller: Server;
  /** The next life's process: it loads what it needs while this one runs. */
  #spare: ServerProcess | undefined;
  #current: { readonly process: ServerProcess; readonly url: URL } | undefined;
  #arming: Arming | undefined;
  #reached = Promise.withResolvers<void>();
  #lives = 0;

  /** @param folder empty or new; belongs to this server until it is closed */
  constructor(built: Build, folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#build = built;
    this.#folder = folder;
    this.#spare = this.#newProcess();
    this.#controller = createServer((request) => {
      // Not answered: the Worker waits at its crash point until it is dead.
      void text(request).then((point) => {
        if (point === this.#arming?.point) setTimeout(this.#reached.resolve, this.#arming.delayMs);
      });
    });
  }

  #newProcess(): ServerProcess {
    return new ServerProcess(join(this.#folder, "server.log"));
  }

  /** Undefined while it is dead. */
  get url(): URL | undefined {
    return this.#current?.url;
  }

  /** The process group of this life. */
  get group(): number | undefined {
    return this.#current?.process.group;
  }

  /** Bytes of what lies on the disk: the database, and all objects' storage. */
  stateBytes(): { readonly database: number; readonly objects: number } {
    const state = join(this.#folder, "state");
    return { database: bytesIn(join(state, "d1")), objects: bytesIn(join(state, "do")) };
  }

  /** Another life over the same folder. */
  async start({ keyObjects, arming, expiry, vars = {}, last = false }: Life): Promise<void> {
    if (this.#current !== undefined) throw new Error("The server runs already.");
    this.#arming = arming;
    this.#reached = Promise.withResolvers();
    const server = this.#spare ?? this.#newProcess();
    const url = await server.start({
      do: "start",
      options: {
        ...this.#build.worker,
        name: "latchkey",
        // Named as what it is: Miniflare would else parse the bundle for its imports at every start.
        modules: [{ type: "ESModule", path: this.#build.script }],
        modulesRoot: dirname(this.#build.script),
        // Its counters are in memory only, and how many new keys are too many is not the question here.
        ratelimits: {},
        unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
        cf: false,
        resourcePersistencePath: join(this.#folder, "state"),
        resourceTmpPath: join(this.#folder, "tmp"),
        bindings: {
          ...this.#build.worker.bindings,
          TOKEN_SECRET,
          FINGERPRINT_SECRET,
          KEY_OBJECTS: keyObjects,
          ...vars,
          CRASH_CONTROLLER: await this.#controllerUrl(),
          ...(arming === undefined
            ? {}
            : { CRASH_POINT: arming.point, CRASH_COUNTDOWN: String(arming.countdown) }),
          ...(expiry === undefined
            ? {}
            : {
                CRASH_KEY_LIFETIME_SECONDS: String(expiry.keyLifetimeSeconds),
                CRASH_SWEEP_SECONDS: String(expiry.sweepSeconds),
                ...(expiry.tombstoneSeconds === undefined
                  ? {}
                  : { CRASH_TOMBSTONE_SECONDS: String(expiry.tombstoneSeconds) }),
              }),
        },
      },
      ...(this.#lives === 0 ? { schema: schemaOf(this.#build) } : {}),
    });
    this.#lives += 1;
    this.#current = { process: server, url };
    this.#spare = last ? undefined : this.#newProcess();
  }

  /** Resolves when the armed point was reached and its delay has passed: kill now. */
  reached(): Promise<void> {
    return this.#reached.promise;
  }

  /** SIGKILL to the group. Resolves when no process of it holds a socket or a file any more. */
  async kill(): Promise<void> {
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    current.process.kill();
    await current.process.exited;
    const giveUpAtMs = Date.now() + END_TIMEOUT_MS;
    while (await accepts(current.url)) {
      if (Date.now() > giveUpAtMs) throw new Error("workerd outlived the SIGKILL of its group.");
      await sleep(2);
    }
  }

  /** Runs SQL through the server's own binding: behind every batch that has reached the database. */
  async query(sql: string): Promise<readonly Record<string, unknown>[]> {
    if (this.#current === undefined) throw new Error("The server does not run.");
    return this.#current.process.query(sql);
  }

  /** Copies the database of a server that is dead, and gives the copy's path. */
  copyDatabase(): string {
    if (this.#current !== undefined) throw new Error("The server writes to its database.");
    const folder = join(this.#folder, "state", "d1", "miniflare-D1DatabaseObject");
    const [name, ...others] = readdirSync(folder).filter(
      (file) => file.endsWith(".sqlite") && file !== "metadata.sqlite",
    );
    if (name === undefined || others.length > 0) throw new Error("There should be one database.");
    const copy = join(this.#folder, "copy.sqlite");
    for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
    copyFileSync(join(folder, name), copy);
    // What was committed last may be in the write-ahead log alone. Its index is made anew.
    const log = join(folder, `${name}-wal`);
    if (existsSync(log)) copyFileSync(log, `${copy}-wal`);
    return copy;
  }

  async close(): Promise<void> {
    await this.kill();
    this.#spare?.kill();
    await this.#spare?.exited;
    this.#controller.closeAllConnections();
    this.#controller.close();
  }

  async #controllerUrl(): Promise<string> {
    if (!this.#controller.listening) {
      await new Promise<void>((resolve) => {
        this.#controller.listen(0, "127.0.0.1", resolve);
      });
    }
    const address = this.#controller.address();
    if (address === null || typeof address === "string") throw new Error("No controller.");
    return `http://127.0.0.1:${address.port}/`;
  }
}

/** The migrations, and the table in which wrangler notes that they were applied. */
const schemaOf = ({ migrations }: Build): string[] => [
  "CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
  ...migrations.flatMap(({ name, statements }) => [
    ...statements,
    `INSERT INTO d1_migrations (name) VALUES ('${name}')`,
  ]),
];

/** Half of a start is compiling Miniflare: Node keeps what it has compiled there. */
const NODE_COMPILE_CACHE = join(root, "node_modules/.cache/node-compile");

/** One process group: Node, and workerd below it once it has started. */
class ServerProcess {
  readonly #child: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly #messages: FromServer[] = [];
  #arrived = Promise.withResolvers<void>();

  /** @param log file to which everything is appended that the group prints */
  constructor(log: string) {
    const out = openSync(log, "a");
    this.#child = spawn(
      process.execPath,
      [fileURLToPath(new URL("crash-process.ts", import.meta.url))],
      {
        cwd: root,
        env: { ...process.env, ...quiet, NODE_COMPILE_CACHE },
        detached: true,
        stdio: ["ignore", out, out, "ipc"],
      },
    );
    closeSync(out);
    this.exited = new Promise((resolve) => {
      this.#child.once("exit", resolve);
      this.#child.once("error", resolve);
    });
    this.#child.on("message", (message: FromServer) => {
      this.#messages.push(message);
      this.#arrived.resolve();
    });
    void this.exited.then(() => {
      this.#messages.push({ is: "failed", reason: "The server process has ended." });
      this.#arrived.resolve();
    });
  }

  async start(message: Extract<ToServer, { do: "start" }>): Promise<URL> {
    await this.#expect("waiting");
    this.#child.send(message);
    return new URL((await this.#expect("ready")).url);
  }

  get group(): number | undefined {
    return this.#child.pid;
  }

  async query(sql: string): Promise<readonly Record<string, unknown>[]> {
    this.#child.send({ do: "query", sql } satisfies ToServer);
    return (await this.#expect("rows")).rows;
  }

  kill(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }

  async #expect<Kind extends FromServer["is"]>(
    kind: Kind,
  ): Promise<Extract<FromServer, { is: Kind }>> {
    const late = AbortSignal.timeout(START_TIMEOUT_MS);
    for (;;) {
      const message = this.#messages.shift();
      if (message?.is === kind) return message as Extract<FromServer, { is: Kind }>;
      if (message !== undefined) throw new Error(`The server process: ${JSON.stringify(message)}`);
      if (late.aborted) throw new Error("The server process says nothing.");
      this.#arrived = Promise.withResolvers();
      await Promise.race([this.#arrived.promise, sleep(500)]);
    }
  }
}

const bytesIn = (folder: string): number =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) =>
          // It may be gone since it was listed.
          statSync(join(parentPath, name), { throwIfNoEntry: false }),
        )
        .reduce((sum, stat) => sum + (stat?.size ?? 0), 0)
    : 0;

const accepts = (url: URL): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
