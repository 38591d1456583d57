/** The entry: what Cloudflare calls. No logic. */
import { createApp } from "./app.ts";
import { consoleRoutes } from "./console/routes.ts";
import type { Bindings } from "./env.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { TenantObject } from "./objects/tenant-object.ts";
import { runCron } from "./objects/scheduled.ts";
import { operations, queries } from "./operations/registry.ts";

const app = createApp({ operations, queries, face: consoleRoutes });

export default {
  fetch: app.fetch,
  scheduled: ({ cron }, env) => runCron(cron, env),
} satisfies ExportedHandler<Bindings>;

export class KeyObject extends keyObjectFor(operations) {}

export { RevocationObject, TenantObject };
