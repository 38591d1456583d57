/**
 * The Worker as `wrangler deploy` would upload it, built by wrangler from wrangler.toml and kept under a
 * hash of everything it is built from: a test run, a benchmark and the next run of either build at most once,
 * and never use a stale bundle.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LegacyWorkerOptions } from "miniflare";
import { z } from "zod";
import { quiet, root, runQuietly } from "../../scripts/tool.ts";

export type BuildOptions = {
  /** The entry, from the root of the project; else `main` of wrangler.toml. May import from its folder. */
  readonly entry?: string;
  /** Replaces names in the source, as `[define]` of wrangler.toml does: `{ CRASH_POINTS: "true" }`. */
  readonly define?: Readonly<Record<string, string>>;
  /** Another Worker's configuration, which imports this package by its name; its migrations stand beside it. */
  readonly config?: string;
};

const OWN_CONFIG = "wrangler.toml";

export type Migration = { readonly name: string; readonly statements: readonly string[] };

export type Build = {
  /** Path of the bundled script, one module. */
  readonly script: string;
  /** What else wrangler.toml says, in miniflare's words: all of it, though only this much has a type. */
  readonly worker: Pick<LegacyWorkerOptions, "bindings" | "durableObjects" | "ratelimits">;
  /** The files of migrations/, in order, each split into its statements. */
  readonly migrations: readonly Migration[];
};

const kept = join(root, "node_modules/.cache/latchkey-builds");
/** No run lasts longer, so a bundle this old and not the wanted one is in nobody's use. */
const KEEP_MS = 60 * 60 * 1000;
/** A build takes seconds. A lock older than this was left by a process that was killed. */
const LOCK_STALE_MS = 120_000;

/** Builds, unless the same sources have been built before. Processes that ask at once share one build. */
export const build = async (options: BuildOptions = {}): Promise<Build> => {
  const folder = join(kept, inputsHash(options));
  const lock = `${folder}.lock`;
  mkdirSync(kept, { recursive: true });
  while (!existsSync(folder)) {
    if (!tryLock(lock)) {
      await sleep(50);
      continue;
    }
    try {
      if (!existsSync(folder)) await make(folder, options);
    } finally {
      rmSync(lock, { recursive: true, force: true });
    }
  }
  // In use, so it is not old.
  utimesSync(folder, new Date(), new Date());
  // Written by `make`.
  return JSON.parse(readFileSync(join(folder, "build.json"), "utf8")) as Build;
};

const make = async (
  folder: string,
  { entry, define = {}, config = OWN_CONFIG }: BuildOptions,
): Promise<void> => {
  Object.assign(process.env, quiet, { WRANGLER_LOG: "error" });
  forgetOldBuilds();
  const making = `${folder}.making`;
  rmSync(making, { recursive: true, force: true });
  if (config !== OWN_CONFIG) await makePackage();
  const { code, output } = await runQuietly("wrangler", [
    "deploy",
    "--config",
    config,
    ...(entry === undefined ? [] : [entry]),
    "--dry-run",
    "--outdir",
    making,
    ...Object.entries(define).flatMap(([name, value]) => ["--define", `${name}:${value}`]),
  ]);
  if (code !== 0) throw new Error(`The Worker could not be built:\n${output}`);
  const script = readdirSync(making).find((name) => name.endsWith(".js"));
  if (script === undefined) throw new Error(`wrangler wrote no script:\n${output}`);

  // Here and not above: wrangler takes a second to load, and a bundle that is kept does not need it.
  const wrangler = await import("wrangler");
  const path = join(root, config);
  const { modulesRules: _, ...worker } =
    wrangler.unstable_getMiniflareWorkerOptions(path).workerOptions;
  const { vars } = configSchema.parse(wrangler.unstable_readConfig({ config: path }));
  const migrationsFolder = join(dirname(path), "migrations");
  const migrations = readdirSync(migrationsFolder)
    .filter((name) => name.endsWith(".sql"))
    .toSorted()
    .map((name) => ({
      name,
      statements: wrangler.unstable_splitSqlQuery(
        readFileSync(join(migrationsFolder, name), "utf8"),
      ),
    }));
  const built: Build = {
    script: join(folder, script),
    // The vars alone: wrangler would add the secrets of whoever runs this.
    worker: { ...worker, bindings: vars },
    migrations,
  };
  writeFileSync(join(making, "build.json"), JSON.stringify(built));
  renameSync(making, folder);
};

/** What other Workers import. */
const makePackage = async (): Promise<void> => {
  const { code, output } = await runQuietly("tsc", ["-p", "tsconfig.package.json"]);
  if (code !== 0) throw new Error(`The package could not be built:\n${output}`);
};

const configSchema = z.object({ vars: z.record(z.string(), z.json()) });

/** Everything that decides what comes out. */
const inputsHash = (options: BuildOptions): string => {
  const hash = createHash("sha256").update(JSON.stringify(options));
  const files = [
    OWN_CONFIG,
    "package.json",
    "package-lock.json",
    "tsconfig.package.json",
    "test/support/build.ts",
    ...filesIn("src"),
    ...filesIn("migrations"),
    ...(options.entry === undefined ? [] : filesIn(dirname(options.entry))),
    ...(options.config === undefined ? [] : filesIn(dirname(options.config))),
  ];
  for (const file of files) hash.update(`\n${file}\n`).update(readFileSync(join(root, file)));
  return hash.digest("hex").slice(0, 32);
};

const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .toSorted();

const tryLock = (lock: string): boolean => {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    const sinceMs = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
    if (sinceMs !== undefined && Date.now() - sinceMs > LOCK_STALE_MS) {
      rmSync(lock, { recursive: true, force: true });
    }
    return false;
  }
};

const forgetOldBuilds = (): void => {
  for (const name of readdirSync(kept)) {
    const path = join(kept, name);
    const sinceMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - sinceMs > KEEP_MS) rmSync(path, { recursive: true, force: true });
  }
};
