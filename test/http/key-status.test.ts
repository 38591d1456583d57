/** GET /v1/idempotency-keys/{key}: what may be known of a key, and by whom. */
import { describe, expect, it } from "vitest";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import {
  FUNDS_MINOR,
  newKey,
  newTenant,
  openTenant,
  type Tenant,
  textOf,
} from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

const lookUp = async (tenant: Tenant, key: string) =>
  tenant.get(`/v1/idempotency-keys/${encodeURIComponent(key)}`);

describe.each(ROUTINGS)("KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("a key that was used is completed: its operation, outcome and what it made are told, its body is not", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const payment = await tenant.pay({ description: "a private note" }, { key });
    const status = await lookUp(tenant, key);
    expect(status.status).toBe(200);
    expect(status.body).toEqual({
      key,
      state: "completed",
      operation: "payments.create",
      attempts: 1,
      outcome: { status: 201, refusal: null },
      link: `/v1/payments/${textOf(payment, "id")}`,
      createdAt: textOf(payment, "createdAt"),
      expiresAt: new Date(payment.headers.get("Idempotency-Expires") ?? "").toISOString(),
    });
    expect(status.text).not.toContain("private");
  });

  it("a key that was never used is not called free while a batch may still be on its way", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const status = await lookUp(tenant, key);
    expect(status.body).toEqual({
      key,
      state: "unknown-yet",
      operation: null,
      attempts: null,
      outcome: null,
      link: null,
      createdAt: null,
      expiresAt: null,
    });
    const afterS = Number(status.headers.get("Retry-After"));
    expect(afterS).toBeGreaterThan(20);
    expect(afterS).toBeLessThanOrEqual(60);
  });

  it("looking a key up does not use it", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await lookUp(tenant, key);
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
  });

  it("24: another tenant's key looks like one that was never used", async () => {
    const tenant = await openTenant(server());
    const stranger = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    const unused = await lookUp(stranger, newKey());
    expect((await lookUp(stranger, key)).body).toEqual({ ...unused.body, key });
  });

  it.each(["short", "k".repeat(256), "inner space 0123456789", "k\u00e9y-0123456789abcdef"])(
    "a text that is no key gets 400: %s",
    async (key) => {
      const tenant = await newTenant(server());
      expect(await lookUp(tenant, key)).toMatchObject({
        status: 400,
        body: { code: "idempotency-key-invalid" },
      });
    },
  );

  it("7: the quoted form names the same key", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    expect((await lookUp(tenant, `"${key}"`)).body).toMatchObject({ key, state: "completed" });
  });

  it("an expired key is never run again: 410 with a link to what it made, 422 for another body", async () => {
    const tenant = await openTenant(server());
    const used = newKey();
    const refused = newKey();
    const payment = await tenant.pay({}, { key: used });
    await tenant.pay({ amountMinor: FUNDS_MINOR }, { key: refused });
    // The same outcomes a day later, under keys that no object remembers.
    await server().sql(
      `INSERT INTO journal SELECT tenant, 'old-' || key, operation, fingerprint_version, fingerprint, members, object,
         'old-' || nonce, deliveries, attempt, state, refusal, status, headers, body, link,
         created_at_ms, created_at_ms / 1000, forget_at_s, NULL, NULL, NULL FROM journal WHERE tenant = ?`,
      tenant.name,
    );
    const before = await tenant.get("/v1/payments");
    const link = `/v1/payments/${textOf(payment, "id")}`;
    const retry = await tenant.pay({}, { key: `old-${used}` });
    expect(retry).toMatchObject({
      status: 410,
      replayed: false,
      body: { code: "idempotency-key-expired", link, retry: { use: "new-key" } },
    });
    expect(retry.headers.get("X-Should-Retry")).toBe("false");
    expect(await tenant.pay({ amountMinor: 1 }, { key: `old-${used}` })).toMatchObject({
      status: 422,
    });
    expect((await lookUp(tenant, `old-${used}`)).body).toMatchObject({ state: "expired", link });
    const refusal = await tenant.pay({ amountMinor: FUNDS_MINOR }, { key: `old-${refused}` });
    expect(refusal).toMatchObject({ status: 410 });
    expect(refusal.body).not.toHaveProperty("link");
    expect((await tenant.get("/v1/payments")).text).toBe(before.text);
  });
});
