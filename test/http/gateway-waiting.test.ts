/** What a caller of the gateway hears while its key is in flight, and whose keys and limits are whose. */
import { createHmac } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { type Fault, startUpstream } from "../../examples/upstream/upstream.ts";
import { useServers } from "../support/suite.ts";
import { newKey } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const nextFaults: Fault[] = [];
const upstream = await startUpstream({ nextFault: () => nextFaults.shift(), lateMs: 1_500 });
afterAll(async () => upstream.stop());

const ROUTES = [
  { path: "/waits/**", waitSeconds: 15 },
  { path: "/fixed/**", tenant: "acme" },
];
const vars = { UPSTREAM_ORIGIN: upstream.origin, GATEWAY_ROUTES: JSON.stringify(ROUTES) };
const CREDENTIAL_SECRET = "another-test-only-secret-0123456789abcdefghijklmn";
const serverFor = useServers({
  usual: { vars },
  limited: { vars, newKeysPerMinute: 3 },
  rotated: { vars: { ...vars, CREDENTIAL_SECRET } },
});

const send = async (
  path: string,
  key: string,
  headers: Readonly<Record<string, string>> = {},
  server: Parameters<typeof serverFor>[0] = "usual",
): Promise<{ response: Response; body: Record<string, unknown> }> => {
  const response = await fetch(serverFor(server).origin + path, {
    method: "POST",
    headers: {
      Authorization: "Bearer sk_test_1",
      "Content-Type": "application/x-www-form-urlencoded",
      "Idempotency-Key": key,
      ...headers,
    },
    body: "amount=1",
  });
  return { response, body: (await response.json()) as Record<string, unknown> };
};
const effectsBy = (key: string): number =>
  upstream.effects.filter((effect) => effect.key === key).length;

describe("35: while a key is in flight", () => {
  it("who does not wait hears 423, in how many seconds to come back, and that it is worth it", async () => {
    const key = newKey();
    nextFaults.push("answer-late");
    const first = send("/v1/charges", key);
    while (effectsBy(key) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const { response, body } = await send("/v1/charges", key);
    expect(response.status).toBe(423);
    expect(response.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(response.headers.get("Stripe-Should-Retry")).toBe("true");
    expect(body).toMatchObject({ code: "request-in-flight", retry: { use: "same-key" } });
    expect((await first).response.status).toBe(200);
    expect(effectsBy(key)).toBe(1);
  });

  it("who comes by a route that waits hears the outcome, without asking for it", async () => {
    const key = newKey();
    nextFaults.push("answer-late");
    const first = send("/waits/charges", key);
    while (effectsBy(key) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await send("/waits/charges", key);
    expect(second.response.status).toBe(200);
    expect(second.response.headers.get("Idempotent-Replayed")).toBe("true");
    expect(second.body).toEqual((await first).body);
    expect(effectsBy(key)).toBe(1);
  });

  it("who prefers not to wait hears 202 at once, with a link that says what became of it", async () => {
    const key = newKey();
    nextFaults.push("answer-late");
    const accepted = await send("/v1/charges", key, { Prefer: "respond-async" });
    expect(accepted.response.status).toBe(202);
    const link = accepted.response.headers.get("Location") ?? "";
    expect(link).toContain(`/_latchkey/v1/idempotency-keys/${key}`);
    const state = async (): Promise<unknown> => {
      const response = await fetch(new URL(link, serverFor("usual").origin), {
        headers: { Authorization: "Bearer sk_test_1" },
      });
      expect(response.status).toBe(200);
      return response.json();
    };
    expect(await state()).toMatchObject({ state: "in-flight" });
    // Nobody asks for the answer meanwhile: it is carried out all the same.
    while (((await state()) as { state: string }).state !== "completed") {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const replay = await send("/v1/charges", key);
    expect(replay.response.status).toBe(200);
    expect(replay.response.headers.get("Idempotent-Replayed")).toBe("true");
    expect(effectsBy(key)).toBe(1);
    // Our part of the preference is not the upstream's.
    const effect = upstream.effects.find((one) => one.key === key);
    expect(effect?.headers).not.toHaveProperty("prefer");
  });
});

describe("65: new keys", () => {
  it("are counted by address, whatever credentials are made up, and where the route fixes the tenant by that; retries are not", async () => {
    // As Cloudflare says it, which no caller can.
    const from = (address: string) => ({
      "CF-Connecting-IP": address,
      Authorization: `Bearer made-up-${newKey()}`,
    });
    const ask = async (path: string, key: string, headers: Readonly<Record<string, string>>) =>
      send(path, key, headers, "limited");
    const calls = Array.from({ length: 3 }, () => ({ key: newKey(), headers: from("192.0.2.7") }));
    for (const { key, headers } of calls) {
      expect((await ask("/v1/charges", key, headers)).response.status).toBe(200);
    }
    const before = upstream.calls();
    const refused = await ask("/v1/charges", newKey(), from("192.0.2.7"));
    expect(refused.response.status).toBe(429);
    expect(refused.body).toMatchObject({ code: "rate-limited", retry: { use: "same-key" } });
    expect(upstream.calls()).toBe(before);
    for (const { key, headers } of calls) {
      const { response } = await ask("/v1/charges", key, headers);
      expect(response.headers.get("Idempotent-Replayed")).toBe("true");
    }
    const elsewhere = await ask("/v1/charges", newKey(), from("192.0.2.8"));
    const ofTenant = await ask("/fixed/charges", newKey(), from("192.0.2.7"));
    expect([elsewhere.response.status, ofTenant.response.status]).toEqual([200, 200]);
  });
});

describe("24: the tenant of a credential", () => {
  it("69: may have the answers of its keys erased, and of nobody else's", async () => {
    const key = newKey();
    await send("/v1/charges", key);
    const erase = async (credential: string): Promise<number> => {
      const response = await fetch(
        `${serverFor("usual").origin}/_latchkey/v1/idempotency-keys/${key}/body`,
        { method: "DELETE", headers: { Authorization: credential } },
      );
      await response.text();
      return response.status;
    };
    await erase("Bearer sk_another");
    expect((await send("/v1/charges", key)).response.status).toBe(200);
    expect(await erase("Bearer sk_test_1")).toBeLessThan(300);
    const { response, body } = await send("/v1/charges", key);
    expect(response.status).toBe(410);
    expect(body).toMatchObject({ code: "outcome-erased" });
    expect(effectsBy(key)).toBe(1);
  });

  it("is a keyed hash of it by CREDENTIAL_SECRET, so that the other secret may be rotated", async () => {
    const key = newKey();
    nextFaults.push("reset-after");
    const headers = { Authorization: `Bearer ${newKey()}` };
    expect((await send("/v1/charges", key, headers, "rotated")).response.status).toBe(409);
    const hash = createHmac("sha256", CREDENTIAL_SECRET)
      .update(`latchkey-credential-1\nauthorization\n${headers.Authorization}`)
      .digest("base64url");
    const token = await tokenFor("operators", { scope: "ops:read" });
    const list = async (): Promise<string> => {
      const response = await fetch(
        `${serverFor("rotated").origin}/_latchkey/v1/ops/uncertain-keys`,
        { headers: { "Latchkey-Authorization": `Bearer ${token}` } },
      );
      expect(response.status).toBe(200);
      return response.text();
    };
    // The row follows the answer.
    while (!(await list()).includes(key)) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await list()).toContain(`credential:${hash}`);
    expect(await list()).not.toContain(headers.Authorization.slice(7));
  });
});
