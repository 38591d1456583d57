/** What is counted and what is logged. */
import { describe, expect, it } from "vitest";
import { keyHash } from "../../src/kernel/hash.ts";
import { EVERY_ROUTING, ROUTINGS, useServers, whileLocked } from "../support/suite.ts";
import { newKey, newTenant, openTenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const serverFor = useServers(EVERY_ROUTING);

describe.each(ROUTINGS)("KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  const metrics = async (): Promise<string> => {
    const token = await tokenFor("operators", { scope: "ops:read" });
    const response = await fetch(`${server().origin}/metrics`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    return response.text();
  };

  const valueOf = (text: string, series: string): number =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${series} `))
        ?.slice(series.length + 1) ?? 0,
    );

  const requests = (outcome: string) =>
    `latchkey_requests_total{operation="payments.create",outcome="${outcome}"}`;

  it("/metrics counts what came of each keyed request, for operators who may read", async () => {
    const tenant = await openTenant(server());
    expect((await fetch(`${server().origin}/metrics`)).status).toBe(401);
    expect((await tenant.get("/metrics")).status).toBe(403);
    const before = await metrics();
    const key = newKey();
    for (let times = 0; times < 3; times++) await tenant.pay({}, { key });
    await tenant.pay({ amountMinor: 1 }, { key });
    await tenant.pay({ amountMinor: 90_000_000 });
    const after = await metrics();
    const gained = (outcome: string) =>
      valueOf(after, requests(outcome)) - valueOf(before, requests(outcome));
    expect(gained("new")).toBe(1);
    expect(gained("replayed")).toBe(2);
    expect(gained("refused")).toBe(1);
    expect(gained("idempotency-key-reused")).toBe(1);
    expect(valueOf(after, "latchkey_databases_answering")).toBe(1);
    expect(after).not.toContain(tenant.name);
  });

  it("/metrics answers while the database is away, and says that it is not whole", async () => {
    const text = await whileLocked(server(), metrics);
    expect(valueOf(text, "latchkey_databases")).toBe(1);
    expect(valueOf(text, "latchkey_databases_answering")).toBeLessThanOrEqual(1);
  });

  it("68: a line names a key by its hash and a request by its trace, and holds no key, no token and no value", async () => {
    const tenant = await newTenant(server());
    const opened = await openTenant(server(), tenant.name);
    const key = newKey();
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
    const before = server().log.length;
    await opened.pay({ description: "nobody's business" }, { key, headers });
    const mismatch = await opened.pay({ amountMinor: 77_001 }, { key, headers });
    expect(mismatch.status).toBe(422);
    const problems = () =>
      server()
        .log.slice(before)
        .filter((line) => line.includes("keyed-problem"));
    // The log comes by another way than the answer, and may come after it.
    await expect.poll(problems).not.toEqual([]);
    const lines = problems();
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      {
        level: "info",
        event: "keyed-problem",
        requestId: mismatch.headers.get("X-Request-Id"),
        traceId,
        tenant: tenant.name,
        operation: "payments.create",
        key: keyHash(tenant.name, key),
        problem: "idempotency-key-reused",
        status: 422,
      },
    ]);
    const all = server().log.slice(before).join("\n");
    for (const secret of [key, opened.token, "nobody's business", "77001"]) {
      expect(all).not.toContain(secret);
    }
  });
});
