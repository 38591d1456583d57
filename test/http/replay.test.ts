/** Faults 59 to 63: what is stored, and what a replay is made of. */
import { beforeEach, describe, expect, it } from "vitest";
import { balanceOf, expectNothingMade, transfersOf } from "../support/books.ts";
import { EVERY_ROUTING, ROUTINGS, useServers, withinOneMinute } from "../support/suite.ts";
import {
  type Answer,
  FUNDS_MINOR,
  newKey,
  newTenant,
  openTenant,
  PAYMENT,
  type Tenant,
  textOf,
} from "../support/tenant.ts";

const NEW_KEYS_PER_MINUTE = 3;

const serverFor = useServers({
  ...EVERY_ROUTING,
  "not migrated": { migrated: false },
  limited: { newKeysPerMinute: NEW_KEYS_PER_MINUTE, vars: { KEY_OBJECTS: "per-key" } },
  roomy: { vars: { KEY_OBJECTS: "per-key" }, versionOf: "limited" },
});

/** What the runtime, not the Worker, says of a connection. */
const CONNECTION_HEADERS = ["connection", "keep-alive", "date", "transfer-encoding"];

const headersOf = (answer: Answer, ...except: string[]): Record<string, string> =>
  Object.fromEntries(
    [...answer.headers].filter(([name]) => ![...CONNECTION_HEADERS, ...except].includes(name)),
  );

/** Everything that a caller may build on is the same; only what marks a replay is new. */
const expectReplay = (retry: Answer, first: Answer): void => {
  expect(retry.status).toBe(first.status);
  expect(retry.text).toBe(first.text);
  expect(headersOf(retry, "x-request-id")).toEqual({
    ...headersOf(first, "x-request-id"),
    "idempotent-replayed": "true",
  });
  expect(retry.headers.get("X-Request-Id")).not.toBe(first.headers.get("X-Request-Id"));
};

describe.each(ROUTINGS)("stored outcomes, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("59: a replay has the same status, body bytes and headers, is marked, and has an id of its own", async () => {
    const tenant = await openTenant(server());
    const payment = textOf(await tenant.pay(), "id");
    await tenant.post("/v1/products", { sku: "mug", name: "M", priceMinor: 1, currency: "EUR" });
    const operations: ((key: string) => Promise<Answer>)[] = [
      async (key) => tenant.pay({ description: "<ü> \u2028 \\ 😀" }, { key }),
      async (key) => tenant.post("/v1/accounts", { currency: "EUR" }, { key }),
      async (key) => tenant.post(`/v1/payments/${payment}/refunds`, { amountMinor: 1 }, { key }),
      async (key) =>
        tenant.post(
          "/v1/products",
          { sku: "cup", name: "C", priceMinor: 1, currency: "EUR" },
          { key },
        ),
      async (key) => tenant.patch("/v1/products/mug/stock", { delta: 7 }, { key }),
    ];
    for (const send of operations) {
      const key = newKey();
      const first = await send(key);
      expect([200, 201]).toContain(first.status);
      expect(first.replayed).toBe(false);
      expectReplay(await send(key), first);
      expectReplay(await send(key), first);
    }
  });

  it("59: a first answer carries just the headers of the contract", async () => {
    const tenant = await openTenant(server());
    const sentAtMs = Date.now();
    const created = await tenant.pay();
    const expiresAtMs = Date.parse(created.headers.get("Idempotency-Expires") ?? "");
    expect(headersOf(created)).toEqual({
      "cache-control": "no-store",
      "content-length": String(Buffer.byteLength(created.text)),
      "content-type": "application/json",
      "idempotency-expires": new Date(expiresAtMs).toUTCString(),
      location: `/v1/payments/${textOf(created, "id")}`,
      "x-request-id": created.headers.get("X-Request-Id"),
    });
    const lifetimeMs = 24 * 60 * 60 * 1000;
    expect(expiresAtMs).toBeGreaterThan(sentAtMs + lifetimeMs - 2_000);
    expect(expiresAtMs).toBeLessThanOrEqual(Date.now() + lifetimeMs);
    // What was made is where Location says.
    const found = await tenant.get(created.headers.get("Location") ?? "");
    expect(found.body).toEqual(created.body);
  });

  it("59: a replay shows what was, not what has become of it", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const path = first.headers.get("Location") ?? "";
    await tenant.post(`${path}/refunds`, {});
    expect((await tenant.get(path)).body["refundedMinor"]).toBe(250);
    expectReplay(await tenant.pay({}, { key }), first);
  });

  it("61: a request that fails validation does not consume its key", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    for (const wrong of [
      { amountMinor: -1 },
      { currency: "XXX" },
      { destination: "alice" },
      { note: "x" },
      { source: "Alice!" },
    ]) {
      const answer = await tenant.pay(wrong, { key });
      expect(answer).toMatchObject({
        status: 400,
        body: { code: "request-invalid", retry: { use: "same-key" } },
      });
      expect(answer.headers.get("Idempotency-Expires")).toBeNull();
    }
    expect(await server().sql("SELECT key FROM journal WHERE tenant = ?", tenant.name)).toEqual([]);
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
  });

  it("61: the members that are wrong are named, by JSON pointer", async () => {
    const tenant = await openTenant(server());
    const answer = await tenant.pay({ amountMinor: 0.5, currency: "eur", note: "x" });
    expect(answer.body["errors"]).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ pointer: "/amountMinor" }),
        expect.objectContaining({ pointer: "/currency" }),
      ]),
    );
  });

  it("62: a business refusal is stored, and stays the answer when its cause is gone", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const refused = await tenant.pay({ source: "bob", destination: "alice" }, { key });
    expect(refused).toMatchObject({
      status: 402,
      body: { code: "insufficient-funds", status: 402, retry: { use: "new-key" } },
    });
    expect(refused.headers.get("X-Should-Retry")).toBe("false");
    expect(refused.headers.get("Idempotency-Expires")).not.toBeNull();

    await tenant.pay({ amountMinor: 5_000 });
    expectReplay(await tenant.pay({ source: "bob", destination: "alice" }, { key }), refused);
    expect(await transfersOf(server(), tenant, key)).toEqual([]);
    expect(await tenant.pay({ source: "bob", destination: "alice" })).toMatchObject({
      status: 201,
    });
  });

  const post = "POST" as const;
  const patch = "PATCH" as const;
  const mug = { sku: "mug", name: "Mug", priceMinor: 1, currency: "EUR" };
  const refunds = (payment: string) => `/v1/payments/pay_${payment.padStart(26, "0")}/refunds`;
  const tooMuch = FUNDS_MINOR + 1;

  const refusals: [string, number, "POST" | "PATCH", string, Record<string, unknown>][] = [
    ["insufficient-funds", 402, post, "/v1/payments", { ...PAYMENT, amountMinor: tooMuch }],
    ["unknown-account", 409, post, "/v1/payments", { ...PAYMENT, destination: "nobody" }],
    ["unknown-account", 409, post, "/v1/payments", { ...PAYMENT, source: "nobody" }],
    ["currency-mismatch", 409, post, "/v1/payments", { ...PAYMENT, currency: "USD" }],
    ["already-exists", 409, post, "/v1/accounts", { id: "alice", currency: "EUR" }],
    ["already-exists", 409, post, "/v1/products", mug],
    ["unknown-payment", 404, post, refunds("1"), {}],
    // The payment that funds alice.
    ["not-refundable", 409, post, refunds("0"), { amountMinor: tooMuch }],
    ["unknown-product", 404, patch, "/v1/products/cup/stock", { delta: 1 }],
    ["out-of-stock", 409, patch, "/v1/products/mug/stock", { delta: -4 }],
  ];

  it.each(refusals)(
    "62: %s (%i) is stored, changes nothing, and is replayed",
    async (code, status, method, path, body) => {
      const tenant = await openTenant(server());
      await tenant.post("/v1/products", { ...mug, quantity: 3 });
      const send = method === "POST" ? tenant.post : tenant.patch;
      const key = newKey();
      const first = await send(path, body, { key });
      expect(first).toMatchObject({
        status,
        replayed: false,
        body: { code, status, retry: { use: "new-key" } },
      });
      expect(first.headers.get("Content-Type")).toBe("application/problem+json");
      // Learned figures would make the bytes of a stored answer untrue later.
      expect(first.body["retry"]).not.toHaveProperty("afterMs");
      expect(first.headers.get("Retry-After")).toBeNull();
      expectReplay(await send(path, body, { key }), first);

      expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR);
      expect((await tenant.get("/v1/products/mug")).body["quantity"]).toBe(3);
      expect(await tenant.get(`/v1/idempotency-keys/${key}`)).toMatchObject({
        body: { state: "completed", outcome: { status, refusal: code }, link: null },
      });
    },
  );

  it("62: refund-exceeds-payment (409) is stored, and stays the answer of its key", async () => {
    const tenant = await openTenant(server());
    const path = `/v1/payments/${textOf(await tenant.pay(), "id")}/refunds`;
    const key = newKey();
    const first = await tenant.post(path, { amountMinor: 251 }, { key });
    expect(first).toMatchObject({ status: 409, body: { code: "refund-exceeds-payment" } });
    expectReplay(await tenant.post(path, { amountMinor: 251 }, { key }), first);
    expect(await transfersOf(server(), tenant, key)).toEqual([]);
  });
});

describe("a schema that is not there yet", () => {
  const server = () => serverFor("not migrated");

  it("60: a 503 from before the effect is not stored: the same key runs once the schema is there", async () => {
    const tenant = await newTenant(server());
    const key = newKey();
    const account = { id: "alice", currency: "EUR" };
    const early = await tenant.post("/v1/accounts", account, { key });
    expect(early).toMatchObject({
      status: 503,
      replayed: false,
      body: { code: "temporarily-unavailable", retry: { use: "same-key" } },
    });
    expect(early.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(early.headers.get("X-Should-Retry")).toBe("true");
    expect(early.headers.get("Idempotency-Expires")).toBeNull();
    expect(await tenant.get("/v1/accounts")).toMatchObject({ status: 503 });
    expect(await tenant.get(`/v1/idempotency-keys/${key}`)).toMatchObject({ status: 503 });

    await server().migrate();
    expect(await tenant.post("/v1/accounts", account, { key })).toMatchObject({
      status: 201,
      replayed: false,
    });
  });
});

describe("more new keys than a tenant may use in a minute", () => {
  const server = () => serverFor("limited");
  const limit = NEW_KEYS_PER_MINUTE;

  beforeEach(withinOneMinute);

  /** Uses the limit up. The keys that were still accepted. */
  const exhaust = async (tenant: Tenant): Promise<string[]> => {
    const keys = Array.from({ length: limit }, newKey);
    for (const key of keys) expect((await tenant.pay({}, { key })).status).toBe(201);
    return keys;
  };

  it("63: the next new key gets 429 before any object is called, and nothing is made", async () => {
    const tenant = await openTenant(server());
    await exhaust(tenant);
    const refused = await expectNothingMade(server(), async () => tenant.pay());
    expect(refused).toMatchObject({
      status: 429,
      replayed: false,
      body: { code: "rate-limited", retry: { use: "same-key" } },
    });
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(0);
    expect(refused.headers.get("X-Should-Retry")).toBe("true");
    expect(refused.headers.get("Idempotency-Expires")).toBeNull();
  });

  it("63: a 429 is not stored: the same key runs where there is room", async () => {
    const tenant = await openTenant(server());
    await exhaust(tenant);
    const key = newKey();
    expect((await tenant.pay({}, { key })).status).toBe(429);
    // Another version of the Worker, on the same data and with a higher limit.
    const roomy = await newTenant(serverFor("roomy"), tenant.name);
    expect(await roomy.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
  });

  it("63: retries of known keys, lookups and other tenants are not limited", async () => {
    const tenant = await openTenant(server());
    const [known = ""] = await exhaust(tenant);
    expect((await tenant.pay()).status).toBe(429);
    for (let i = 0; i < limit + 2; i++) {
      expect(await tenant.pay({}, { key: known })).toMatchObject({ status: 201, replayed: true });
    }
    expect((await tenant.get(`/v1/idempotency-keys/${known}`)).status).toBe(200);
    const other = await openTenant(server());
    expect((await other.pay()).status).toBe(201);
  });

  it("63: 401 and 403 are judged before the limit, and use none of it", async () => {
    const tenant = await openTenant(server());
    for (let i = 0; i < limit + 2; i++) {
      expect((await tenant.pay({}, { token: null })).status).toBe(401);
    }
    await exhaust(tenant);
    expect((await tenant.pay({}, { token: null })).status).toBe(401);
  });
});
