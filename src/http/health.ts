/** GET /healthz: whether this Worker can serve, and if not, why. Says nothing of tenants. */
import { type Bindings, databaseNamed, databaseNames, parseSettings } from "../env.ts";
import { missingMigration } from "../journal/schema.ts";
import type { HttpContext } from "./context.ts";

export const healthRoute = async (c: HttpContext): Promise<Response> => {
  const faults: string[] = [];
  try {
    parseSettings(c.env);
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  const found = await Promise.all(databaseNames(c.env).map((name) => databaseFault(c.env, name)));
  faults.push(...found.filter((fault) => fault !== undefined));
  return c.json(
    { status: faults.length === 0 ? "ok" : "unavailable", faults },
    faults.length === 0 ? 200 : 503,
    { "Cache-Control": "no-store" },
  );
};

const databaseFault = async (env: Bindings, name: string): Promise<string | undefined> => {
  const db = databaseNamed(env, name);
  if (db === undefined) return undefined;
  try {
    const missing = await missingMigration(db);
    if (missing === undefined) return undefined;
    return `The migration ${missing} has not been applied to ${name}: run npm run deploy, or wrangler d1 migrations apply ${name}.`;
  } catch {
    return `The database ${name} does not answer.`;
  }
};
