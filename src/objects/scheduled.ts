/**
 * What the cron triggers do, each in every database: the slow pass over the journal, the reconciliation, the seals of the
 * audit log, the boundary monitor. Which of them runs is told by the trigger's expression in wrangler.toml. All of it is bounded, resumed, and
 * harmless to repeat.
 */
import { CHECKS, ENGINE_CHECKS, type Check } from "../audit/checks.ts";
import { readBoundaries } from "../audit/monitor.ts";
import { reconcile } from "../audit/reconcile.ts";
import { sealAudit } from "../audit/sealing.ts";
import { type Bindings, databasesOf } from "../env.ts";
import type { Database } from "../journal/database.ts";
import type { Orphan } from "../journal/journal.ts";
import { runSlowPass } from "../journal/slow-pass.ts";
import { isSettled } from "../idempotency/key-record.ts";
import { CRONS } from "../kernel/crons.ts";
import { systemClock, wholeSeconds } from "../kernel/clock.ts";
import {
  MONITOR_PAUSE_MS,
  MONITOR_READINGS,
  RECONCILE_STEPS_PER_RUN,
  SEALS_PER_RUN,
  SLOW_PASS_STEPS,
} from "../kernel/limits.ts";
import { callObject } from "./object-call.ts";
import { keyObjectNamed } from "./routing.ts";

/** Of our own Worker. */
export const runCron = async (cron: string, env: Bindings): Promise<void> => {
  if (cron === CRONS.minutely) return minutely(env);
  if (cron === CRONS.reconciliation) return reconcileAll(env, CHECKS, 1);
  return slowPassAll(env, 1);
};

/** Of a host, which has one trigger: everything that the engine needs, a third of each. */
export const runHourly = async (env: Bindings): Promise<void> => {
  await slowPassAll(env, 3);
  await sealAll(env, 3);
  await reconcileAll(env, ENGINE_CHECKS, 3);
};

/** Both to their end: a log that cannot be sealed is no reason to watch nothing. */
const minutely = async (env: Bindings): Promise<void> => {
  const done = await Promise.allSettled([sealAll(env), watch(env)]);
  for (const one of done) if (one.status === "rejected") throw one.reason;
};

/** Several readings, so that a minute's cron sees what a quarter of a minute brings. */
const watch = async (env: Bindings): Promise<void> => {
  const others = databasesOf(env).flatMap(([name, db]) => (name === "DB" ? [] : [db]));
  for (let reading = 1; ; reading++) {
    await readBoundaries([env.DB, ...others], systemClock());
    if (reading === MONITOR_READINGS) return;
    await scheduler.wait(MONITOR_PAUSE_MS);
  }
};

const slowPassAll = async (env: Bindings, share: number): Promise<void> => {
  const nowS = wholeSeconds(systemClock());
  return inEach(env, SLOW_PASS_STEPS / share, (db, steps) =>
    runSlowPass(db, nowS, steps, (orphan) => recover(env, orphan)),
  );
};

const sealAll = async (env: Bindings, share = 1): Promise<void> => {
  const nowMs = systemClock();
  return inEach(env, SEALS_PER_RUN / share, async (db, seals, name) => {
    const { head, made } = await sealAudit(db, nowMs, seals);
    // The log keeps a copy of the chain's head that nobody with the database alone can rewrite.
    if (head === undefined || made === 0) return;
    const { seqTo: seq, hash } = head;
    console.log(
      JSON.stringify({ level: "info", event: "audit-sealed", database: name, seq, hash }),
    );
  });
};

const reconcileAll = async (
  env: Bindings,
  checks: readonly Check[],
  share: number,
): Promise<void> => {
  const nowMs = systemClock();
  return inEach(env, RECONCILE_STEPS_PER_RUN / share, (db, steps) =>
    reconcile({
      db,
      checks,
      nowMs,
      steps,
      copyOf: (object, { key }) =>
        callObject(keyObjectNamed(env, object), (stub) => stub.copySeen(key)),
      nudge: (object, { tenant, key }) => nudge(env, object, tenant, key),
      eraseCopy: async (entry, { tenant, key }) => {
        const { object, record, forgetAtS } = entry;
        if (!isSettled(record)) return;
        await callObject(keyObjectNamed(env, object), (stub) =>
          stub.eraseCopy(tenant, key, record, forgetAtS),
        );
      },
    }),
  );
};

/**
 * In every database, to its end: one that fails does not keep the others waiting, and the run is still seen to have
 * failed.
 * @param total what an invocation can afford, for all of them together
 */
const inEach = async (
  env: Bindings,
  total: number,
  work: (db: Database, share: number, name: string) => Promise<unknown>,
): Promise<void> => {
  const databases = databasesOf(env);
  const share = Math.max(1, Math.floor(total / databases.length));
  const done = await Promise.allSettled(databases.map(([name, db]) => work(db, share, name)));
  for (const one of done) if (one.status === "rejected") throw one.reason;
};

/** Whether the key has an outcome now, or is free. An object that does not answer is asked again by the next pass. */
const nudge = async (
  env: Bindings,
  object: string,
  tenant: string,
  key: string,
): Promise<boolean> => {
  try {
    const { state } = await callObject(keyObjectNamed(env, object), (stub) =>
      stub.redrive(tenant, key, object, "", "reconciliation"),
    );
    return state === "completed" || state === "expired" || state === "free";
  } catch (error) {
    console.error(JSON.stringify({ level: "alert", event: "not-nudged", error: String(error) }));
    return false;
  }
};

/** An object that does not answer is asked again by the next pass. */
const recover = async (env: Bindings, { tenant, key, object }: Orphan): Promise<void> => {
  try {
    await callObject(keyObjectNamed(env, object), (stub) => stub.recover(tenant, key, object));
  } catch (error) {
    console.error(
      JSON.stringify({ level: "alert", event: "orphan-not-recovered", error: String(error) }),
    );
  }
};
