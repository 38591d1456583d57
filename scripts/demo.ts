/**
 * The demo tenant: made over the real API with fixed idempotency keys, so that making it again is a
 * replay, and the lines that a person pastes to see an idempotency key at work.
 */
import { randomUUID } from "node:crypto";
import { mint } from "./mint.ts";
import { Complaint } from "./tool.ts";

const TENANT = "demo";

const seeds = [
  {
    key: "demo-seed-account-alice",
    path: "/v1/accounts",
    body: { id: "alice", currency: "EUR" },
  },
  {
    key: "demo-seed-account-bob",
    path: "/v1/accounts",
    body: { id: "bob", currency: "EUR" },
  },
  {
    // Money comes from the tenant's system account, the only one that may go negative.
    key: "demo-seed-funding-alice",
    path: "/v1/payments",
    body: {
      source: "system:EUR",
      destination: "alice",
      amountMinor: 100_000,
      currency: "EUR",
    },
  },
  {
    key: "demo-seed-product-mug",
    path: "/v1/products",
    body: { sku: "mug", name: "Mug", priceMinor: 1250, currency: "EUR", quantity: 10 },
  },
];

/** Makes the demo tenant's accounts, money and product. Harmless when they are there already. */
export const seed = async (url: string, secret: string): Promise<void> => {
  const token = await mint({
    secret,
    tenant: TENANT,
    subject: "seed",
    scope: "payments:write stock:write ledger:fund",
    ttlSeconds: 60,
  });
  for (const { key, path, body } of seeds) {
    const response = await fetch(url + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "idempotency-key": key,
      },
      body: JSON.stringify(body),
    });
    const answer = await response.text();
    // 409: it exists under a forgotten key. 410: the key has expired, what it made is still there.
    if (!response.ok && response.status !== 409 && response.status !== 410) {
      throw new Complaint(
        `Seeding failed: POST ${path} answered ${response.status}\n${answer.slice(0, 2000)}`,
      );
    }
  }
};

/** Lines to paste. The key is new each time, so that the first of them really makes a payment. */
export const walkthrough = async (url: string, secret: string): Promise<string> => {
  const token = await mint({
    secret,
    tenant: TENANT,
    subject: "demo",
    scope: "payments:write orders:write stock:write read",
    ttlSeconds: 8 * 60 * 60,
  });
  const key = `demo-${randomUUID()}`;
  const authorization = `-H 'Authorization: Bearer ${token}'`;
  const body = JSON.stringify({
    source: "alice",
    destination: "bob",
    amountMinor: 1250,
    currency: "EUR",
  });
  const pay = `curl -i ${url}/v1/payments ${authorization} -H 'Idempotency-Key: ${key}' -H 'Content-Type: application/json' -d '${body}'`;
  return [
    "# alice pays bob 12.50 EUR",
    pay,
    "",
    "# the very same again: the same answer, now with Idempotent-Replayed: true, and no second payment",
    pay,
    "",
    "# what the key stands for",
    `curl -i ${url}/v1/idempotency-keys/${key} ${authorization}`,
  ].join("\n");
};

/** The same of a gateway: whose API it is, it does not know. */
export const gatewayWalkthrough = (url: string): string => {
  const key = `demo-${randomUUID()}`;
  const authorization = "-H 'Authorization: Bearer sk_demo'";
  const charge = `curl -i ${url}/v1/charges ${authorization} -H 'Idempotency-Key: ${key}' -d amount=1250 -d currency=eur`;
  return [
    "# a charge, through the gateway",
    charge,
    "",
    "# the very same again: the same answer, now with Idempotent-Replayed: true; the API behind hears nothing",
    charge,
    "",
    "# what the key stands for",
    `curl -i ${url}/_latchkey/v1/idempotency-keys/${key} ${authorization}`,
    "",
    "# a read passes through",
    `curl -i ${url}/effects`,
  ].join("\n");
};
