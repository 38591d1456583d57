/** The entry: what Cloudflare calls. No logic. */
import { createApp } from "./app.ts";
import { type Bindings, databaseNamed, databaseNames } from "./env.ts";
import { runSlowPass } from "./journal/slow-pass.ts";
import { SLOW_PASS_STEPS } from "./kernel/limits.ts";
import { systemClock, wholeSeconds } from "./kernel/clock.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { TenantObject } from "./objects/tenant-object.ts";
import { operations, queries } from "./operations/registry.ts";

const app = createApp({ operations, queries });

export default {
  fetch: app.fetch,
  scheduled: async (_controller, env) => {
    const nowS = wholeSeconds(systemClock());
    const databases = databaseNames(env).flatMap((name) => databaseNamed(env, name) ?? []);
    const steps = Math.max(1, Math.floor(SLOW_PASS_STEPS / databases.length));
    // Each to its end: one that fails does not keep the others waiting, and the run is still seen to have failed.
    const passes = await Promise.allSettled(databases.map((db) => runSlowPass(db, nowS, steps)));
    for (const pass of passes) if (pass.status === "rejected") throw pass.reason;
  },
} satisfies ExportedHandler<Bindings>;

export class KeyObject extends keyObjectFor(operations) {}

export { RevocationObject, TenantObject };
