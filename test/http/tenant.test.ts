/** Faults 24 to 30: whose key it is, and who may have its answer. */
import { describe, expect, it } from "vitest";
import { expectNothingMade, transfersOf } from "../support/books.ts";
import { TEST_SECRETS } from "../support/server.ts";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import {
  newKey,
  newTenant,
  newTenantName,
  openTenant,
  PAYMENT,
  textOf,
} from "../support/tenant.ts";
import { type Forgery, forgeToken, TENANT_SCOPES, tokenFor } from "../support/token.ts";

const serverFor = useServers(EVERY_ROUTING);

const nowS = () => Math.floor(Date.now() / 1000);

const claimsOf = (tenant: string) => ({
  iss: "latchkey",
  sub: "test",
  tenant,
  scope: TENANT_SCOPES,
  jti: newKey(),
  iat: nowS(),
  exp: nowS() + 600,
});

/** What the server accepts: each forgery below differs from it in one thing. */
const honest = (tenant: string): Forgery => ({
  header: { alg: "HS256", typ: "JWT" },
  claims: claimsOf(tenant),
  secret: TEST_SECRETS.TOKEN_SECRET,
});

const without = (claim: string, claims: Forgery["claims"]) =>
  Object.fromEntries(Object.entries(claims).filter(([name]) => name !== claim));

const rejected = {
  status: 401,
  replayed: false,
  body: { code: "unauthenticated", retry: { use: "same-key" } },
};

describe.each(ROUTINGS)("whose key it is, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("24: tenant B with A's key and A's body gets an effect of its own, and nothing of A's", async () => {
    const a = await openTenant(server());
    const b = await openTenant(server());
    const key = newKey();
    const ofA = await a.pay({ description: "for A only" }, { key });
    const ofB = await b.pay({ description: "for A only" }, { key });
    expect(ofB).toMatchObject({ status: 201, replayed: false });
    expect(textOf(ofB, "id")).not.toBe(textOf(ofA, "id"));
    expect(await transfersOf(server(), a, key)).toHaveLength(1);
    expect(await transfersOf(server(), b, key)).toHaveLength(1);
    // And each its own answer from then on.
    expect((await b.pay({ description: "for A only" }, { key })).text).toBe(ofB.text);
    expect((await a.pay({ description: "for A only" }, { key })).text).toBe(ofA.text);
  });

  it("24: tenant B with A's key and another body gets no 422: it cannot tell that A used the key", async () => {
    const a = await openTenant(server());
    const b = await openTenant(server());
    const key = newKey();
    await a.pay({ amountMinor: 11 }, { key });
    expect(await b.pay({ amountMinor: 12 }, { key })).toMatchObject({
      status: 201,
      replayed: false,
    });
  });

  it("24: nothing of one tenant can be read by another", async () => {
    const a = await openTenant(server());
    const b = await openTenant(server());
    const key = newKey();
    const payment = textOf(await a.pay({}, { key }), "id");
    const refund = textOf(
      await a.post(`/v1/payments/${payment}/refunds`, { amountMinor: 1 }),
      "id",
    );
    await a.post("/v1/products", { sku: "mug", name: "Mug", priceMinor: 1, currency: "EUR" });
    for (const path of [
      `/v1/payments/${payment}`,
      `/v1/payments/${payment}/refunds`,
      `/v1/payments/${payment}/refunds/${refund}`,
      "/v1/products/mug",
    ]) {
      expect(await a.get(path)).toMatchObject({ status: 200 });
      expect(await b.get(path)).toMatchObject({ status: 404 });
    }
    expect((await b.get("/v1/payments")).text).not.toContain(payment);
    expect(await b.get(`/v1/idempotency-keys/${key}`)).toMatchObject({
      body: { operation: null, link: null, outcome: null },
    });
    // Neither can it be changed: B has no such payment.
    expect(await b.post(`/v1/payments/${payment}/refunds`, {})).toMatchObject({
      status: 404,
      body: { code: "unknown-payment" },
    });
  });

  it("25: without credentials a known key gets 401, the same as an unknown one, and makes nothing", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    await expectNothingMade(server(), async () => {
      const known = await tenant.pay({}, { key, token: null });
      const unknown = await tenant.pay({}, { token: null });
      expect(known).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
      expect(known.headers.get("WWW-Authenticate")).toBe('Bearer realm="latchkey"');
      // All that differs is the request's own id.
      expect({ ...known.body, instance: "" }).toEqual({ ...unknown.body, instance: "" });
      expect(await tenant.get(`/v1/idempotency-keys/${key}`, { token: null })).toMatchObject({
        status: 401,
      });
    });
  });

  it("27: a token without the scope gets 403, and no replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    for (const scope of ["read", "", "payments:write.x", "PAYMENTS:WRITE", "stock:write read"]) {
      const token = await tokenFor(tenant.name, { scope });
      const answer = await tenant.pay({}, { key, token });
      expect(answer).toMatchObject({
        status: 403,
        replayed: false,
        body: { code: "forbidden", retry: { use: "same-key" } },
      });
      expect(answer.headers.get("Idempotency-Expires")).toBeNull();
    }
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("27: without ledger:fund neither a new funding nor the replay of one is to be had", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const funding = { source: "system:EUR", destination: "alice" };
    expect((await tenant.pay(funding, { key })).status).toBe(201);
    const token = await tokenFor(tenant.name, { scope: "payments:write read" });
    await expectNothingMade(server(), async () => {
      expect(await tenant.pay(funding, { key, token })).toMatchObject({ status: 403 });
      expect(await tenant.pay(funding, { token })).toMatchObject({ status: 403 });
      expect(
        await tenant.pay({ source: "alice", destination: "system:EUR" }, { token }),
      ).toMatchObject({ status: 403 });
    });
    // The same token may still move money inside the ledger.
    expect(await tenant.pay({}, { token })).toMatchObject({ status: 201 });
  });

  it("27: without the scope read no GET answers", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    const token = await tokenFor(tenant.name, { scope: "payments:write" });
    for (const path of ["/v1/accounts", "/v1/payments", `/v1/idempotency-keys/${key}`]) {
      expect(await tenant.get(path, { token })).toMatchObject({ status: 403 });
    }
  });

  it("28: another token of the same tenant gets the replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const token = await tokenFor(tenant.name, { subject: "another", scope: "payments:write" });
    expect(await tenant.pay({}, { key, token })).toMatchObject({
      status: 201,
      replayed: true,
      text: first.text,
    });
  });

  it("28: the subject is the tenant where the token names none", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const { tenant: _, ...claims } = claimsOf(tenant.name);
    const token = forgeToken({ ...honest(tenant.name), claims: { ...claims, sub: tenant.name } });
    expect(await tenant.pay({}, { key, token })).toMatchObject({
      replayed: true,
      text: first.text,
    });
  });

  it("29: a tenant named by a header, the query or the body is ignored or refused", async () => {
    const tenant = await openTenant(server());
    const victim = await openTenant(server());
    const before = (await victim.get("/v1/payments")).text;
    const names = ["Tenant", "X-Tenant", "X-Tenant-Id", "X-Latchkey-Tenant", "X-Forwarded-User"];
    const headers = Object.fromEntries(names.map((name) => [name, victim.name]));
    const key = newKey();
    const paid = await tenant.post(`/v1/payments?tenant=${victim.name}`, PAYMENT, { key, headers });
    expect(paid.status).toBe(201);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
    expect(await transfersOf(server(), victim, key)).toHaveLength(0);
    expect((await victim.get("/v1/payments")).text).toBe(before);
    expect((await tenant.get("/v1/payments", { headers })).text).toContain(textOf(paid, "id"));
    expect(await tenant.pay({ tenant: victim.name })).toMatchObject({ status: 400 });
  });
});

describe("who is nobody", () => {
  // An object for each key: one that is called in vain shows.
  const server = () => serverFor("per-key");

  it.each([
    ["", "no error"],
    ["Basic dGVzdDp0ZXN0", "no error"],
    ["Token x.y.z", "no error"],
    ["Bearer", "invalid_token"],
    ["Bearer not-a-token", "invalid_token"],
    ["bearer a.b.c", "invalid_token"],
  ])(
    "25: Authorization %j gets 401, is told of %s (RFC 6750 section 3.1), and makes nothing",
    async (authorization, error) => {
      const tenant = await newTenant(server());
      const answer = await expectNothingMade(server(), async () =>
        tenant.pay({}, { token: null, headers: { Authorization: authorization } }),
      );
      expect(answer.status).toBe(401);
      expect(answer.headers.get("WWW-Authenticate")).toBe(
        `Bearer realm="latchkey"${error === "no error" ? "" : `, error="${error}"`}`,
      );
    },
  );

  const forgeries: [string, (token: Forgery) => Forgery][] = [
    ["alg none and no signature", ({ claims }) => ({ header: { alg: "none" }, claims })],
    ["alg None and no signature", ({ claims }) => ({ header: { alg: "None" }, claims })],
    ["alg none under a good signature", (token) => ({ ...token, header: { alg: "none" } })],
    ["no signature", ({ header, claims }) => ({ header, claims })],
    ["the algorithm HS512", (token) => ({ ...token, header: { alg: "HS512" }, hash: "sha512" })],
    ["the algorithm HS384", (token) => ({ ...token, header: { alg: "HS384" }, hash: "sha384" })],
    ["the algorithm RS256", (token) => ({ ...token, header: { alg: "RS256" } })],
    ["no algorithm", (token) => ({ ...token, header: { typ: "JWT" } })],
    ["another secret", (token) => ({ ...token, secret: `${TEST_SECRETS.TOKEN_SECRET}x` })],
    ["an empty secret", (token) => ({ ...token, secret: "" })],
    [
      "the other secret of the server",
      (token) => ({ ...token, secret: TEST_SECRETS.FINGERPRINT_SECRET }),
    ],
    ["another issuer", (token) => ({ ...token, claims: { ...token.claims, iss: "issuer-b" } })],
    ["no issuer", (token) => ({ ...token, claims: without("iss", token.claims) })],
    [
      "a list of issuers",
      (token) => ({ ...token, claims: { ...token.claims, iss: ["latchkey"] } }),
    ],
    ["an end in the past", (token) => ({ ...token, claims: { ...token.claims, exp: nowS() - 1 } })],
    ["no end", (token) => ({ ...token, claims: without("exp", token.claims) })],
    [
      "an end that is text",
      (token) => ({ ...token, claims: { ...token.claims, exp: "9999999999" } }),
    ],
    ["no id", (token) => ({ ...token, claims: without("jti", token.claims) })],
    ["an empty id", (token) => ({ ...token, claims: { ...token.claims, jti: "" } })],
    [
      "a start in the future",
      (token) => ({ ...token, claims: { ...token.claims, nbf: nowS() + 600 } }),
    ],
    [
      "a tenant that is no name",
      (token) => ({ ...token, claims: { ...token.claims, tenant: "../x" } }),
    ],
    ["an empty tenant", (token) => ({ ...token, claims: { ...token.claims, tenant: "" } })],
    [
      "a tenant of 65 characters",
      (token) => ({ ...token, claims: { ...token.claims, tenant: "t".repeat(65) } }),
    ],
    [
      "an unknown critical header",
      (token) => ({ ...token, header: { ...token.header, crit: ["x"], x: 1 } }),
    ],
  ];

  it("30: the token that the forgeries are made from is good", async () => {
    const tenant = await openTenant(server());
    expect(await tenant.pay({}, { token: forgeToken(honest(tenant.name)) })).toMatchObject({
      status: 201,
    });
  });

  it.each(forgeries)("30: a token with %s gets 401 and makes nothing", async (_what, forge) => {
    const tenant = await newTenant(server());
    const token = forgeToken(forge(honest(tenant.name)));
    const answers = await expectNothingMade(server(), async () => [
      await tenant.pay({}, { token }),
      await tenant.get("/v1/accounts", { token }),
    ]);
    expect(answers).toMatchObject([rejected, rejected]);
  });

  it("30: a token whose claims were changed after signing gets 401, also when the original is known", async () => {
    const tenant = await openTenant(server());
    const victim = await openTenant(server());
    const good = forgeToken(honest(tenant.name));
    expect((await tenant.get("/v1/accounts", { token: good })).status).toBe(200);
    const [header = "", , signature = ""] = good.split(".");
    const [, claims = ""] = forgeToken(honest(victim.name)).split(".");
    expect(await victim.pay({}, { token: `${header}.${claims}.${signature}` })).toMatchObject(
      rejected,
    );
    expect(await victim.pay({}, { token: `${good}x` })).toMatchObject(rejected);
  });

  it("30: a token that was accepted gets 401 once it has expired, and no replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    // Four seconds at least: it must not end before it was accepted, also where a payment takes its time.
    const claims = { ...claimsOf(tenant.name), exp: nowS() + 5 };
    const token = forgeToken({ ...honest(tenant.name), claims });
    expect((await tenant.pay({}, { key, token })).status).toBe(201);
    await new Promise((resolve) => setTimeout(resolve, claims.exp * 1000 - Date.now() + 20));
    expect(await tenant.pay({}, { key, token })).toMatchObject(rejected);
  });

  it("30: a good token that names an unheard-of tenant sees nothing", async () => {
    const tenant = await newTenant(server(), newTenantName());
    expect((await tenant.get("/v1/accounts")).body).toEqual({ data: [], next: null });
  });
});
