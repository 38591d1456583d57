/** What the cron trigger does: the slow pass, in every database, which also asks after claims that nobody cares for. */
import { type Bindings, databasesOf } from "../env.ts";
import type { Orphan } from "../journal/journal.ts";
import { runSlowPass } from "../journal/slow-pass.ts";
import { systemClock, wholeSeconds } from "../kernel/clock.ts";
import { SLOW_PASS_STEPS } from "../kernel/limits.ts";
import { callObject } from "./object-call.ts";
import { keyObjectNamed } from "./routing.ts";

export const runHourly = async (env: Bindings): Promise<void> => {
  const nowS = wholeSeconds(systemClock());
  const databases = databasesOf(env);
  const steps = Math.max(1, Math.floor(SLOW_PASS_STEPS / databases.length));
  // Each to its end: one that fails does not keep the others waiting, and the run is still seen to have failed.
  const passes = await Promise.allSettled(
    databases.map(([, db]) => runSlowPass(db, nowS, steps, (orphan) => recover(env, orphan))),
  );
  for (const pass of passes) if (pass.status === "rejected") throw pass.reason;
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
