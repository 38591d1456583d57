/** Payouts over HTTP, with a processor of its own: the API as a client sees it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningUpstream, startUpstream } from "../../examples/upstream/upstream.ts";
import { expectBooksBalanced } from "../support/books.ts";
import { type Server, startServer } from "../support/server.ts";
import { newKey, openTenant, textOf } from "../support/tenant.ts";

const WISH = { account: "alice", amountMinor: 250, currency: "EUR", destination: "DE00" };

describe("with a processor", () => {
  let processor: RunningUpstream;
  let server: Server;

  beforeAll(async () => {
    processor = await startUpstream();
    server = await startServer({ vars: { PAYOUT_PROCESSOR_ORIGIN: processor.origin } });
  });
  afterAll(async () => {
    await server.stop();
    await processor.stop();
  });

  it("a payout is paid once, replayed, found and listed, and its money has left the account", async () => {
    const tenant = await openTenant(server);
    const key = newKey();
    const first = await tenant.post("/v1/payouts", WISH, { key });
    const again = await tenant.post("/v1/payouts", WISH, { key });

    expect(first).toMatchObject({ status: 201, replayed: false, body: { state: "paid" } });
    expect(again).toMatchObject({ status: 201, replayed: true, text: first.text });
    const id = textOf(first, "id");
    expect(first.headers.get("Location")).toBe(`/v1/payouts/${id}`);
    expect((await tenant.get(`/v1/payouts/${id}`)).body).toEqual(first.body);
    expect((await tenant.get("/v1/payouts")).body).toEqual({ data: [first.body], next: null });
    expect(processor.effects.filter(({ body }) => body.includes("DE00"))).toHaveLength(1);
    expect((await tenant.get(`/v1/idempotency-keys/${key}`)).body).toMatchObject({
      state: "completed",
      operation: "payouts.create",
      outcome: { status: 201 },
    });
    const account = async (name: string) =>
      (await tenant.get(`/v1/accounts/${encodeURIComponent(name)}`)).body["balanceMinor"];
    expect(await account("alice")).toBe(100_000 - 250);
    expect(await account("system:EUR:held")).toBe(0);
    expect(await account("system:EUR:paid-out")).toBe(250);
    await expectBooksBalanced(server);
  });

  it("the processor is told the trace that the payout belongs to, and nothing that is none", async () => {
    const tenant = await openTenant(server);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (const [sent, told] of [
      [traceparent, traceparent],
      ["00-no-trace-00", undefined],
    ]) {
      const payout = { ...WISH, destination: `DE${newKey()}` };
      await tenant.post("/v1/payouts", payout, { headers: { traceparent: sent ?? "" } });
      const call = processor.effects.find(({ body }) => body.includes(payout.destination));
      expect(call?.headers["traceparent"]).toBe(told);
    }
  });

  it("what is on its way, or has left, is nobody's to pay with", async () => {
    const tenant = await openTenant(server);
    await tenant.post("/v1/payouts", WISH);
    for (const source of ["system:EUR:held", "system:EUR:paid-out"]) {
      expect(await tenant.pay({ source })).toMatchObject({ status: 400 });
      const payout = await tenant.post("/v1/payouts", { ...WISH, account: source });
      expect(payout).toMatchObject({ status: 400 });
    }
  });

  it("24: another tenant finds nothing of it", async () => {
    const [one, other] = [await openTenant(server), await openTenant(server)];
    const id = textOf(await one.post("/v1/payouts", WISH), "id");
    expect(await other.get(`/v1/payouts/${id}`)).toMatchObject({ status: 404 });
    expect((await other.get("/v1/payouts")).body).toEqual({ data: [], next: null });
  });
});

describe("a setting that is wrong or missing", () => {
  it("without a processor a payout gets 503, and neither holds anything nor consumes its key", async () => {
    const server = await startServer({});
    try {
      const tenant = await openTenant(server);
      const key = newKey();
      expect(await tenant.post("/v1/payouts", WISH, { key })).toMatchObject({
        status: 503,
        body: { code: "temporarily-unavailable" },
      });
      const rows = await server.sql("SELECT key FROM journal WHERE key = ?", key);
      expect(rows).toEqual([]);
      expect((await tenant.get("/v1/payouts")).body).toEqual({ data: [], next: null });
    } finally {
      await server.stop();
    }
  });

  it("a processor that is configured wrongly is named, and nothing is served with it", async () => {
    const server = await startServer({
      vars: { PAYOUT_PROCESSOR_ORIGIN: "http://pay.example", PAYOUT_PROCESSOR_POLICY: '{"a":1}' },
    });
    try {
      const health = await fetch(`${server.origin}/healthz`);
      expect(health.status).toBe(503);
      const text = await health.text();
      expect(text).toContain("PAYOUT_PROCESSOR_ORIGIN is not https");
      expect(text).toContain("PAYOUT_PROCESSOR_POLICY");
    } finally {
      await server.stop();
    }
  });
});
