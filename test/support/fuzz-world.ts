/** What the fuzz finds when it begins: tenants with accounts, products, orders, and things at the edge of the ledger. */
import type { Tokens, World } from "./fuzz-request.ts";
import { type Server, TEST_SECRETS } from "./server.ts";
import { newKey, openTenant, type Tenant, textOf } from "./tenant.ts";
import { forgeToken, TENANT_SCOPES, tokenFor } from "./token.ts";

const TENANTS = 3;
const SCOPES = [...TENANT_SCOPES.split(" "), "ops:act"];
/** The largest balance that the schema stores. */
const BALANCE_MAX = Number.MAX_SAFE_INTEGER;
const QUANTITY_MAX = 1_000_000_000_000;

export const openWorlds = async (server: Server): Promise<World[]> => {
  const tenants = await Promise.all(
    Array.from({ length: TENANTS }, async () => openTenant(server)),
  );
  const payments = await Promise.all(
    tenants.map(async (tenant) => textOf(await tenant.pay(), "id")),
  );
  return Promise.all(
    tenants.map(async (tenant, i) =>
      openWorld(server, tenant, payments[(i + 1) % payments.length] ?? ""),
    ),
  );
};

const openWorld = async (
  server: Server,
  tenant: Tenant,
  foreignPayment: string,
): Promise<World> => {
  const token = await tokenFor(tenant.name, { scope: SCOPES.join(" ") });
  const made = async (path: string, body: Readonly<Record<string, unknown>>) => {
    const answer = await tenant.post(path, body, { token });
    if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${answer.text}`);
    return answer;
  };
  for (const [id, currency] of [
    ["poor", "EUR"],
    ["drained", "EUR"],
    ["sink", "EUR"],
    ["carol", "USD"],
    ["whale", "CHF"],
  ]) {
    await made("/v1/accounts", { id, currency });
  }
  for (const [sku, priceMinor, currency, quantity] of [
    ["mug", 5, "EUR", 1_000_000],
    ["tee", 1, "EUR", 1_000_000],
    ["gift", 0, "EUR", 1_000_000],
    ["last", 5, "EUR", 3],
    ["dear", 1_000_000_000_000, "EUR", 1_000_000],
    ["dollars", 5, "USD", 1_000_000],
    ["brim", 0, "EUR", 1],
  ]) {
    await made("/v1/products", { sku, name: sku, priceMinor, currency, quantity });
  }
  const fund = async (destination: string, amountMinor: number, currency: string) =>
    made("/v1/payments", { source: `system:${currency}`, destination, amountMinor, currency });
  await fund("alice", 100_000_000, "EUR");
  await fund("bob", 1_000_000, "EUR");
  await fund("carol", 1_000_000, "USD");
  const pay = async (source: string, destination: string, amountMinor: number) =>
    textOf(await made("/v1/payments", { source, destination, amountMinor, currency: "EUR" }), "id");
  const payments = [await pay("alice", "bob", 700), await pay("alice", "bob", 1)];
  // Whose money is gone: neither the payment nor the order can be given back.
  const spentPayment = await pay("alice", "drained", 100);
  const order = async (merchant: string, sku: string) =>
    textOf(
      await made("/v1/orders", {
        buyer: "alice",
        merchant,
        currency: "EUR",
        lines: [{ sku, quantity: 1 }],
      }),
      "id",
    );
  const spentOrder = await order("drained", "mug");
  await pay("drained", "sink", 105);
  const brimOrder = await order("bob", "brim");
  await server.sqlBatch([
    [
      "INSERT INTO stock_moves (tenant, sku, id, delta, reason, key, created_at_ms) VALUES (?, 'brim', 'mov_seed', ?, NULL, 'seed', 0)",
      tenant.name,
      QUANTITY_MAX,
    ],
    [
      "INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES (?, 'seed_more_than_one_payment_may_be', 'system:CHF', 'whale', 'CHF', ?, 'seed', 0)",
      tenant.name,
      BALANCE_MAX,
    ],
  ]);
  const cancelled = { state: "cancelled" };
  return {
    tenant: tenant.name,
    tokens: await tokensOf(tenant.name, token),
    accounts: ["alice", "bob", "poor", "carol", "sink", "system:EUR"],
    skus: ["mug", "tee", "gift", "last", "dear", "dollars"],
    payments,
    orders: [await order("bob", "mug"), await order("bob", "gift")],
    keys: [newKey()],
    foreignPayment,
    rare: {
      "payments.create": [
        { json: { source: "system:CHF", destination: "whale", amountMinor: 5, currency: "CHF" } },
      ],
      "refunds.create": [{ params: { id: spentPayment }, json: {} }],
      "stock.adjust": [{ params: { sku: "brim" }, json: { delta: 5 } }],
      "orders.create": [
        {
          json: {
            buyer: "alice",
            merchant: "bob",
            currency: "EUR",
            lines: [{ sku: "dear", quantity: 2 }],
          },
        },
        {
          json: {
            buyer: "alice",
            merchant: "bob",
            currency: "EUR",
            lines: [{ sku: "last", quantity: 4 }],
          },
        },
        {
          json: {
            buyer: "alice",
            merchant: "bob",
            currency: "EUR",
            lines: [{ sku: "dollars", quantity: 1 }],
          },
        },
      ],
      "orders.cancel": [
        { params: { id: spentOrder }, json: cancelled },
        { params: { id: brimOrder }, json: cancelled },
      ],
    },
  };
};

const tokensOf = async (tenant: string, full: string): Promise<Tokens> => {
  const restricted = SCOPES.map(async (scope) => {
    const granted = SCOPES.filter((one) => one !== scope).join(" ");
    return [scope, await tokenFor(tenant, { scope: granted })] as const;
  });
  const nowS = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "latchkey",
    sub: "test",
    tenant,
    scope: TENANT_SCOPES,
    jti: newKey(),
    exp: nowS + 3_600,
  };
  const header = { alg: "HS256" };
  const secret = TEST_SECRETS.TOKEN_SECRET;
  return {
    full,
    without: Object.fromEntries(await Promise.all(restricted)),
    bad: [
      forgeToken({ header: { alg: "none" }, claims }),
      forgeToken({ header, claims, secret: `${secret}x` }),
      forgeToken({ header, claims: { ...claims, exp: nowS - 1 }, secret }),
      forgeToken({ header, claims: { ...claims, nbf: nowS + 3_600 }, secret }),
      forgeToken({ header, claims: { ...claims, iss: "other" }, secret }),
      forgeToken({ header, claims: { ...claims, tenant: "../other" }, secret }),
      forgeToken({ header, claims: { ...claims, jti: undefined }, secret }),
      forgeToken({ header, claims: { ...claims, exp: "never" }, secret }),
    ],
  };
};
