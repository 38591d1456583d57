/**
 * Fault 35, and what a caller hears while the first request still runs: `lockDatabase` makes D1 fail for real,
 * so that requests stay in flight for as long as a test needs.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { balanceOf, transfersOf } from "../support/books.ts";
import { EVERY_ROUTING, lockDatabase, ROUTINGS, useServers } from "../support/suite.ts";
import {
  type Answer,
  FUNDS_MINOR,
  newKey,
  openTenant,
  type Tenant,
  textOf,
} from "../support/tenant.ts";

const serverFor = useServers({ ...EVERY_ROUTING, "409": { vars: { IN_FLIGHT_STATUS: "409" } } });

/** How many answers have which status. */
const countOf = (answers: readonly Answer[]): Record<number, number> => {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

const lookUp = async (tenant: Tenant, key: string) => tenant.get(`/v1/idempotency-keys/${key}`);

describe.each(ROUTINGS)("while the first runs, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  /** A payment that is in flight, and stays so until `finish` is called. */
  const startPayment = async (tenant: Tenant, key: string) => {
    const unlock = lockDatabase(server());
    const first = tenant.pay({}, { key });
    await expect.poll(async () => (await lookUp(tenant, key)).body["state"]).toBe("in-flight");
    return {
      first,
      finish: async () => {
        unlock();
        return first;
      },
    };
  };

  it("35: a retry gets 423 at once, with Retry-After, and may come again with the same key", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    const retry = await tenant.pay({}, { key });
    const first = await finish();

    expect(retry).toMatchObject({ status: 423, replayed: false });
    expect(retry.body).toMatchObject({
      code: "request-in-flight",
      status: 423,
      instance: `/v1/idempotency-keys/${key}`,
      retry: { use: "same-key" },
    });
    expect(retry.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(retry.headers.get("X-Should-Retry")).toBe("true");
    expect(retry.headers.get("Stripe-Should-Retry")).toBe("true");
    expect(retry.headers.get("Idempotency-Expires")).toBeNull();

    expect(first).toMatchObject({ status: 201, replayed: false });
    expect(await tenant.pay({}, { key })).toMatchObject({ replayed: true, text: first.text });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("35: another body hears nothing of the run: 423 while the database cannot say whose the key is, then 422", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    const other = await tenant.pay({ amountMinor: 99 }, { key });
    await finish();
    expect(other).toMatchObject({ status: 423, body: { code: "request-in-flight" } });
    expect(await tenant.pay({ amountMinor: 99 }, { key })).toMatchObject({
      status: 422,
      body: { code: "idempotency-key-reused", mismatched: ["amountMinor"] },
    });
    expect(await transfersOf(server(), tenant, key)).toMatchObject([{ amount: 250 }]);
  });

  it("35: Prefer: wait holds the retry, and then gives it the first one's answer", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    let answered = 0;
    const waiters = ["wait=10", "return=minimal, wait=10", 'wait="10"', "wait=10; foo"].map(
      async (prefer) => {
        const answer = await tenant.pay({}, { key, headers: { Prefer: prefer } });
        answered += 1;
        return answer;
      },
    );
    await sleep(100);
    expect(answered).toBe(0);
    const first = await finish();
    for (const waited of await Promise.all(waiters)) {
      expect(waited).toMatchObject({ status: 201, replayed: true, text: first.text });
    }
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("35: Prefer: wait=1 gives up after a second, with 423", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    const beganAtMs = performance.now();
    const waited = await tenant.pay({}, { key, headers: { Prefer: "wait=1" } });
    const tookMs = performance.now() - beganAtMs;
    await finish();
    expect(waited.status).toBe(423);
    expect(tookMs).toBeGreaterThan(900);
  });

  it("35: a Prefer that does not ask to wait, or not understandably, does not wait", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    const retries: Answer[] = [];
    for (const prefer of [
      "wait=0",
      "wait=-1",
      "wait=soon",
      "wait",
      "await=5",
      "return=minimal",
      "",
    ]) {
      retries.push(await tenant.pay({}, { key, headers: { Prefer: prefer } }));
    }
    await finish();
    expect(retries.map(({ status }) => status)).toEqual(retries.map(() => 423));
  });

  it("35: a tenant's other keys and other tenants with the same key are not held", async () => {
    const tenant = await openTenant(server());
    const other = await openTenant(server());
    const key = newKey();
    const { finish } = await startPayment(tenant, key);
    const others = [tenant.pay(), other.pay({}, { key })];
    // Neither 423 nor 422: each is a request of its own, in flight like the first.
    await sleep(100);
    await finish();
    for (const answer of await Promise.all(others)) {
      expect(answer).toMatchObject({ status: 201, replayed: false });
    }
  });

  it.each([2, 20, 100])(
    "35: of %d at once one runs; the others get 423 or its answer",
    async (n) => {
      const tenant = await openTenant(server());
      const key = newKey();
      const answers = await Promise.all(
        Array.from({ length: n }, async () => tenant.pay({}, { key })),
      );
      const ran = answers.filter(({ status, replayed }) => status === 201 && !replayed);
      expect(ran).toHaveLength(1);
      const others = answers.filter((answer) => answer !== ran[0]);
      const inFlight = others.filter(({ status }) => status === 423);
      expect(inFlight.filter(({ headers }) => !headers.has("Retry-After"))).toEqual([]);
      const replays = others.filter(({ status }) => status !== 423);
      expect(replays.map(({ status, text }) => [status, text])).toEqual(
        replays.map(() => [201, ran[0]?.text]),
      );
      expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
      expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR - 250);
    },
  );

  it("35: of 100 at once that wait, one runs and 99 replay it", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const answers = await Promise.all(
      Array.from({ length: 100 }, async () =>
        tenant.pay({}, { key, headers: { Prefer: "wait=10" } }),
      ),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("35: 100 different keys at once are 100 effects", async () => {
    const tenant = await openTenant(server());
    const answers = await Promise.all(Array.from({ length: 100 }, async () => tenant.pay()));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(100);
    expect(new Set(answers.map((answer) => textOf(answer, "id"))).size).toBe(100);
    expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR - 100 * 250);
  });

  it("46: of payments that together exceed the account, as many succeed as it covers", async () => {
    const tenant = await openTenant(server());
    const part = FUNDS_MINOR / 4;
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => tenant.pay({ amountMinor: part })),
    );
    expect(countOf(answers)).toEqual({ 201: 4, 402: 6 });
    expect(await balanceOf(server(), tenant, "alice")).toBe(0);
  });

  it("46: of ten who want the last piece in stock, one gets it", async () => {
    const tenant = await openTenant(server());
    const product = { sku: "mug", name: "Mug", priceMinor: 1, currency: "EUR", quantity: 1 };
    await tenant.post("/v1/products", product);
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => tenant.patch("/v1/products/mug/stock", { delta: -1 })),
    );
    expect(countOf(answers)).toEqual({ 200: 1, 409: 9 });
    expect((await tenant.get("/v1/products/mug")).body["quantity"]).toBe(0);
  });

  it("47: of ten refunds of a whole payment, one is made", async () => {
    const tenant = await openTenant(server());
    const payment = textOf(await tenant.pay(), "id");
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () =>
        tenant.post(`/v1/payments/${payment}/refunds`, { amountMinor: 250 }),
      ),
    );
    expect(countOf(answers)).toEqual({ 201: 1, 409: 9 });
    expect((await tenant.get(`/v1/payments/${payment}`)).body["refundedMinor"]).toBe(250);
  });
});

describe("IN_FLIGHT_STATUS=409", () => {
  const server = () => serverFor("409");

  it("35: a retry gets 409 instead of 423, otherwise the same", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const unlock = lockDatabase(server());
    const first = tenant.pay({}, { key });
    await expect.poll(async () => (await lookUp(tenant, key)).body["state"]).toBe("in-flight");
    const retry = await tenant.pay({}, { key });
    unlock();
    expect((await first).status).toBe(201);
    expect(retry).toMatchObject({
      status: 409,
      body: { code: "request-in-flight", status: 409, retry: { use: "same-key" } },
    });
    expect(retry.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(retry.headers.get("X-Should-Retry")).toBe("true");
  });
});

describe("a database that is away for longer than a request may take", () => {
  const server = () => serverFor("1");

  it("51, 60: the caller gets 503, the key is not called free, nothing is stored, and the retry runs once", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const unlock = lockDatabase(server());
    const [first, waiter] = await Promise.all([
      tenant.pay({}, { key }),
      sleep(200).then(async () => tenant.pay({}, { key, headers: { Prefer: "wait=15" } })),
    ]);
    unlock();
    for (const answer of [first, waiter]) {
      expect(answer).toMatchObject({
        status: 503,
        replayed: false,
        body: { code: "outcome-unknown-yet", retry: { use: "same-key" } },
      });
      expect(answer.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
      expect(answer.headers.get("X-Should-Retry")).toBe("true");
      expect(answer.headers.get("Idempotency-Expires")).toBeNull();
    }
    const status = await lookUp(tenant, key);
    expect(status.body["state"]).toBe("unknown-yet");
    expect(Number(status.headers.get("Retry-After"))).toBeGreaterThan(20);

    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("54: replays that the object holds go on while the database is away", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const unlock = lockDatabase(server());
    const replay = await tenant.pay({}, { key });
    unlock();
    expect(replay).toMatchObject({ status: 201, replayed: true, text: first.text });
  });
});
