/** What a tenant does with its keys afterwards: erasing a stored answer (69), and listing keys by state. */
import { describe, expect, it } from "vitest";
import { expectNothingMade, transfersOf } from "../support/books.ts";
import { EVERY_ROUTING, ROUTINGS, useServers, whileLocked } from "../support/suite.ts";
import { newKey, openTenant, type Tenant, textOf } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const serverFor = useServers(EVERY_ROUTING);

const erase = async (tenant: Tenant, key: string, token?: string | null) =>
  tenant.delete(
    `/v1/idempotency-keys/${encodeURIComponent(key)}/body`,
    token === undefined ? {} : { token },
  );

type Listed = { readonly data: readonly { readonly key: string }[]; readonly next: string | null };

const list = async (tenant: Tenant, query: string): Promise<Listed> => {
  const answer = await tenant.get(`/v1/idempotency-keys?${query}`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get("Cache-Control")).toBe("no-store");
  return JSON.parse(answer.text) as Listed;
};

describe.each(ROUTINGS)("69: erasing a key's answer, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("69: 204 without a body, and again; from then on 410 with what the key made, and never another run", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({ description: "a private note" }, { key });

    for (let times = 0; times < 2; times++) {
      const erased = await erase(tenant, key);
      expect(erased).toMatchObject({ status: 204, text: "" });
      expect(erased.headers.get("Cache-Control")).toBe("no-store");
    }

    const again = await tenant.pay({ description: "a private note" }, { key });
    expect(again).toMatchObject({
      status: 410,
      replayed: false,
      body: {
        code: "outcome-erased",
        link: `/v1/payments/${textOf(first, "id")}`,
        retry: { use: "never" },
      },
    });
    expect(again.headers.get("Stripe-Should-Retry")).toBe("false");
    expect(again.text).not.toContain("private");
    expect((await tenant.pay({ amountMinor: 1 }, { key })).status).toBe(422);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
    const [row] = await server().sql(
      "SELECT state, headers, body, members FROM journal WHERE tenant = ? AND key = ?",
      tenant.name,
      key,
    );
    expect(row).toEqual({ state: "erased", headers: null, body: null, members: null });
  });

  it("69: a key that is unknown, another tenant's or none at all is not erased, and nothing is made in the database", async () => {
    const tenant = await openTenant(server());
    const other = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    // 404 once no dead object's batch can claim it any more: see "69: of a key that was never used" in test/worker.
    expect((await erase(other, key)).status).toBe(503);
    expect((await erase(tenant, newKey())).status).toBe(503);
    expect((await erase(tenant, "short")).status).toBe(400);
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: true });
  });

  it("25, 27: needs the right to write, and without it no object is asked", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    const reader = await tokenFor(tenant.name, { scope: "read" });
    await expectNothingMade(server(), async () => {
      expect((await erase(tenant, key, null)).status).toBe(401);
      expect((await erase(tenant, key, reader)).status).toBe(403);
    });
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: true });
  });

  it("69: of a key in flight is 423: there is nothing to erase yet", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const [accepted, erased] = await whileLocked(server(), async () => [
      await tenant.pay({}, { key, headers: { Prefer: "respond-async" } }),
      await erase(tenant, key),
    ]);
    expect(accepted?.status).toBe(202);
    expect(erased).toMatchObject({ status: 423, body: { code: "request-in-flight" } });
  });
});

describe("keys by state", () => {
  const server = () => serverFor("1");

  it("are listed by key, a page at a time, each once, and without their answers", async () => {
    const tenant = await openTenant(server());
    const keys = Array.from({ length: 7 }, newKey).toSorted();
    for (const key of keys) await tenant.pay({ description: "a private note" }, { key });
    await erase(tenant, keys[3] ?? "");

    const found: string[] = [];
    let after = "";
    for (let pages = 0; pages < 4; pages++) {
      const page = await list(tenant, `state=completed&limit=3${after && `&after=${after}`}`);
      expect(JSON.stringify(page)).not.toContain("private");
      found.push(...page.data.map(({ key }) => key));
      if (page.next === null) break;
      after = page.next;
    }
    expect(found).toEqual(keys);
    for (const state of ["in-flight", "expired", "uncertain"]) {
      expect(await list(tenant, `state=${state}`)).toEqual({ data: [], next: null });
    }
  });

  it("show each key as a look-up of it does", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({ amountMinor: 1_000_000 }, { key });
    const { data } = await list(tenant, "state=completed");
    expect(data).toEqual([(await tenant.get(`/v1/idempotency-keys/${key}`)).body]);
  });

  it("24: are the tenant's own", async () => {
    const tenant = await openTenant(server());
    await tenant.pay();
    expect(await list(await openTenant(server()), "state=completed")).toEqual({
      data: [],
      next: null,
    });
  });

  it.each([
    "",
    "state=",
    "state=free",
    "state=erased",
    "state=completed&limit=0",
    "state=completed&limit=x",
    "state=completed&page=2",
  ])("asked for with %j are 400", async (query) => {
    const tenant = await openTenant(server());
    const answer = await tenant.get(`/v1/idempotency-keys?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: "request-invalid" } });
  });

  it("54: are 503 while D1 does not answer, and there again when it does", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    const path = "/v1/idempotency-keys?state=completed";
    const answer = await whileLocked(server(), () => tenant.get(path));
    expect(answer).toMatchObject({ status: 503, body: { code: "temporarily-unavailable" } });
    expect(await tenant.get(path)).toMatchObject({ status: 200, body: { data: [{ key }] } });
  });

  it("25, 27: need the right to read", async () => {
    const tenant = await openTenant(server());
    const writer = await tokenFor(tenant.name, { scope: "payments:write" });
    const path = "/v1/idempotency-keys?state=completed";
    expect((await tenant.get(path, { token: null })).status).toBe(401);
    expect((await tenant.get(path, { token: writer })).status).toBe(403);
  });
});
