/** GET /healthz: whether this Worker can serve, and if not, why. Says nothing of tenants. */
import { parseSettings } from "../env.ts";
import { missingMigration } from "../journal/schema.ts";
import type { HttpContext } from "./context.ts";

export const healthRoute = async (c: HttpContext): Promise<Response> => {
  const faults: string[] = [];
  try {
    parseSettings(c.env);
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  try {
    const missing = await missingMigration(c.env.DB);
    if (missing !== undefined) {
      faults.push(
        `The migration ${missing} has not been applied: run npm run deploy, or wrangler d1 migrations apply DB.`,
      );
    }
  } catch {
    faults.push("The database does not answer.");
  }
  return c.json(
    { status: faults.length === 0 ? "ok" : "unavailable", faults },
    faults.length === 0 ? 200 : 503,
    { "Cache-Control": "no-store" },
  );
};
