/**
 * GET /v1/ops/retry-advice: what was learned of retries for one tenant, and of the APIs behind, which are nobody's: classes
 * with their odds, the health and the outages of each origin, and how well what was foretold came true.
 */
import { z } from "zod";
import { BINS, type Calibration, type Context } from "../advisor/calibration.ts";
import type { Group } from "../advisor/group.ts";
import { hazardsFor } from "../advisor/class-table.ts";
import { BUCKET_ENDS_MS, evidence, lasting } from "../advisor/hazard.ts";
import { intervalOf } from "../advisor/interval.ts";
import { medianRemainingMs } from "../advisor/outages.ts";
import { restore } from "../advisor/snapshot.ts";
import { PREDICTION_CONTEXTS } from "../contract/retry-advice.ts";
import { tenantName } from "../env.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { advisor, UPSTREAMS } from "../objects/advice.ts";
import type { AdvisorMethods } from "../objects/advisor-call.ts";
import { issuesOf } from "../operations/define-operation.ts";
import { admit } from "./access.ts";
import type { HttpContext } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

export const opsRetryAdviceSearch = z.strictObject({
  tenant: tenantName.optional().meta({ description: "The token's own unless said" }),
});

const figure = z.number();
const share = z.number().min(0).max(1);

export const opsRetryAdviceOutput = z.object({
  tenant: z.string(),
  groups: z.array(
    z.object({
      group: z.string(),
      up: z.boolean(),
      congested: z.boolean(),
      since: z.string(),
      successRecent: share,
      successUsual: share,
      latencyMs: figure,
      tokensLeft: figure,
      ratePerSecond: figure.nullable(),
      outages: z.array(z.object({ from: z.string(), seconds: figure })),
      medianOutageMs: figure,
      classes: z.array(
        z.object({
          class: z.string(),
          recoveredWithin: z.array(
            z.object({
              ms: figure,
              probability: share,
              interval: z.array(share).length(2),
              observations: figure,
            }),
          ),
        }),
      ),
      calibration: z.array(
        z.object({
          context: z.enum(PREDICTION_CONTEXTS),
          retries: figure,
          error: share,
          bins: z.array(z.object({ predicted: share, observed: share, retries: figure })),
        }),
      ),
    }),
  ),
});

export const opsRetryAdviceRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:read"]);
  if (!admitted.ok) return admitted.failure;
  const search = opsRetryAdviceSearch.safeParse(c.req.query());
  if (!search.success) {
    return problemResponse(c, "request-invalid", { members: { errors: issuesOf(search.error) } });
  }
  const { tenant = admitted.value.tenant } = search.data;
  // Operators read across tenants: each look is on record.
  console.log(
    JSON.stringify({
      level: "audit",
      event: "retry-advice-read",
      requestId: c.get("latchkey.requestId"),
      operator: admitted.value.token,
      tenant,
    }),
  );
  const found = await Promise.all([knownOf(c, tenant), knownOf(c, UPSTREAMS)]).catch(
    () => undefined,
  );
  if (found === undefined) return problemResponse(c, "temporarily-unavailable");
  const [own, upstreams] = found;
  const groups = [...own, ...upstreams].map(([group, known]) => viewOf(group, known));
  return c.json({ tenant, groups }, 200, { "Cache-Control": "no-store" });
};

/** What the tenant's object has; what only this isolate has seen so far stands beside it. */
const knownOf = async (c: HttpContext, tenant: string): Promise<Map<string, Group>> => {
  const groups = new Map(advisor.known(tenant).map(({ group, known }) => [group, known]));
  if (c.env.ADVISOR === undefined) return groups;
  const object = c.env.ADVISOR.getByName(tenant) as unknown as AdvisorMethods;
  for (const { group, snapshot } of await withTimeout(object.known(), SEND_TIMEOUT_MS)) {
    const shared = restore(snapshot);
    const mine = groups.get(group);
    if (shared === undefined) continue;
    if (mine === undefined || mine.health.seenAtMs <= shared.health.seenAtMs) {
      groups.set(group, shared);
    }
  }
  return groups;
};

const viewOf = (group: string, known: Group) => {
  const { health, admission, tokens, table, calibration } = known;
  return {
    group,
    up: health.up,
    congested: !health.up && health.congested,
    since: new Date(health.sinceMs).toISOString(),
    successRecent: rounded(health.fast),
    successUsual: rounded(health.up ? health.slow : health.usual),
    latencyMs: Math.round(health.latencyMs),
    tokensLeft: Math.round(tokens.left),
    ratePerSecond: Number.isFinite(admission.rate) ? rounded(admission.rate) : null,
    outages: health.outages.map(({ fromMs, toMs }) => ({
      from: new Date(fromMs).toISOString(),
      seconds: (toMs - fromMs) / 1_000,
    })),
    medianOutageMs: medianRemainingMs(health.outages, 0),
    classes: [...table.classes].map(([name, counts]) => {
      const [status = "0", ...code] = name.split(":");
      const hazards = hazardsFor(table, { status: Number(status), code: code.join(":") });
      return {
        class: name,
        recoveredWithin: BUCKET_ENDS_MS.map((endMs) => {
          const probability = 1 - lasting(hazards, 0, endMs);
          const observations = evidence(counts, 0, endMs);
          return {
            ms: endMs,
            probability: rounded(probability),
            interval: intervalOf(probability, observations + 1).map(rounded),
            observations: rounded(observations),
          };
        }),
      };
    }),
    calibration: PREDICTION_CONTEXTS.map((context) => calibrationView(context, calibration)),
  };
};

const calibrationView = (context: Context, calibration: Calibration) => {
  const bins = calibration[context].bins.filter(({ count }) => count > 0);
  const retries = bins.reduce((sum, { count }) => sum + count, 0);
  const off = bins.reduce((sum, bin) => sum + Math.abs(bin.predicted - bin.succeeded), 0);
  return {
    context,
    retries: Math.round(retries),
    error: retries === 0 ? 0 : rounded(Math.min(1, off / retries)),
    bins: bins.slice(0, BINS).map(({ count, predicted, succeeded }) => ({
      predicted: rounded(Math.min(1, predicted / count)),
      observed: rounded(Math.min(1, succeeded / count)),
      retries: Math.round(count),
    })),
  };
};

const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;
