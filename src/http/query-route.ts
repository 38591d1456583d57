/** One GET: authenticated, validated, answered from the primary. */
import { ReadFailed, tenantReader } from "../journal/reader.ts";
import { databaseFor, DatabaseUnknown } from "../objects/tenant-database.ts";
import type { Query } from "../operations/define-query.ts";
import { admit } from "./access.ts";
import { OWN_READS } from "../objects/advice.ts";
import { met } from "./experience.ts";
import { type HttpContext, paramsOf } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

const READ_FAILED = { status: 503, code: "read-failed" };

export const queryRoute =
  (query: Query) =>
  async (c: HttpContext): Promise<Response> => {
    const admitted = await admit(c, [query.scope]);
    if (!admitted.ok) return admitted.failure;
    const startedAtMs = Date.now();
    try {
      const { tenant } = admitted.value;
      const reader = tenantReader(
        await databaseFor(c.env, c.get("latchkey.settings"), tenant),
        tenant,
      );
      const found = await query.run(reader, paramsOf(c, query.path), c.req.query());
      if (!found.ok) {
        return problemResponse(c, "request-invalid", { members: { errors: found.failure } });
      }
      met(c, OWN_READS, startedAtMs, undefined);
      if (found.value === undefined) return problemResponse(c, "not-found");
      return c.json(found.value, 200, { "Cache-Control": "no-store" });
    } catch (error) {
      if (error instanceof ReadFailed || error instanceof DatabaseUnknown) {
        met(c, OWN_READS, startedAtMs, READ_FAILED);
        return problemResponse(c, "temporarily-unavailable", { detail: error.message });
      }
      throw error;
    }
  };
