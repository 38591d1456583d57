/** GET /healthz: whether this Worker can serve, and if not, why. Says nothing of tenants. */
import { type Bindings, databaseNames, databasesOf } from "../env.ts";
import type { Database } from "../journal/database.ts";
import { missingEngineTable, missingMigration } from "../journal/schema.ts";
import type { HttpContext } from "./context.ts";

/**
 * What the database that is bound by that name lacks, as a sentence; undefined if it lacks nothing. Throws if it does
 * not answer.
 */
export type SchemaCheck = (db: Database, name: string) => Promise<string | undefined>;

/** Of our own Worker: every file of `migrations/`. */
export const ownSchema: SchemaCheck = async (db, name) => {
  const missing = await missingMigration(db);
  return missing === undefined
    ? undefined
    : `The migration ${missing} has not been applied to ${name}: run npm run deploy, or wrangler d1 migrations apply ${name}.`;
};

/**
 * Of a host's: the tables of the engine. Its own tables are its own.
 * @param opens whether it has operations with an external step
 */
export const hostSchema =
  (opens: boolean): SchemaCheck =>
  async (db, name) => {
    const missing = await missingEngineTable(db, opens);
    return missing === undefined
      ? undefined
      : `What Latchkey's ${missing} makes is missing from the database that is bound as ${name}: copy it to your migrations, and apply them.`;
  };

/** @param settingsOf throws an Error that names every setting that is wrong */
export const healthRoute =
  (settingsOf: (env: Bindings) => unknown, schemaFault: SchemaCheck) =>
  async (c: HttpContext): Promise<Response> => {
    const faults: string[] = [];
    try {
      settingsOf(c.env);
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error));
    }
    const found = await Promise.all(
      databasesOf(c.env).map(([name, db]) =>
        schemaFault(db, name).catch(() => `The database ${name} does not answer.`),
      ),
    );
    faults.push(...found.filter((fault) => fault !== undefined));
    if (!databaseNames(c.env).includes("DB")) faults.push("No database is bound as DB.");
    return c.json(
      { status: faults.length === 0 ? "ok" : "unavailable", faults },
      faults.length === 0 ? 200 : 503,
      { "Cache-Control": "no-store" },
    );
  };
