/** What the cron triggers do, on the real database and objects. */
import { applyD1Migrations } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, expect, it, vi } from "vitest";
import { parseMonitor, MONITOR, readBoundaries } from "../../src/audit/monitor.ts";
import { RECONCILIATION } from "../../src/audit/reconcile.ts";
import { parseReconciliation } from "../../src/audit/reconciliation.ts";
import { seriesOf } from "../../src/audit/series.ts";
import { verifyAudit } from "../../src/audit/sealing.ts";
import { writeAuditNote } from "../../src/journal/audit-log.ts";
import { listIssues } from "../../src/journal/issues.ts";
import { addMetrics } from "../../src/journal/metrics.ts";
import { readScheduledState } from "../../src/journal/scheduled-state.ts";
import { CRONS } from "../../src/kernel/crons.ts";
import { runCron, runHourly } from "../../src/objects/scheduled.ts";
import { FaultyDatabase } from "../support/faulty-database.ts";
import { openBooks } from "./support/books.ts";

// Nothing here measures: on a busy machine it takes longer, and that is no failure.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));

const note = { tenant: "", actor: "a", requestId: "r", kind: "action", operation: "o" } as const;

it("the reconciliation's trigger does a pass in every database, each on its own", async () => {
  await applyD1Migrations(env.SECOND_DATABASE, env.TEST_MIGRATIONS);
  await openBooks({ accounts: { alice: 5 } });
  await runCron(CRONS.reconciliation, { ...env, DB_1: env.SECOND_DATABASE } as typeof env);
  for (const db of [env.DB, env.SECOND_DATABASE]) {
    const { last } = parseReconciliation((await readScheduledState(db, RECONCILIATION)).state);
    expect(last).toMatchObject({ found: {} });
  }
});

it("a database that fails keeps no other from its end, and the run is seen to have failed", async () => {
  await openBooks({ accounts: { alice: 5 } });
  const broken = new FaultyDatabase(env.DB);
  broken.always("lost-before", "lost");
  const before = (await readScheduledState(env.DB, RECONCILIATION)).version;

  const run = runCron(CRONS.reconciliation, { ...env, DB_1: broken } as unknown as typeof env);

  await expect(run).rejects.toThrow("Network connection lost");
  const { version, state } = await readScheduledState(env.DB, RECONCILIATION);
  expect(version).toBeGreaterThan(before);
  expect(parseReconciliation(state).pass).toBeNull();
});

it("a host's hourly trigger seals the audit log and checks the journal too", async () => {
  await writeAuditNote(env.DB, { ...note, atMs: 1 });
  await runHourly(env);
  const { checkedTo, newest, findings } = await verifyAudit(env.DB, 0);
  expect({ checkedTo, findings }).toEqual({ checkedTo: newest, findings: [] });
});

it("what departs from what was usual is one issue with its figures, however often it is read, and two readings at once count once", async () => {
  const count = (outcome: string, by: number) =>
    addMetrics(
      env.DB,
      new Map([
        [seriesOf("latchkey_requests_total", { operation: "payments.create", outcome }), by],
      ]),
    );
  await readBoundaries([env.DB], 0);
  for (let reading = 1; reading <= 42; reading++) {
    await count("new", 500);
    await Promise.all([readBoundaries([env.DB], reading), readBoundaries([env.DB], reading)]);
  }
  const learned = parseMonitor((await readScheduledState(env.DB, MONITOR)).state)?.learned;
  expect(learned?.["payments.create"]?.samples).toBe(42);
  for (let reading = 43; reading <= 46; reading++) {
    await count("new", 500);
    await count("idempotency-key-reused", 100);
    await readBoundaries([env.DB], reading);
  }

  const { data } = await listIssues(env.DB, { state: "open", after: "", limit: 10 });
  expect(data).toMatchObject([
    {
      kind: "boundary-departure",
      subject: "payments.create/mismatched",
      times: 3,
      firstSeenMs: 44,
    },
  ]);
  expect(data[0]?.what).toContain("16.7 % of requests reuse a key");
});
