/**
 * Latchkey inside a Worker that a team already has: its own operations, exactly once, in its own database, beside its
 * own routes and behind its own authentication.
 *
 *     const keyed = latchkey({ operations: [bookSeat], authenticate });
 *     app.route("/api", keyed.app);
 *     export default { fetch: app.fetch, scheduled: keyed.scheduled };
 *     export class KeyObject extends keyed.KeyObject {}
 *
 * What the Worker binds: `DB`, the D1 database with the tables of its operations and Latchkey's own (`migrations/`);
 * `KEY_OBJECT`, the class; the secret `FINGERPRINT_SECRET`; perhaps `NEW_KEYS`, a rate limit. Without an authenticator
 * of its own also `TOKEN_SECRET` and `REVOCATIONS`; with several databases (`DB_1` …) also `TENANTS`.
 */
import type { Hono } from "hono";
import { createMount, type Host } from "./app.ts";
import type { Bindings } from "./env.ts";
import type { Agents } from "./http/agent-route.ts";
import type { HttpEnv } from "./http/context.ts";
import { type KeyObjectClass, keyObjectFor } from "./objects/key-object.ts";
import { runHourly } from "./objects/scheduled.ts";
import type { Catalogue } from "./operations/catalogue.ts";
import type { Operation } from "./operations/define-operation.ts";
import type { Query } from "./operations/define-query.ts";

// The crash tests' points, off. A bundler that replaces the name (`[define]` in wrangler.toml) leaves them out.
globalThis.CRASH_POINTS ??= false;

export type LatchkeyOptions<Env extends Bindings = Bindings> = Host<Env> & {
  readonly operations: readonly Operation[];
  readonly queries?: readonly Query[];
  /**
   * Serves agents at `/mcp`: `agentFace` of `latchkey/agents`, which needs `@modelcontextprotocol/server`. Without it the
   * Worker carries nothing of the protocol.
   */
  readonly agents?: (catalogue: Catalogue) => Agents;
};

export type Latchkey = {
  /**
   * The routes: the operations, the queries, and what tells of keys, problems, health and the API. Mount them at any
   * path of a Hono app; what they do not name stays that app's. Paths and links of operations begin at the mount.
   */
  readonly app: Hono<HttpEnv>;
  /** To be run hourly by a cron trigger: sweeps what lost its object, seals the audit log, checks the journal. */
  readonly scheduled: (controller: ScheduledController, env: Bindings) => Promise<void>;
  /** To be exported from the Worker, bound as `KEY_OBJECT`, and listed among its `new_sqlite_classes`. */
  readonly KeyObject: KeyObjectClass;
};

/** Throws an Error if two definitions have one name, one route, or one code for two refusals. */
export const latchkey = <Env extends Bindings = Bindings>({
  operations,
  queries = [],
  agents,
  ...host
}: LatchkeyOptions<Env>): Latchkey => ({
  app: createMount({ operations, queries, host, agents: agents?.({ operations, queries }) }),
  scheduled: (_controller, env) => runHourly(env),
  KeyObject: keyObjectFor(operations),
});

export type { Scope } from "./contract/scopes.ts";
export type { Bindings } from "./env.ts";
export type { HostAuthenticate, HostCaller } from "./http/host-authentication.ts";
export type { Reader, Selection } from "./journal/reader.ts";
export {
  absent,
  allOf,
  type Answer,
  byId,
  type Computed,
  type Condition,
  type Effect,
  exists,
  type Guard,
  insert,
  insertEach,
  insertIfAbsent,
  type Plan,
  type Refused,
  refused,
  require,
  update,
  valueOf,
} from "./kernel/plan.ts";
export { joinSql, type Sql, sql, trusted } from "./kernel/sql.ts";
export type { KeyObjectMethods } from "./objects/key-object.ts";
export { RevocationObject } from "./objects/revocation-object.ts";
export { AdvisorObject } from "./objects/advisor-object.ts";
export { TenantObject } from "./objects/tenant-object.ts";
export {
  type Definition,
  defineOperation,
  noParams,
  type Operation,
  type OwnRefusal,
  type PlanContext,
} from "./operations/define-operation.ts";
export {
  declined,
  defineExternalOperation,
  type ExternalDefinition,
  type ExternalStep,
  type ProcessorAnswer,
  type ProcessorCall,
  type StepEnd,
} from "./operations/external-step.ts";
export {
  defineQuery,
  noSearch,
  pageOf,
  pageSearch,
  type Query,
  type QueryDefinition,
  toPage,
} from "./operations/define-query.ts";
