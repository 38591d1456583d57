/** Which database holds a tenant's rows: asked of the tenant's object once, and then remembered, for it never changes. */
import { type Bindings, databaseNamed, type EngineSettings } from "../env.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { ASSIGNED_TENANTS_MAX, SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { callObject } from "./object-call.ts";
import { type TenantMethods, tenantObjectName } from "./tenant-call.ts";

/** One for each namespace: in production, one for the isolate. */
const assigned = new WeakMap<DurableObjectNamespace, BoundedMap<string, string>>();

/** Where a tenant's rows are could not be found out, or is no database of this Worker. */
export class DatabaseUnknown extends Error {
  override readonly name = "DatabaseUnknown";
}

/** Throws `DatabaseUnknown`. */
export const databaseFor = async (
  env: Bindings,
  { DEFAULT_DATABASE }: EngineSettings,
  tenant: string,
): Promise<D1Database> => {
  const { TENANTS } = env;
  if (TENANTS === undefined) return env.DB;
  const known = assigned.get(TENANTS) ?? new BoundedMap(ASSIGNED_TENANTS_MAX);
  assigned.set(TENANTS, known);
  let name = known.get(tenant);
  if (name === undefined) {
    try {
      name = await callObject(
        // The namespace is bound to our own class (wrangler.toml); the binding's type cannot say so.
        () => TENANTS.getByName(tenantObjectName(tenant)) as unknown as TenantMethods,
        (stub) => withTimeout(stub.databaseOf(tenant, DEFAULT_DATABASE), SEND_TIMEOUT_MS),
      );
    } catch (error) {
      throw new DatabaseUnknown("Which database holds the tenant could not be read.", {
        cause: error,
      });
    }
    known.set(tenant, name);
  }
  const database = databaseNamed(env, name);
  // Never another one in its place: the tenant's journal is there and nowhere else.
  if (database === undefined)
    throw new DatabaseUnknown(`The tenant's database ${name} is not bound.`);
  return database;
};
