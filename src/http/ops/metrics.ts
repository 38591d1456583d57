/**
 * GET /metrics: counters and histograms as Prometheus text, for a scraper with a token (`ops:read`). Figures only, of no
 * tenant, so a scrape is not noted in the audit log. While the database is away it has what this isolate has counted.
 */
import { prometheusText, sumSeries } from "../../audit/series.ts";
import { databasesOf } from "../../env.ts";
import { readMetrics } from "../../journal/metrics.ts";
import { SEND_TIMEOUT_MS } from "../../kernel/limits.ts";
import { withTimeout } from "../../kernel/timeout.ts";
import { admit } from "../access.ts";
import type { HttpContext } from "../context.ts";
import { addUp, countersOf } from "../telemetry.ts";

export const metricsRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:read"]);
  if (!admitted.ok) return admitted.failure;
  await withTimeout(addUp(c.env), SEND_TIMEOUT_MS).catch(() => undefined);
  const read = await Promise.allSettled(
    databasesOf(c.env).map(([, db]) => withTimeout(readMetrics(db), SEND_TIMEOUT_MS)),
  );
  const stored = read.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const all = sumSeries([...stored, countersOf(c.env).counters.peek()]);
  const text = prometheusText(all, {
    latchkey_databases: { help: "Databases that are bound.", value: read.length },
    latchkey_databases_answering: {
      help: "Of these, how many have answered: with fewer, the other series are not whole.",
      value: stored.length,
    },
  });
  return new Response(text, {
    headers: {
      "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
      "Cache-Control": "no-store",
    },
  });
};
