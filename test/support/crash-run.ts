/** One crash run: a server that is killed again and again, clients that carry on, and the verdict at the end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CrashPoint } from "../../src/kernel/crash-point.ts";
import type { Build } from "./build.ts";
import { checkLedger, checkRun, FINAL_WITHIN_MS, type Verdict } from "./crash-checker.ts";
import { Clients } from "./crash-clients.ts";
import { History, readHistory } from "./crash-history.ts";
import { Random } from "./crash-random.ts";
import { type Arming, CrashServer, type Expiry } from "./crash-server.ts";

/** How keys are spread over objects: `KEY_OBJECTS`, or another value of it in every life. */
export type Mode = "1" | "per-key" | "changing";

/** A labelled point, or any moment. */
export type KillAt = CrashPoint | "any-moment";

/** With a number: the how-manieth time the point is reached; else that is drawn. */
export type Kill = KillAt | readonly [CrashPoint, number];

export type CrashPlan = {
  readonly seed: number;
  readonly mode: Mode;
  /** One for each life of the server but the last. */
  readonly kills: readonly Kill[];
  readonly expiry?: Expiry;
  /** A point that is not reached within this time is replaced by the moment. */
  readonly reachWithinMs: number;
};

export type CrashHooks = {
  readonly afterKill?: (kills: number) => void;
  /** While the last life still runs, when every client has its outcome. */
  readonly beforeEnd?: (server: CrashServer, clients: Clients) => Promise<void>;
};

/** Early kills may have stopped every client at its first step: then there is business after the last restart. */
const BEGUN_MIN = 100;
const BEGIN_WITHIN_MS = 3_000;

/** What was sent to the database before has arrived by then. */
const SETTLE_MS = 250;

/** Runs to its end, whatever breaks; the folder is kept only if something did. */
export const runCrashes = async (
  build: Build,
  plan: CrashPlan,
  hooks: CrashHooks = {},
): Promise<Verdict> => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-crash-"));
  const random = new Random(plan.seed);
  const history = new History(join(folder, "history.jsonl"));
  const server = new CrashServer(build, folder);
  const clients = new Clients({ target: server, history, random: random.fork("clients") });
  const imbalances: string[] = [];
  const start = async (arming?: Arming, last = false): Promise<void> => {
    const keyObjects =
      plan.mode === "changing" ? random.pick(["1", "3", "16", "per-key"]) : plan.mode;
    await server.start({
      keyObjects,
      last,
      ...(arming === undefined ? {} : { arming }),
      ...(plan.expiry === undefined ? {} : { expiry: plan.expiry }),
    });
    history.write({ kind: "start", keyObjects });
  };
  try {
    history.write({ kind: "run", seed: plan.seed, mode: plan.mode });
    clients.start();
    for (const [i, kill] of plan.kills.entries()) {
      const arming = armingOf(kill, random);
      await start(arming);
      const reached = await isReached(server, arming, plan.reachWithinMs, random);
      await server.kill();
      history.write({ kind: "kill", point: (reached && arming?.point) || "any-moment" });
      imbalances.push(...checkLedger(server.copyDatabase()));
      hooks.afterKill?.(i + 1);
    }
    await start(undefined, true);
    const restartedAtMs = Date.now();
    while (clients.begun < BEGUN_MIN && Date.now() < restartedAtMs + BEGIN_WITHIN_MS) {
      await sleep(10);
    }
    await clients.finish(restartedAtMs + FINAL_WITHIN_MS);
    await clients.askAgain();
    await hooks.beforeEnd?.(server, clients);
    await sleep(SETTLE_MS);
    await server.kill();
    const verdict = checkRun(readHistory(history.file), server.copyDatabase());
    return withImbalances(verdict, imbalances, folder);
  } finally {
    await clients.stop();
    await server.close();
    history.close();
  }
};

export const armingOf = (kill: Kill, random: Random): Arming | undefined => {
  if (kill === "any-moment") return undefined;
  const point = typeof kill === "string" ? kill : kill[0];
  const countdown = typeof kill === "string" ? random.int(...COUNTDOWNS[point]) : kill[1];
  return { point, countdown, delayMs: delayMsOf(point, random) };
};

/**
 * What was begun at these two points goes on: the batch may commit, the answer may leave, before the end comes or
 * not. Mostly the end comes within the few milliseconds that a batch takes.
 */
const delayMsOf = (point: CrashPoint, random: Random): number => {
  if (point !== "batch-sent" && point !== "answer-sent") return 0;
  return random.chance(0.7) ? random.int(0, 4) : random.int(5, 15);
};

/** Some business is done before each kill: so often is the point reached, at least and at most. */
const COUNTDOWNS: Readonly<Record<CrashPoint, readonly [number, number]>> = {
  queued: [1, 100],
  "before-claim": [1, 50],
  "batch-sent": [1, 50],
  "batch-committed": [1, 50],
  "answer-sent": [1, 100],
  "copy-written": [1, 5],
  "async-accepted": [1, 10],
  recovery: [1, 1],
  sweep: [1, 1],
  alarm: [1, 1],
  "exchange-claimed": [1, 20],
  "exchange-intent": [1, 20],
  "exchange-sent": [1, 20],
  "exchange-answered": [1, 20],
  "exchange-stored": [1, 20],
  "exchange-final": [1, 5],
};

/** Waits until it is time to kill; false if a point was armed and not reached. */
export const isReached = async (
  server: CrashServer,
  arming: Arming | undefined,
  withinMs: number,
  random: Random,
): Promise<boolean> => {
  if (arming === undefined) {
    await sleep(random.int(0, 700));
    return true;
  }
  const cancel = new AbortController();
  const late = sleep(withinMs, false, { signal: cancel.signal }).catch(() => false);
  const reached = await Promise.race([server.reached().then(() => true), late]);
  cancel.abort();
  return reached;
};

export const withImbalances = <Result extends { readonly imbalance: number }>(
  { result, violations }: { readonly result: Result; readonly violations: readonly string[] },
  imbalances: readonly string[],
  folder: string,
): { readonly result: Result; readonly violations: readonly string[] } => {
  const all = [...violations, ...imbalances.map((sentence) => `imbalance in between: ${sentence}`)];
  if (all.length === 0) rmSync(folder, { recursive: true, force: true });
  else all.push(`History, database and server log are kept in ${folder}.`);
  return {
    result: { ...result, imbalance: result.imbalance + imbalances.length },
    violations: all,
  };
};

/** A broken run breaks everywhere: the first sentences tell what, the last where to look. */
export const shortened = (sentences: readonly string[]): string[] =>
  sentences.length <= SENTENCES_MAX
    ? [...sentences]
    : [
        ...sentences.slice(0, SENTENCES_MAX - 1),
        `… and ${sentences.length - SENTENCES_MAX} more.`,
        ...sentences.slice(-1),
      ];

const SENTENCES_MAX = 20;
