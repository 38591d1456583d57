/** What the gateway tells of an API that is down is worth something to who obeys: the experiment of sim/gateway, in the small. */
import { describe, expect, it } from "vitest";
import { exponential, obedient } from "../../sim/gateway/clients.ts";
import { runExperiments } from "../../sim/gateway/experiment.ts";

describe("clients that obey Retry-After, before an API with an outage", () => {
  it("waste less than half of the retries of those that do not, at no lower success, and each intent is carried out at most once", async () => {
    const experiment = {
      seed: 1,
      spans: [{ trouble: "unavailable" as const, fromMs: 1_000, toMs: 4_000 }],
      spanMs: 5_000,
      perSecond: 15,
      patienceMs: 10_000,
    };
    const [results] = await runExperiments([experiment], [exponential, obedient]);
    const [blind, learned] = results ?? [];
    if (blind === undefined || learned === undefined) throw new Error("A result is missing.");
    expect(learned.requests).toBe(blind.requests);
    expect(learned.succeeded).toBeGreaterThanOrEqual(blind.succeeded);
    expect(learned.failedRetries).toBeLessThan(blind.failedRetries / 2);
    for (const { effects, succeeded, requests } of [blind, learned]) {
      expect(effects).toBeGreaterThanOrEqual(succeeded);
      expect(effects).toBeLessThanOrEqual(requests);
    }
  });
});
