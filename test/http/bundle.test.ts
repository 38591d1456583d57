/** Fault 83: what the crash tests use to die on purpose does not exist in what is deployed. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { build } from "../support/build.ts";
import { buildCrashWorker } from "../support/crash-server.ts";

/** The hook, and labels as code passes them. The pages tell of crash runs, and so of labels, in the middle of sentences. */
const TRACES = [
  /["'`]before-claim["'`]/,
  /["'`]batch-sent["'`]/,
  /["'`]batch-committed["'`]/,
  /latchkeyCrashPoint/,
];

it("83: a deployed bundle holds no crash point; the crash tests' own holds them all", async () => {
  const tracesIn = (script: string) => {
    const text = readFileSync(script, "utf8");
    return TRACES.filter((trace) => trace.test(text));
  };
  const deployed = await build();
  const killed = await buildCrashWorker();
  expect(tracesIn(deployed.script)).toEqual([]);
  expect(tracesIn(killed.script)).toEqual(TRACES);
});
