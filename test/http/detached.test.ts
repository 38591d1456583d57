/** `Prefer: respond-async`: accepted with 202 once it is durable, and carried out without anybody who waits for it. */
import { describe, expect, it } from "vitest";
import { balanceOf, transfersOf } from "../support/books.ts";
import { EVERY_ROUTING, ROUTINGS, useServers, whileLocked } from "../support/suite.ts";
import { newKey, openTenant, type Tenant } from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

const ASYNC = { Prefer: "respond-async" };

const stateOf = async (tenant: Tenant, key: string): Promise<unknown> =>
  (await tenant.get(`/v1/idempotency-keys/${key}`)).body["state"];

const completed = async (tenant: Tenant, key: string): Promise<void> => {
  await expect.poll(() => stateOf(tenant, key)).toBe("completed");
};

describe.each(ROUTINGS)("KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("202 tells where to look and when; it is carried out though nobody asks again, and then replayed", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const answer = await whileLocked(server(), async () => {
      const sent = await tenant.pay({}, { key, headers: ASYNC });
      expect(await stateOf(tenant, key)).toBe("in-flight");
      return sent;
    });

    expect(answer).toMatchObject({ status: 202, replayed: false });
    const link = `/v1/idempotency-keys/${key}`;
    expect(answer.body).toEqual({ key, state: "in-flight", link });
    expect(answer.headers.get("Location")).toBe(link);
    expect(answer.headers.get("Preference-Applied")).toBe("respond-async");
    expect(answer.headers.get("Cache-Control")).toBe("no-store");
    expect(Number(answer.headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
    expect(answer.headers.get("Idempotency-Expires")).toBeNull();
    await completed(tenant, key);
    const first = await tenant.pay({}, { key, headers: ASYNC });
    expect(first).toMatchObject({ status: 201, replayed: true });
    expect(first.headers.get("Preference-Applied")).toBeNull();
    expect((await tenant.pay({}, { key })).text).toBe(first.text);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("12: another body under an accepted key is 422, whether or not its caller stays", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await whileLocked(server(), async () => {
      expect((await tenant.pay({}, { key, headers: ASYNC })).status).toBe(202);
      for (const headers of [ASYNC, {}]) {
        const other = await tenant.pay({ amountMinor: 251 }, { key, headers });
        expect(other).toMatchObject({ status: 422, body: { mismatched: ["amountMinor"] } });
      }
    });
    await completed(tenant, key);
    expect(await balanceOf(server(), tenant, "bob")).toBe(250);
  });

  it("35: a caller who comes while it runs hears 423, or 202 if it would not stay either", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await whileLocked(server(), async () => {
      expect((await tenant.pay({}, { key, headers: ASYNC })).status).toBe(202);
      expect((await tenant.pay({}, { key })).status).toBe(423);
      expect((await tenant.pay({}, { key, headers: ASYNC })).status).toBe(202);
    });
    const waited = await tenant.pay({}, { key, headers: { Prefer: "wait=20" } });
    expect(waited.status).toBe(201);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("61: what its schema refuses is 400 and not 202, and the key stays free", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const invalid = await tenant.pay({ destination: "alice" }, { key, headers: ASYNC });
    expect(invalid).toMatchObject({ status: 400, body: { code: "request-invalid" } });
    expect((await tenant.pay({}, { key })).status).toBe(201);
  });

  it("with wait=N the outcome itself is told, if it comes in time", async () => {
    const tenant = await openTenant(server());
    const prefer = { Prefer: "respond-async, wait=10" };
    const quick = await tenant.pay({}, { headers: prefer });
    expect(quick).toMatchObject({ status: 201, replayed: false });
    const refused = await tenant.pay({ amountMinor: 1_000_000 }, { headers: prefer });
    expect(refused).toMatchObject({ status: 402, replayed: false });
  });

  it("25: no credentials are no request to accept", async () => {
    const tenant = await openTenant(server());
    expect((await tenant.pay({}, { headers: ASYNC, token: null })).status).toBe(401);
  });
});
