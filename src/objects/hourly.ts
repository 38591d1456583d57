/** What the cron trigger does: the slow pass, in every database. */
import { type Bindings, databasesOf } from "../env.ts";
import { runSlowPass } from "../journal/slow-pass.ts";
import { systemClock, wholeSeconds } from "../kernel/clock.ts";
import { SLOW_PASS_STEPS } from "../kernel/limits.ts";

export const runHourly = async (env: Bindings): Promise<void> => {
  const nowS = wholeSeconds(systemClock());
  const databases = databasesOf(env);
  const steps = Math.max(1, Math.floor(SLOW_PASS_STEPS / databases.length));
  // Each to its end: one that fails does not keep the others waiting, and the run is still seen to have failed.
  const passes = await Promise.allSettled(databases.map(([, db]) => runSlowPass(db, nowS, steps)));
  for (const pass of passes) if (pass.status === "rejected") throw pass.reason;
};
