/** GET /v1/idempotency-keys/{key}: what may be known of a key, and by whom. */
import { describe, expect, it } from "vitest";
import { startServer } from "../support/server.ts";
import { EVERY_ROUTING, ROUTINGS, temporaryFolder, useServers } from "../support/suite.ts";
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
    expect(afterS).toBeGreaterThan(0);
    expect(afterS).toBeLessThanOrEqual(30);
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
});

describe("a key whose answer has expired", () => {
  const folder = temporaryFolder();

  it("is never run again: 410 with a link to what it made, 422 for another body, expired when looked up", async () => {
    const before = await startServer({ folder: folder() });
    const tenant = await openTenant(before);
    const key = newKey();
    const refusedKey = newKey();
    const payment = await tenant.pay({}, { key });
    await tenant.pay({ amountMinor: FUNDS_MINOR }, { key: refusedKey });
    await before.stop();

    // The next generation of the database: what objects remember of the last is ignored.
    const server = await startServer({ folder: folder(), vars: { RESTORE_EPOCH: "1" } });
    try {
      await server.sql("UPDATE journal SET expires_at_s = created_at_ms / 1000");
      const later = await newTenant(server, tenant.name);
      const link = `/v1/payments/${textOf(payment, "id")}`;
      const retry = await later.pay({}, { key });
      expect(retry).toMatchObject({
        status: 410,
        replayed: false,
        body: { code: "idempotency-key-expired", link, retry: { use: "new-key" } },
      });
      expect(retry.headers.get("X-Should-Retry")).toBe("false");
      expect(await later.pay({ amountMinor: 1 }, { key })).toMatchObject({ status: 422 });
      expect((await lookUp(later, key)).body).toMatchObject({ state: "expired", link });
      expect((await later.get(link)).status).toBe(200);
      const refusal = await later.pay({ amountMinor: FUNDS_MINOR }, { key: refusedKey });
      expect(refusal).toMatchObject({ status: 410 });
      expect(refusal.body).not.toHaveProperty("link");
      expect(await server.sql("SELECT count(*) AS n FROM transfers")).toEqual([{ n: 2 }]);
    } finally {
      await server.stop();
    }
  });
});
