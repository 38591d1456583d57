/** Advice over HTTP: in problems that are not stored, for failures met elsewhere, and for operators. */
import { afterAll, describe, expect, it } from "vitest";
import { startUpstream } from "../../examples/upstream/upstream.ts";
import { useServers, whileLocked } from "../support/suite.ts";
import { newKey, newTenant, openTenant, type Tenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const failing = await startUpstream({ nextFault: () => "fail-before" });
afterAll(async () => failing.stop());

const ROUTES = JSON.stringify([{ path: "/**", upstream: failing.origin, tenant: "acme" }]);
const serverFor = useServers({ only: {}, gateway: { vars: { GATEWAY_ROUTES: ROUTES } } });
const server = () => serverFor("only");

const failed = { origin: "bank.example", status: 503, code: "maintenance", keyed: true };

const ask = async (tenant: Tenant, body: Readonly<Record<string, unknown>>) =>
  tenant.post("/v1/retry-advice", body, { key: null });

type Retry = {
  readonly use: string;
  readonly afterMs: number;
  readonly successProbability?: number;
  readonly reason: string;
};

describe("Problems that are not stored", () => {
  it("54: say when to come back and how likely that helps; the stored outcome of the retry says nothing of it", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const away = await whileLocked(server(), () => tenant.pay({}, { key }));
    expect(away.status).toBe(503);
    const retry = away.body["retry"] as Retry;
    expect(retry.use).toBe("same-key");
    expect(retry.successProbability).toBeGreaterThan(0);
    expect(away.headers.get("Retry-After")).toBe(
      String(Math.max(1, Math.ceil(retry.afterMs / 1000))),
    );
    expect(away.headers.get("Stripe-Should-Retry")).toBe("true");
    expect((await tenant.pay({}, { key })).status).toBe(201);
    const refused = await tenant.pay({ amountMinor: 1_000_000_000 });
    expect(refused.status).toBe(402);
    expect(Object.keys(refused.body["retry"] as object).toSorted()).toEqual(["reason", "use"]);
  });
});

describe("POST /v1/retry-advice", () => {
  it("answers with everything that the contract names, and takes no key", async () => {
    const tenant = await newTenant(server());
    const answer = await ask(tenant, { ...failed, retryAfterMs: 30_000, explain: true });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        retry: true,
        use: "same-key",
        policy: "prior",
        class: "transient",
        prediction: { context: "class" },
        explanation: { by: "template" },
      },
    });
    expect(answer.body["afterMs"]).toBeGreaterThanOrEqual(30_000);
    const retryAfter = Number(answer.headers.get("Retry-After"));
    expect(retryAfter).toBe(Math.ceil(Number(answer.body["afterMs"]) / 1000));
    expect(Date.parse(String(answer.body["giveUpAfter"]))).toBeGreaterThan(
      Date.parse(String(answer.body["notBefore"])),
    );
  });

  it.each([
    ["without a key", { keyed: false }, "never"],
    ["with a changed body", { bodyChanged: true }, "new-key"],
    [
      "after a time-out at an origin that does not honour keys",
      { status: 0, code: "timeout", honoursKeys: false },
      "never",
    ],
    ["after a hard decline", { status: 402, code: "stolen_card" }, "never"],
  ])("a retry %s is refused", async (_, change, use) => {
    const answer = await ask(await newTenant(server()), { ...failed, ...change });
    expect(answer).toMatchObject({ status: 200, body: { retry: false, use, class: "unsafe" } });
    expect(answer.headers.get("Retry-After")).toBeNull();
  });

  it("X: learns from what its tenant reports, and for that tenant alone", async () => {
    const [mine, other] = [await newTenant(server()), await newTenant(server())];
    const hopeless = { ...failed, status: 404, code: "not_yet" };
    for (let at = 0; at < 30; at++) {
      await ask(mine, { ...hopeless, next: { afterMs: 2_000, succeeded: true } });
    }
    const ours = await ask(mine, hopeless);
    expect(ours.body["retry"]).toBe(true);
    expect(Number(ours.body["successProbability"])).toBeGreaterThan(0.6);
    const theirs = await ask(other, hopeless);
    expect(Number(theirs.body["successProbability"])).toBeLessThan(0.3);
  });

  it("without an origin is about this service: what the problem table rules out is ruled out, and it learns nothing from being told", async () => {
    const tenant = await openTenant(server());
    const own = { status: 503, code: "temporarily-unavailable", keyed: true };
    const before = await ask(tenant, own);
    expect(before.body).toMatchObject({ retry: true, use: "same-key", policy: "prior" });
    for (let at = 0; at < 30; at++) await ask(tenant, { ...own, code: "internal-error" });
    expect((await ask(tenant, own)).body).toMatchObject({ class: "transient", policy: "prior" });
    const expired = { status: 410, code: "idempotency-key-expired", keyed: true };
    expect((await ask(tenant, expired)).body).toMatchObject({ retry: false, use: "new-key" });
  });

  it.each([
    ["an unknown member", { ...failed, body: "secret" }],
    [
      "a retry of this service's own",
      { status: 503, keyed: true, next: { afterMs: 1, succeeded: true } },
    ],
    ["a status that is none", { ...failed, status: 42 }],
    ["a negative age", { ...failed, ageMs: -1 }],
    ["an origin that is too long", { ...failed, origin: "x".repeat(121) }],
    ["nothing of whether it has a key", { origin: "x", status: 503 }],
  ])("%s is 400 and names it", async (_, body) => {
    const answer = await ask(await newTenant(server()), body);
    expect(answer).toMatchObject({ status: 400, body: { code: "request-invalid" } });
    expect(answer.body["errors"]).toHaveLength(1);
  });

  it("25, 27: needs credentials, and the scope read", async () => {
    const tenant = await newTenant(server());
    expect((await tenant.post("/v1/retry-advice", failed, { key: null, token: null })).status).toBe(
      401,
    );
    const token = await tokenFor(tenant.name, { scope: "payments:write" });
    expect((await tenant.post("/v1/retry-advice", failed, { key: null, token })).status).toBe(403);
  });
});

describe("GET /v1/ops/retry-advice", () => {
  it("shows what was learned of a tenant: classes with odds and intervals, health, calibration", async () => {
    const tenant = await newTenant(server());
    for (let at = 0; at < 5; at++) {
      await ask(tenant, { ...failed, next: { afterMs: 900, succeeded: true } });
    }
    const token = await tokenFor("operations", { scope: "ops:read" });
    const answer = await tenant.get(`/v1/ops/retry-advice?tenant=${tenant.name}`, { token });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        tenant: tenant.name,
        groups: [{ group: "at bank.example", up: true, classes: [{ class: "503:maintenance" }] }],
      },
    });
  });

  it("shows what was learned of the API behind the gateway, by its routes, whichever tenant is asked for", async () => {
    const gateway = serverFor("gateway");
    for (let at = 0; at < 3; at++) {
      const headers = { "Idempotency-Key": newKey() };
      await fetch(`${gateway.origin}/v1/charges`, { method: "POST", headers, body: "amount=1" });
    }
    const headers = {
      Authorization: `Bearer ${await tokenFor("operations", { scope: "ops:read" })}`,
    };
    const answer = await fetch(`${gateway.origin}/_latchkey/v1/ops/retry-advice?tenant=nobody`, {
      headers,
    });
    expect(await answer.json()).toMatchObject({
      tenant: "nobody",
      groups: [{ group: `upstream ${failing.origin}`, up: false }],
    });
  });

  it("27: needs the scope ops:read", async () => {
    const tenant = await newTenant(server());
    expect((await tenant.get("/v1/ops/retry-advice")).status).toBe(403);
  });

  it("names what is wrong with its query", async () => {
    const token = await tokenFor("operations", { scope: "ops:read" });
    const tenant = await newTenant(server());
    const answer = await tenant.get("/v1/ops/retry-advice?tenant=a%20b", { token });
    expect(answer).toMatchObject({ status: 400, body: { code: "request-invalid" } });
  });
});
