/** GET /v1/idempotency-keys?state=: a tenant's keys in one state, by key. Never their answers. */
import { z } from "zod";
import { LISTED_STATES, listRecords } from "../journal/journal.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { LIST_SCAN_ROWS, SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { pageSearch } from "../operations/define-query.ts";
import { statusOf } from "../objects/key-status.ts";
import { databaseFor } from "../objects/tenant-database.ts";
import { admit } from "./access.ts";
import type { HttpContext } from "./context.ts";
import { toKeyView } from "./key-status.ts";
import { problemResponse } from "./problem-response.ts";

export const keyListSearch = pageSearch(z.string().max(255)).extend({
  state: z.enum(LISTED_STATES),
});

export const keyListRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["read"]);
  if (!admitted.ok) return admitted.failure;
  const search = keyListSearch.safeParse(c.req.query());
  if (!search.success) {
    return problemResponse(c, "request-invalid", {
      detail: "Send state, and perhaps limit and after.",
    });
  }
  const { state, limit, after = "" } = search.data;
  const nowMs = Date.now();
  try {
    const { tenant } = admitted.value;
    const db = await databaseFor(c.env, c.get("latchkey.settings"), tenant);
    const page = await withTimeout(
      listRecords(db, tenant, state, {
        after,
        limit,
        scan: LIST_SCAN_ROWS,
        nowS: wholeSeconds(nowMs),
      }),
      SEND_TIMEOUT_MS,
    );
    const data = page.entries.map((entry) => toKeyView(entry.key, statusOf(entry, nowMs)));
    return c.json({ data, next: page.next }, 200, { "Cache-Control": "no-store" });
  } catch {
    return problemResponse(c, "temporarily-unavailable", {
      detail: "The database did not answer.",
    });
  }
};
