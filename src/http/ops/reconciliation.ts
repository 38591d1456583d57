/** What the reconciliation last found, and the issues that it and the boundary monitor have raised. */
import { z } from "zod";
import { RECONCILIATION } from "../../audit/reconcile.ts";
import { parseReconciliation, reconciliationSchema } from "../../audit/reconciliation.ts";
import { databasesOf } from "../../env.ts";
import {
  changeIssue,
  countOpenIssues,
  type Issue,
  ISSUE_STATES,
  listIssues,
} from "../../journal/issues.ts";
import { readScheduledState } from "../../journal/scheduled-state.ts";
import { REASON_LENGTH_MAX, SEND_TIMEOUT_MS } from "../../kernel/limits.ts";
import { withTimeout } from "../../kernel/timeout.ts";
import { pageSearch } from "../../operations/define-query.ts";
import { admit } from "../access.ts";
import { operatorOf } from "../actor.ts";
import type { HttpContext } from "../context.ts";
import { readJson } from "../input.ts";
import { problemResponse } from "../problem-response.ts";
import { databaseSearch, defineOpsRead } from "./ops-route.ts";

export const reconciliationRoute = defineOpsRead({
  name: "ops.reconciliation",
  path: "/v1/ops/reconciliation",
  summary:
    "What the last whole pass of the reconciliation found, where the present one stands, and what is open",
  search: z.strictObject(databaseSearch),
  content: {
    "application/json": reconciliationSchema.extend({
      openIssues: z.record(z.string(), z.int()).meta({ description: "Not resolved, by kind" }),
    }),
  },
  read: async (db, _search, c) => {
    const { state } = await readScheduledState(db, RECONCILIATION);
    const openIssues = await countOpenIssues(db);
    return c.json({ ...parseReconciliation(state), openIssues }, 200, {
      "Cache-Control": "no-store",
    });
  },
});

export const issueView = z.object({
  id: z.string(),
  kind: z.string(),
  tenant: z.string(),
  subject: z.string(),
  what: z.string(),
  key: z
    .string()
    .nullable()
    .meta({ description: "Of work that is open; null once it is resolved, or if there is none" }),
  firstSeenAt: z.iso.datetime(),
  lastSeenAt: z.iso.datetime(),
  times: z.int(),
  state: z.enum(ISSUE_STATES),
  changedBy: z.string().nullable(),
  changedAt: z.iso.datetime().nullable(),
  reason: z.string().nullable(),
});

const toIssueView = (issue: Issue): z.input<typeof issueView> => {
  const { id, kind, tenant, subject, what, key, times, state, changedBy, reason } = issue;
  const { firstSeenMs, lastSeenMs, changedAtMs } = issue;
  return {
    id,
    kind,
    tenant,
    subject,
    what,
    key,
    firstSeenAt: new Date(firstSeenMs).toISOString(),
    lastSeenAt: new Date(lastSeenMs).toISOString(),
    times,
    state,
    changedBy,
    changedAt: changedAtMs === null ? null : new Date(changedAtMs).toISOString(),
    reason,
  };
};

export const issuesRoute = defineOpsRead({
  name: "ops.issues",
  path: "/v1/ops/issues",
  summary: "What a person should look at, by id",
  search: pageSearch(z.string().max(64)).extend({
    ...databaseSearch,
    state: z.enum(ISSUE_STATES).optional(),
  }),
  content: {
    "application/json": z.object({ data: z.array(issueView), next: z.string().nullable() }),
  },
  read: async (db, { state, after = "", limit }, c) => {
    const { data, next } = await listIssues(db, { state, after, limit });
    return c.json({ data: data.map(toIssueView), next }, 200, { "Cache-Control": "no-store" });
  },
});

export const issueInput = z.strictObject({
  state: z.enum(ISSUE_STATES),
  reason: z.string().min(1).max(REASON_LENGTH_MAX),
});

/**
 * PUT /v1/ops/issues/{id}: acknowledges, resolves or opens again. To repeat it changes nothing and writes nothing, so it
 * needs no key: a double click is one action and one row of the audit log.
 */
export const changeIssueRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:act"]);
  if (!admitted.ok) return admitted.failure;
  const body = await readJson(c);
  if (!body.ok) return body.failure;
  const input = issueInput.safeParse(body.value);
  if (!input.success) {
    return problemResponse(c, "request-invalid", { detail: "Send state and reason." });
  }
  const id = c.req.param("id") ?? "";
  try {
    // An id is a hash: it is in one database at most.
    for (const [, db] of databasesOf(c.env)) {
      const by = operatorOf(c, admitted.value);
      const changing = changeIssue(db, id, input.data, by, Date.now());
      const issue = await withTimeout(changing, SEND_TIMEOUT_MS);
      if (issue !== undefined) {
        return c.json(toIssueView(issue), 200, { "Cache-Control": "no-store" });
      }
    }
  } catch {
    // It may be changed or not: to repeat is safe.
    return problemResponse(c, "temporarily-unavailable", {
      detail: "The database did not answer.",
    });
  }
  return problemResponse(c, "not-found");
};
