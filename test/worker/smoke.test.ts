import { applyD1Migrations } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { SignJWT } from "jose";
import { beforeAll, expect, it } from "vitest";

const token = (tenant: string, scope: string) =>
  new SignJWT({ tenant, scope })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuer("latchkey")
    .setSubject("test")
    .setJti(crypto.randomUUID())
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(env.TOKEN_SECRET));

beforeAll(async () => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));

it("pays once", async () => {
  const bearer = `Bearer ${await token("demo", "payments:write ledger:fund read stock:write")}`;
  const post = async (path: string, body: unknown, key: string, method = "POST") => {
    const r = await exports.default.fetch(`http://x${path}`, {
      method,
      headers: {
        authorization: bearer,
        "content-type": "application/json",
        "idempotency-key": key,
      },
      body: JSON.stringify(body),
    });
    return { status: r.status, headers: Object.fromEntries(r.headers), body: await r.text() };
  };
  console.log(await post("/v1/accounts", { id: "alice", currency: "EUR" }, "account-alice-00001"));
  console.log(await post("/v1/accounts", { id: "bob", currency: "EUR" }, "account-bob-00000001"));
  console.log(
    await post(
      "/v1/payments",
      { source: "system:EUR", destination: "alice", amountMinor: 10000, currency: "EUR" },
      "fund-alice-0000001",
    ),
  );
  console.log(
    await post(
      "/v1/payments",
      { source: "alice", destination: "bob", amountMinor: 100, currency: "EUR" },
      "pay-0000000000001",
    ),
  );
  console.log(
    await post(
      "/v1/payments",
      { source: "alice", destination: "bob", amountMinor: 100, currency: "EUR" },
      "pay-0000000000001",
    ),
  );
  console.log(
    await post(
      "/v1/payments",
      { source: "alice", destination: "bob", amountMinor: 200, currency: "EUR" },
      "pay-0000000000001",
    ),
  );
  console.log(
    await post(
      "/v1/payments",
      { source: "alice", destination: "bob", amountMinor: 2000000, currency: "EUR" },
      "pay-0000000000002",
    ),
  );
  console.log(
    await post(
      "/v1/products",
      { sku: "mug", name: "Mug", priceMinor: 100, currency: "EUR", quantity: 5 },
      "prod-000000000000002",
    ),
  );
  console.log(
    await post("/v1/products/mug/stock", { delta: -2 }, "stock-000000000000002", "PATCH"),
  );
  console.log(
    await post("/v1/products/mug/stock", { delta: -4 }, "stock-000000000000003", "PATCH"),
  );
  const get = async (p: string) => {
    const r = await exports.default.fetch(`http://x${p}`, { headers: { authorization: bearer } });
    return [r.status, await r.text()];
  };
  const list = JSON.parse((await get("/v1/payments"))[1] as string);
  console.log(JSON.stringify(list));
  console.log(await post(`/v1/payments/${list.data[0].id}/refunds`, {}, "refund-000000000000002"));
  console.log(await post(`/v1/payments/${list.data[0].id}/refunds`, {}, "refund-000000000000003"));
  for (const p of [
    "/v1/accounts",
    "/v1/accounts/alice/entries?limit=2",
    "/v1/idempotency-keys/pay-0000000000001",
    "/v1/idempotency-keys/pay-0000000000009",
    "/healthz",
    "/problems/forbidden",
    "/v1/nope",
    `/v1/payments/${list.data[0].id}/refunds`,
  ])
    console.log(p, await get(p));
  expect((await get("/openapi.json"))[0]).toBe(200);
});
