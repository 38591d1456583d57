/** Fault 82: a tenant's rows are in one database, the one it got first, whatever is bound or preferred later. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Server } from "../support/server.ts";
import { during, ROUTINGS, useServers, whileLocked } from "../support/suite.ts";
import { newKey, newTenant, type Tenant } from "../support/tenant.ts";

const ACCOUNT = { id: "alice", currency: "EUR" };

/** How many keys of a tenant each database has in its journal. */
const keysIn = async (server: Server, tenant: Tenant, databases: number): Promise<number[]> => {
  const counts: number[] = [];
  for (let i = 0; i < databases; i++) {
    const { sql } = server.database(i === 0 ? "DB" : `DB_${i}`);
    const [row] = await sql("SELECT COUNT(*) AS n FROM journal WHERE tenant = ?", tenant.name);
    counts.push(Number(row?.["n"]));
  }
  return counts;
};

describe("a database is added, and preferred", () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const one = { folder };
  const both = { folder, databases: 2, vars: { DEFAULT_DATABASE: "DB_1" } };

  const key = newKey();
  let before: { readonly name: string; readonly text: string };
  beforeAll(async () => {
    before = await during(one, async (server) => {
      const tenant = await newTenant(server);
      const { text } = await tenant.post("/v1/accounts", ACCOUNT, { key });
      return { name: tenant.name, text };
    });
  });

  it("82: who was there before stays where it was: its keys replay, its new rows join the old ones", () =>
    during(both, async (server) => {
      const tenant = await newTenant(server, before.name);
      const again = await tenant.post("/v1/accounts", ACCOUNT, { key });
      expect(again).toMatchObject({ status: 201, replayed: true, text: before.text });
      await tenant.post("/v1/accounts", { ...ACCOUNT, id: "bob" });
      expect(await keysIn(server, tenant, 2)).toEqual([2, 0]);
      expect((await tenant.get("/v1/accounts/alice")).status).toBe(200);
    }));

  it("82: who comes later gets the preferred one, in all that is asked of it, and keeps it", async () => {
    const name = await during(both, async (server) => {
      const tenant = await newTenant(server);
      expect((await tenant.post("/v1/accounts", ACCOUNT, { key })).status).toBe(201);
      expect(await keysIn(server, tenant, 2)).toEqual([0, 1]);
      expect((await tenant.get("/v1/accounts/alice")).status).toBe(200);
      const listed = await tenant.get("/v1/idempotency-keys?state=completed");
      expect(listed.body["data"]).toMatchObject([{ key }]);
      return tenant.name;
    });
    // The preference goes back, under another number of objects: nobody who has a copy is asked.
    await during({ folder, databases: 3, vars: { KEY_OBJECTS: "7" } }, async (server) => {
      const tenant = await newTenant(server, name);
      expect(await tenant.post("/v1/accounts", ACCOUNT, { key })).toMatchObject({
        status: 201,
        replayed: true,
      });
      expect((await tenant.delete(`/v1/idempotency-keys/${key}/body`)).status).toBe(204);
      expect((await tenant.post("/v1/accounts", ACCOUNT, { key })).status).toBe(410);
      expect(await keysIn(server, tenant, 3)).toEqual([0, 1, 0]);
    });
  });

  it("82: while a tenant's database is not bound nothing of it runs elsewhere; the same key runs once it is", async () => {
    const late = newKey();
    const name = await during(both, async (server) => {
      const tenant = await newTenant(server);
      await tenant.post("/v1/accounts", ACCOUNT);
      return tenant.name;
    });
    await during(one, async (server) => {
      const tenant = await newTenant(server, name);
      const refused = await tenant.post("/v1/accounts", { ...ACCOUNT, id: "bob" }, { key: late });
      expect(refused).toMatchObject({ status: 503, body: { retry: { use: "same-key" } } });
      expect((await tenant.get("/v1/accounts")).status).toBe(503);
      expect((await tenant.get("/v1/idempotency-keys?state=completed")).status).toBe(503);
      expect((await tenant.get(`/v1/idempotency-keys/${late}`)).status).toBe(503);
      expect(await keysIn(server, tenant, 1)).toEqual([0]);
    });
    await during(both, async (server) => {
      const tenant = await newTenant(server, name);
      const done = await tenant.post("/v1/accounts", { ...ACCOUNT, id: "bob" }, { key: late });
      expect(done).toMatchObject({ status: 201, replayed: false });
      expect(await keysIn(server, tenant, 2)).toEqual([0, 2]);
    });
  });
});

describe("two databases", () => {
  const serverFor = useServers({
    first: { databases: 2 },
    second: { databases: 2, vars: { DEFAULT_DATABASE: "DB_1" } },
    "not migrated": { databases: 2, migrated: false },
    "no such default": { databases: 2, vars: { DEFAULT_DATABASE: "DB_2" } },
  });

  it("54: while one is away, the tenants of the other go on", async () => {
    const server = serverFor("second");
    const tenant = await newTenant(server);
    await tenant.post("/v1/accounts", ACCOUNT);
    const answer = await whileLocked(server, () =>
      tenant.post("/v1/accounts", { ...ACCOUNT, id: "bob" }),
    );
    expect(answer.status).toBe(201);
  });

  it("82: the first requests of a tenant, all at once, find one database", async () => {
    for (const name of ["first", "second"] as const) {
      const server = serverFor(name);
      const tenant = await newTenant(server);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          tenant.post("/v1/accounts", { ...ACCOUNT, id: `account-${i}` }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
      expect(await keysIn(server, tenant, 2)).toEqual(name === "first" ? [20, 0] : [0, 20]);
    }
  });

  it("a migration that one of them misses is named with it", async () => {
    const server = serverFor("not migrated");
    const tenant = await newTenant(server);
    const { body } = await tenant.get("/healthz", { token: null });
    expect(body["faults"]).toEqual([
      expect.stringMatching(/has not been applied to DB:/),
      expect.stringMatching(/has not been applied to DB_1:/),
    ]);
  });

  it("a default that is not bound is named, and nothing is served with another", async () => {
    const server = serverFor("no such default");
    const tenant = await newTenant(server);
    const { body } = await tenant.get("/healthz", { token: null });
    expect(body["faults"]).toEqual([expect.stringContaining("DEFAULT_DATABASE")]);
    expect((await tenant.post("/v1/accounts", ACCOUNT)).status).toBe(500);
  });
});

describe("a database that is nearly full", () => {
  const serverFor = useServers({
    "1": { vars: { DATABASE_BYTES_MAX: "4096" } },
    "per-key": { vars: { DATABASE_BYTES_MAX: "4096", KEY_OBJECTS: "per-key" } },
  });

  it.each(ROUTINGS)(
    "takes no new key, 503, and answers every key that was used (%s)",
    async (routing) => {
      const server = serverFor(routing);
      const tenant = await newTenant(server);
      const used = newKey();
      // The first answer of a database tells how large it is.
      const first = await tenant.post("/v1/accounts", ACCOUNT, { key: used });
      expect(first.status).toBe(201);
      const fresh = newKey();
      for (const headers of [{}, { Prefer: "respond-async" }]) {
        const refused = await tenant.post(
          "/v1/accounts",
          { ...ACCOUNT, id: "bob" },
          { key: fresh, headers },
        );
        expect(refused).toMatchObject({ status: 503, body: { retry: { use: "same-key" } } });
        expect(refused.text).toContain("nearly full");
        expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThanOrEqual(60);
      }
      const again = await tenant.post("/v1/accounts", ACCOUNT, { key: used });
      expect(again).toMatchObject({ status: 201, replayed: true, text: first.text });
      expect(
        await tenant.post("/v1/accounts", { ...ACCOUNT, id: "x" }, { key: used }),
      ).toMatchObject({ status: 422 });
      expect((await tenant.get("/v1/accounts/bob")).status).toBe(404);
      expect((await tenant.delete(`/v1/idempotency-keys/${used}/body`)).status).toBe(204);
      expect(await keysIn(server, tenant, 1)).toEqual([1]);
    },
  );
});
