/**
 * What an isolate counts of keyed requests, and the log line of what is worth one. Counts are added up in a small table
 * behind an answer, at most every few seconds, and never awaited by a request: an isolate that ends takes with it what it
 * had not added up. A log line names a key by its hash, and holds no body and no token.
 */
import { Counters } from "../audit/series.ts";
import { IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED } from "../contract/headers.ts";
import type { ProblemCode } from "../contract/problems.ts";
import { parseTraceparent } from "../contract/trace-context.ts";
import type { Bindings } from "../env.ts";
import { parseIdempotencyKey } from "../idempotency/key.ts";
import { addMetrics } from "../journal/metrics.ts";
import { keyHash } from "../kernel/hash.ts";
import { METRICS_FLUSH_MS } from "../kernel/limits.ts";
import type { HttpContext } from "./context.ts";

type IsolateCounts = { readonly counters: Counters; addedUpAtMs: number };

/** One for each set of bindings: in production, one for the isolate. */
const counts = new WeakMap<Bindings, IsolateCounts>();

export const countersOf = (env: Bindings): IsolateCounts => {
  const known = counts.get(env) ?? { counters: new Counters(), addedUpAtMs: Date.now() };
  counts.set(env, known);
  return known;
};

/** A handler of keyed requests that is counted, and logged where somebody will ask. */
export const measured =
  (
    operation: string,
    handler: (c: HttpContext) => Promise<Response>,
  ): ((c: HttpContext) => Promise<Response>) =>
  async (c) => {
    const startedAtMs = Date.now();
    const response = await handler(c);
    const durationMs = Date.now() - startedAtMs;
    const problem = c.get("latchkey.problem");
    const outcome = problem ?? outcomeOf(response);
    const { counters } = countersOf(c.env);
    counters.count("latchkey_requests_total", { operation, outcome });
    counters.observe(
      "latchkey_request_duration_ms",
      { operation, outcome: classOf(outcome) },
      durationMs,
    );
    if (problem !== undefined && LOGGED.has(problem)) {
      logProblem(c, operation, problem, response.status, durationMs);
    }
    c.env.ANALYTICS?.writeDataPoint({
      indexes: [c.get("latchkey.tenant") ?? ""],
      blobs: [operation, outcome],
      doubles: [response.status, durationMs],
    });
    addUpSoon(c);
    return response;
  };

const outcomeOf = (response: Response): string => {
  if (response.headers.has(IDEMPOTENT_REPLAYED)) return "replayed";
  if (response.status === 202) return "accepted";
  return response.status < 400 ? "new" : "refused";
};

/** Histograms tell apart what takes differently long, and not every problem. */
const classOf = (outcome: string): string =>
  outcome === "new" || outcome === "replayed" || outcome === "refused" ? outcome : "other";

/** What somebody will ask about, by its request id. Refusals have a row in the audit log; the rest is counted. */
const LOGGED: ReadonlySet<ProblemCode> = new Set([
  "idempotency-key-reused",
  "idempotency-key-expired",
  "outcome-erased",
  "outcome-uncertain",
  "response-not-stored",
  "internal-error",
  "temporarily-unavailable",
  "outcome-unknown-yet",
]);

const logProblem = (
  c: HttpContext,
  operation: string,
  problem: ProblemCode,
  status: number,
  durationMs: number,
): void => {
  const tenant = c.get("latchkey.tenant") ?? "";
  const key = parseIdempotencyKey(c.req.header(IDEMPOTENCY_KEY));
  console.log(
    JSON.stringify({
      level: "info",
      event: "keyed-problem",
      requestId: c.get("latchkey.requestId"),
      traceId: parseTraceparent(c.req.header("traceparent"))?.traceId,
      tenant,
      operation,
      key: key.ok ? keyHash(tenant, key.value) : undefined,
      problem,
      status,
      durationMs,
    }),
  );
};

const addUpSoon = (c: HttpContext): void => {
  const mine = countersOf(c.env);
  const nowMs = Date.now();
  if (nowMs < mine.addedUpAtMs + METRICS_FLUSH_MS) return;
  mine.addedUpAtMs = nowMs;
  c.executionCtx.waitUntil(addUp(c.env));
};

/**
 * Adds up what was counted since the last time. What could not be added is lost, and said to be: to add it again could
 * count it twice.
 */
export const addUp = async (env: Bindings): Promise<void> => {
  const { counters } = countersOf(env);
  const taken = counters.take();
  await addMetrics(env.DB, taken).catch(() => {
    const lost = [...taken].filter(([series]) => series.startsWith("latchkey_requests_total"));
    const by = lost.reduce((sum, [, value]) => sum + value, 0);
    counters.count("latchkey_telemetry_lost_total", {}, by);
  });
};
