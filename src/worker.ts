/** The entry: what Cloudflare calls. No logic. */
import { createService } from "./app.ts";
import { consoleRoutes } from "./console/routes.ts";
import type { Bindings } from "./env.ts";
import { AdvisorObject } from "./objects/advisor-object.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { TenantObject } from "./objects/tenant-object.ts";
import { runCron } from "./objects/scheduled.ts";
import { agentFace } from "./mcp/endpoint.ts";
import { operations, queries } from "./operations/registry.ts";

const service = createService({
  operations,
  queries,
  agents: agentFace({ operations, queries }),
  face: consoleRoutes,
});

export default {
  fetch: service.fetch,
  scheduled: ({ cron }, env) => runCron(cron, env),
} satisfies ExportedHandler<Bindings>;

export class KeyObject extends keyObjectFor(operations) {}

export { AdvisorObject, RevocationObject, TenantObject };
