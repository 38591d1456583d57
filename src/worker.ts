/** The entry: what Cloudflare calls. No logic. */
import { createApp } from "./app.ts";
import type { Bindings } from "./env.ts";
import { runHourly } from "./objects/hourly.ts";
import { keyObjectFor } from "./objects/key-object.ts";
import { RevocationObject } from "./objects/revocation-object.ts";
import { TenantObject } from "./objects/tenant-object.ts";
import { agentFace } from "./mcp/endpoint.ts";
import { operations, queries } from "./operations/registry.ts";

const app = createApp({ operations, queries, agents: agentFace({ operations, queries }) });

export default {
  fetch: app.fetch,
  scheduled: (_controller, env) => runHourly(env),
} satisfies ExportedHandler<Bindings>;

export class KeyObject extends keyObjectFor(operations) {}

export { RevocationObject, TenantObject };
