/** The entry: what Cloudflare calls. No logic. */
import { createApp } from "./app.ts";
import type { Bindings } from "./env.ts";
import { runSlowPass } from "./journal/slow-pass.ts";
import { systemClock, wholeSeconds } from "./kernel/clock.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { operations, queries } from "./operations/registry.ts";

const app = createApp({ operations, queries });

export default {
  fetch: app.fetch,
  scheduled: async (_controller, env) => {
    await runSlowPass(env.DB, wholeSeconds(systemClock()));
  },
} satisfies ExportedHandler<Bindings>;

export class KeyObject extends keyObjectFor(operations) {}

export { RevocationObject };
