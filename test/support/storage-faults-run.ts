/** One run with stores that fail: clients that carry on over HTTP, and the verdict of the crash runs' checker. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Build, build } from "./build.ts";
import { checkRun, FINAL_WITHIN_MS, type Verdict } from "./crash-checker.ts";
import { Clients } from "./crash-clients.ts";
import { History, readHistory } from "./crash-history.ts";
import { Random } from "./crash-random.ts";
import { CrashServer } from "./crash-server.ts";

export type StorageFaultsPlan = {
  readonly seed: number;
  /** How many HTTP requests, at least. */
  readonly requests: number;
  /** How long the database does not answer at all, once, in the middle. */
  readonly stallMs: number;
  readonly clientsPerTenant: number;
  readonly onProgress?: (requests: number) => void;
};

/** What was sent to the database before has arrived by then. */
const SETTLE_MS = 500;

/** The Worker with stores that fail, and a second namespace for the other incarnations. */
const buildFaultyWorker = async (seed: number): Promise<Build> => {
  const built = await build({ entry: "test/support/storage-faults-worker.ts" });
  return {
    ...built,
    worker: {
      ...built.worker,
      bindings: { ...built.worker.bindings, FAULT_SEED: String(seed) },
      durableObjects: {
        ...built.worker.durableObjects,
        KEY_OBJECT_TWIN: { className: "KeyObjectTwin", useSQLite: true },
      },
    },
  };
};

/** Runs to its end, whatever breaks; the folder is kept only if something did. */
export const runStorageFaults = async (plan: StorageFaultsPlan): Promise<Verdict> => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-faults-"));
  const server = new CrashServer(await buildFaultyWorker(plan.seed), folder);
  const history = new History(join(folder, "history.jsonl"));
  const { seed, clientsPerTenant } = plan;
  const clients = new Clients({
    target: server,
    history,
    random: new Random(seed).fork("clients"),
    clientsPerTenant,
  });
  const suffer = async (faults: "seeded" | "stalled" | "none"): Promise<void> => {
    const answer = await fetch(new URL("/faults", server.url), { method: "POST", body: faults });
    if (answer.status !== 204) throw new Error(`/faults answered ${answer.status}.`);
  };
  const sent = async (requests: number): Promise<void> => {
    while (clients.sends < requests) {
      plan.onProgress?.(clients.sends);
      await sleep(250);
    }
  };
  try {
    history.write({ kind: "run", seed, mode: "storage faults" });
    await server.start({ keyObjects: "3", last: true });
    history.write({ kind: "start", keyObjects: "3" });
    await suffer("seeded");
    clients.start();
    await sent(plan.requests / 2);
    await suffer("stalled");
    await sleep(plan.stallMs);
    await suffer("seeded");
    await sent(plan.requests);
    await suffer("none");
    // From here on every key has ten seconds to become final.
    history.write({ kind: "start", keyObjects: "3" });
    await clients.finish(Date.now() + FINAL_WITHIN_MS);
    await clients.askAgain();
    // Whatever is still on its way changes nothing.
    await suffer("none");
    await sleep(SETTLE_MS);
    await server.kill();
    const verdict = checkRun(readHistory(history.file), server.copyDatabase());
    if (verdict.violations.length === 0) {
      rmSync(folder, { recursive: true, force: true });
      return verdict;
    }
    return {
      ...verdict,
      violations: [...verdict.violations, `History and database are kept in ${folder}.`],
    };
  } finally {
    await clients.stop();
    await server.close();
    history.close();
  }
};
