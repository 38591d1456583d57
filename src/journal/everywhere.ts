/**
 * Looks for one thing among all tenants of a database: for each tenant one look at a primary key, found by skipping from
 * tenant to tenant along it. Bounded: beyond so many tenants, name the tenant.
 */
import { z } from "zod";
import { CONSOLE_TENANTS_MAX } from "../kernel/limits.ts";
import { sql, trusted } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";

/** Tables whose primary key is the tenant and then this. */
const PLACES = { journal: "key", transfers: "id", orders: "id" } as const;

const foundRow = z.object({
  tenant: z.string(),
  id: z.string(),
  key: z.string(),
  created_at_ms: z.number(),
});

/** A row that goes by that name: whose it is, the key that made it, and when that key's request began. */
export type Found = z.output<typeof foundRow>;

export const findEverywhere = async (
  db: Database,
  table: keyof typeof PLACES,
  id: string,
): Promise<Found[]> => {
  const name = trusted(table);
  const { results } = await statement(
    db,
    sql`WITH RECURSIVE tenants(tenant) AS (
  SELECT MIN(tenant) FROM ${name}
  UNION ALL
  SELECT (SELECT MIN(t.tenant) FROM ${name} AS t WHERE t.tenant > tenants.tenant) FROM tenants WHERE tenants.tenant IS NOT NULL
  LIMIT ${CONSOLE_TENANTS_MAX})
SELECT f.tenant, f.${trusted(PLACES[table])} AS id, f.key, f.created_at_ms FROM tenants JOIN ${name} AS f
  ON f.tenant = tenants.tenant AND f.${trusted(PLACES[table])} = ${id} LIMIT 20`,
  ).all();
  return results.map((row) => foundRow.parse(row));
};
