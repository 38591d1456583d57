/**
 * SIGKILL to the whole server, Node and workerd, while clients do business with it; then the same folder is served
 * again. What each crash point leaves a retry with is the table of the architecture's section 3; what is judged here
 * is the promise: one effect, one answer, balanced books, and nothing left open. Each run prints its result with its
 * seed; `CRASH_SEED=7 npm run test:crash` takes that seed for all of them. Two run at a time: half of a run is waiting.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import type { Build } from "../support/build.ts";
import { type CrashHooks, type CrashPlan, runCrashes, shortened } from "../support/crash-run.ts";
import { buildCrashWorker, type CrashServer } from "../support/crash-server.ts";

let built: Build;

beforeAll(async () => {
  built = await buildCrashWorker();
});

/** Of account openings: the retry finds a claim in its way, and that is a recovery. (A refund reads first.) */
const FIRST_COMMIT = ["batch-committed", 1] as const;

/** Every point here is passed within a second; a busy machine gets longer. */
const REACH_WITHIN_MS = 30_000;

/** What the run has broken of the promise, each a sentence with the seed; prints the run's result. */
const brokenBy = async (
  plan: Omit<CrashPlan, "seed" | "reachWithinMs">,
  hooks?: CrashHooks,
): Promise<string[]> => {
  const seed = Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 1_000_000));
  const { result, violations } = await runCrashes(
    built,
    { seed, reachWithinMs: REACH_WITHIN_MS, ...plan },
    hooks,
  );
  console.log(JSON.stringify(result));
  const missed = plan.kills
    .map((kill) => (typeof kill === "string" ? kill : kill[0]))
    .filter((point) => !(point in result.points))
    .map((point) => `The point ${point} was not reached.`);
  return shortened([...violations, ...missed]).map((sentence) => `seed ${seed}: ${sentence}`);
};

test.concurrent("36 SIGKILL before the claim is sent, also of what was accepted: the retry or the alarm runs it, once", async () => {
  const kills = ["queued", "before-claim", "async-accepted"] as const;
  expect(await brokenBy({ mode: "1", kills })).toEqual([]);
});

test.concurrent("37 SIGKILL while the batch is on its way: the retry replays or runs, never both", async () => {
  const kills = ["batch-sent", "batch-sent", "batch-sent"] as const;
  expect(await brokenBy({ mode: "1", kills })).toEqual([]);
});

test.concurrent("38 SIGKILL after the commit: the retry is told what was committed", async () => {
  const kills = ["batch-committed", "copy-written", "answer-sent"] as const;
  expect(await brokenBy({ mode: "1", kills })).toEqual([]);
});

test.concurrent("39 SIGKILL at any moment: one effect, one answer, and every key becomes final", async () => {
  const kills = ["any-moment", "any-moment", "any-moment"] as const;
  expect(await brokenBy({ mode: "1", kills })).toEqual([]);
});

test.concurrent("40 SIGKILL in the alarm and in the sweep: keys are swept all the same, and never run again", async () => {
  const beforeEnd: CrashHooks["beforeEnd"] = async (server, clients) => {
    await allSwept(server);
    // Every key once more: if one of them runs, the checker finds its second effect.
    await clients.askAgain();
  };
  const expiry = { keyLifetimeSeconds: 2, sweepSeconds: 1 };
  const plan = { mode: "1", kills: ["alarm", "sweep"], expiry } as const;
  expect(await brokenBy(plan, { beforeEnd })).toEqual([]);
});

test.concurrent("41 SIGKILL in the recovery from a SIGKILL, and again: one effect, one answer", async () => {
  const kills = [FIRST_COMMIT, "recovery", "recovery"] as const;
  expect(await brokenBy({ mode: "1", kills })).toEqual([]);
});

test.concurrent("36–41 with one object per key: one effect, one answer, and every key becomes final", async () => {
  const kills = [
    FIRST_COMMIT,
    "recovery",
    "before-claim",
    "batch-sent",
    "copy-written",
    "answer-sent",
  ] as const;
  expect(await brokenBy({ mode: "per-key", kills })).toEqual([]);
});

test.concurrent("49 KEY_OBJECTS is another after each SIGKILL: the new object finds what the old one did", async () => {
  const kills = ["batch-committed", "answer-sent"] as const;
  expect(await brokenBy({ mode: "changing", kills })).toEqual([]);
});

/** Waits until no answer is left in the journal: every key has expired, and its object has swept it. */
const allSwept = async (server: CrashServer): Promise<void> => {
  const giveUpAtMs = Date.now() + SWEPT_WITHIN_MS;
  for (;;) {
    const [row] = await server.query(
      "SELECT COUNT(*) AS unswept FROM journal WHERE body IS NOT NULL",
    );
    if (row?.["unswept"] === 0) return;
    if (Date.now() > giveUpAtMs) throw new Error(`${String(row?.["unswept"])} keys are not swept.`);
    await sleep(100);
  }
};

/** Keys live for two seconds here, and sweeps are a second apart. */
const SWEPT_WITHIN_MS = 15_000;
