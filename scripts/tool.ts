/**
 * Starts the project's tools with the Node that runs this script, so that what is installed beside a
 * newer Node is never started by an older one on the PATH.
 */
import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url).href);

/** Nothing is sent home, and no news of other versions is printed. */
export const quiet = {
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_SEND_ERROR_REPORTS: "false",
  WRANGLER_HIDE_BANNER: "true",
  // Else the local runtime asks Cloudflare where this machine is, and complains when it is offline.
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  REDOCLY_TELEMETRY: "off",
  REDOCLY_SUPPRESS_UPDATE_NOTICE: "true",
};

const entries = {
  wrangler: "node_modules/wrangler/bin/wrangler.js",
  tsc: "node_modules/typescript/bin/tsc",
  redocly: "node_modules/@redocly/cli/bin/cli.js",
} as const;

type Start = {
  readonly stdio: StdioOptions;
  /** In a process group of its own, so that `stopGroup` reaches what it starts in turn. */
  readonly ownGroup?: boolean;
};

export const start = (
  tool: keyof typeof entries,
  args: readonly string[],
  { stdio, ownGroup = false }: Start,
): ChildProcess =>
  spawn(process.execPath, [entries[tool], ...args], {
    cwd: root,
    env: { ...process.env, ...quiet },
    stdio,
    detached: ownGroup && process.platform !== "win32",
  });

/** Runs a tool to its end with its output shown. Resolves to the exit code. */
export const run = async (
  tool: keyof typeof entries,
  args: readonly string[],
  { mayAsk = false }: { readonly mayAsk?: boolean } = {},
): Promise<number> =>
  ended(start(tool, args, { stdio: [mayAsk ? "inherit" : "ignore", "inherit", "inherit"] }));

/** Runs a tool to its end and keeps what it prints, both streams in the order they came. */
export const runQuietly = async (
  tool: keyof typeof entries,
  args: readonly string[],
): Promise<{ readonly code: number; readonly output: string }> => {
  const child = start(tool, args, { stdio: ["ignore", "pipe", "pipe"] });
  const output = collect(child);
  return { code: await ended(child), output: output() };
};

/** Everything the process has printed so far, whenever it is called. */
export const collect = (child: ChildProcess): (() => string) => {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  }
  return () => text;
};

/** Resolves when the process is gone. A signal counts as a failure. */
export const ended = async (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });

/** Signals a process started with `ownGroup` and all its children. Harmless when they are gone. */
export const stopGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? child.pid : -child.pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
};

/** A message for the person at the terminal: printed as it is, without a stack. */
export class Complaint extends Error {}

/** Runs a script's main function; the exit code says whether it did what it is for. */
export const main = async (script: () => Promise<void>): Promise<void> => {
  try {
    await script();
  } catch (error) {
    console.error(error instanceof Complaint ? error.message : error);
    process.exitCode = 1;
  }
};
