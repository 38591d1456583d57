/**
 * `npm run check`: all that is checked before a test runs, two steps at a time: half of what each does is waiting for one
 * core. Every step is run, and what it printed is shown if it failed.
 */
import { spawn } from "node:child_process";
import { Complaint, collect, ended, main, root } from "./tool.ts";

/** npm scripts, the longest first, so that none is left to run alone. */
const STEPS = [
  "lint",
  "typecheck",
  "unused",
  "build",
  "build:example",
  "openapi:lint",
  "format:check",
] as const;

const AT_A_TIME = 2;

await main(async () => {
  // The example, and what is linted with its types, import the package by its name.
  const failed = (await isGood("build:package")) ? await failuresOf(STEPS) : ["build:package"];
  if (failed.length > 0) throw new Complaint(`Failed: ${failed.join(", ")}.`);
});

async function failuresOf(steps: readonly string[]): Promise<string[]> {
  const failed: string[] = [];
  const left = [...steps];
  const lane = async (): Promise<void> => {
    for (let step = left.shift(); step !== undefined; step = left.shift()) {
      if (!(await isGood(step))) failed.push(step);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, lane));
  return failed;
}

async function isGood(step: string): Promise<boolean> {
  const npm = process.env["npm_execpath"];
  if (npm === undefined) throw new Complaint("Start this as npm run check.");
  const startedAtMs = performance.now();
  // Without what goes before each when it is run by itself: the package is there.
  const child = spawn(process.execPath, [npm, "run", "--silent", "--ignore-scripts", step], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collect(child);
  const isDone = (await ended(child)) === 0;
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  console.log(`${isDone ? "✓" : "✗"} ${step} (${seconds} s)`);
  if (!isDone) console.log(output());
  return isDone;
}
