/** What the operations do, seen from outside, and invariant L: after each of them the books balance. */
import { describe, expect, it } from "vitest";
import { balanceOf } from "../support/books.ts";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import {
  type Answer,
  FUNDS_MINOR,
  newTenant,
  openTenant,
  type Tenant,
  textOf,
} from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

describe.each(ROUTINGS)("KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  const balances = async (tenant: Tenant, ...accounts: string[]): Promise<number[]> =>
    Promise.all(accounts.map(async (account) => balanceOf(server(), tenant, account)));

  it("L: money comes from the currency's system account, and every payment moves it whole", async () => {
    const tenant = await newTenant(server());
    const alice = await tenant.post("/v1/accounts", { id: "alice", currency: "JPY" });
    expect(alice).toMatchObject({
      status: 201,
      body: { id: "alice", currency: "JPY", balanceMinor: 0, overdraftLimitMinor: 0 },
    });
    const made = await tenant.post("/v1/accounts", { currency: "JPY" });
    const other = textOf(made, "id");
    expect(other).toMatch(/^acc_[0-9a-z]{26}$/);
    expect((await tenant.get(`/v1/accounts/${other}`)).body).toEqual(made.body);

    const funding = {
      source: "system:JPY",
      destination: "alice",
      currency: "JPY",
      amountMinor: 90,
    };
    expect((await tenant.pay(funding)).status).toBe(201);
    const paid = await tenant.pay({ destination: other, currency: "JPY", amountMinor: 33 });
    expect(paid).toMatchObject({
      status: 201,
      body: { source: "alice", destination: other, amountMinor: 33, refundedMinor: 0 },
    });
    expect((await tenant.get(`/v1/payments/${textOf(paid, "id")}`)).body).toEqual(paid.body);
    expect(await balances(tenant, "alice", other, "system:JPY")).toEqual([57, 33, -90]);
  });

  it("L: an account may be overdrawn to its limit, and by no cent more", async () => {
    const tenant = await openTenant(server());
    const account = { id: "carol", currency: "EUR", overdraftLimitMinor: 100 };
    expect((await tenant.post("/v1/accounts", account)).status).toBe(201);
    const pay = async (amountMinor: number) => tenant.pay({ source: "carol", amountMinor });
    expect((await pay(101)).status).toBe(402);
    expect((await pay(100)).status).toBe(201);
    expect((await pay(1)).status).toBe(402);
    expect(await balances(tenant, "carol", "bob")).toEqual([-100, 100]);
  });

  it("L: refunds go back the way the payment came, until nothing is left of it", async () => {
    const tenant = await openTenant(server());
    const payment = textOf(await tenant.pay({ amountMinor: 250 }), "id");
    const refund = async (body: Readonly<Record<string, unknown>>): Promise<Answer> =>
      tenant.post(`/v1/payments/${payment}/refunds`, body);
    const part = await refund({ amountMinor: 100, description: "one of two" });
    expect(part).toMatchObject({
      status: 201,
      body: { payment, amountMinor: 100, currency: "EUR", description: "one of two" },
    });
    expect((await tenant.get(part.headers.get("Location") ?? "")).body).toEqual(part.body);
    expect(await refund({ amountMinor: 151 })).toMatchObject({
      status: 409,
      body: { code: "refund-exceeds-payment" },
    });
    // What is left, without being told how much.
    expect(await refund({})).toMatchObject({ status: 201, body: { amountMinor: 150 } });
    expect(await refund({})).toMatchObject({
      status: 409,
      body: { code: "refund-exceeds-payment" },
    });
    expect((await tenant.get(`/v1/payments/${payment}`)).body["refundedMinor"]).toBe(250);
    expect(await balances(tenant, "alice", "bob")).toEqual([FUNDS_MINOR, 0]);
  });

  it("L: a refund needs funds like any payment", async () => {
    const tenant = await openTenant(server());
    const payment = textOf(await tenant.pay({ amountMinor: 250 }), "id");
    await tenant.pay({ source: "bob", destination: "alice", amountMinor: 1 });
    expect(await tenant.post(`/v1/payments/${payment}/refunds`, {})).toMatchObject({
      status: 402,
      body: { code: "insufficient-funds" },
    });
    expect((await tenant.get(`/v1/payments/${payment}`)).body["refundedMinor"]).toBe(0);
  });

  it("L: stock changes by its moves alone, each telling what is left, and never falls below zero", async () => {
    const tenant = await newTenant(server());
    const mug = { sku: "mug", name: "Mug", priceMinor: 1250, currency: "EUR", quantity: 3 };
    const product = await tenant.post("/v1/products", mug);
    expect(product).toMatchObject({ status: 201, body: mug });
    const move = async (delta: number) => tenant.patch("/v1/products/mug/stock", { delta });
    expect(await move(-2)).toMatchObject({
      status: 200,
      body: { sku: "mug", delta: -2, quantity: 1 },
    });
    expect(await move(-2)).toMatchObject({ status: 409, body: { code: "out-of-stock" } });
    expect(await move(24)).toMatchObject({ status: 200, body: { quantity: 25 } });
    expect(await move(-25)).toMatchObject({ status: 200, body: { quantity: 0 } });
    expect((await tenant.get("/v1/products/mug")).body).toEqual({ ...product.body, quantity: 0 });
  });

  it("L: what has been booked cannot be changed or removed, not even by SQL", async () => {
    const tenant = await openTenant(server());
    await tenant.pay();
    for (const text of [
      "UPDATE transfers SET amount = amount + 1 WHERE tenant = ?",
      "DELETE FROM transfers WHERE tenant = ?",
      "UPDATE entries SET amount = amount + 1 WHERE tenant = ?",
      "DELETE FROM entries WHERE tenant = ?",
      "UPDATE accounts SET balance = balance - 1000000 WHERE id = 'alice' AND tenant = ?",
    ]) {
      await expect(server().sql(text, tenant.name)).rejects.toThrow(/SQLITE_CONSTRAINT/);
    }
  });
});
