/**
 * Remembers which database holds a tenant's rows, once and for ever: a tenant that moved would find no journal, and run
 * its keys again. There is one for each tenant, apart from D1: restoring a database takes no assignment back, and the
 * tenants of one are found while another is away.
 */
import { DurableObject } from "cloudflare:workers";
import type { Bindings } from "../env.ts";
import { holdsTenant } from "../journal/journal.ts";
import type { TenantMethods } from "./tenant-call.ts";

const DATABASE = "database";

export class TenantObject extends DurableObject<Bindings> implements TenantMethods {
  async databaseOf(tenant: string, preferred: string): Promise<string> {
    if (this.#kept === undefined) {
      // Before there was anything to choose from nothing was remembered: who has rows in DB belongs there.
      const isThere = preferred !== "DB" && (await holdsTenant(this.env.DB, tenant));
      // Another call may have come in between, from a version with another preference: the first one counts.
      if (this.#kept === undefined) this.ctx.storage.kv.put(DATABASE, isThere ? "DB" : preferred);
    }
    return this.#kept ?? preferred;
  }

  get #kept(): string | undefined {
    return this.ctx.storage.kv.get<string>(DATABASE);
  }
}
