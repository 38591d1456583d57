/** Agents over the Model Context Protocol, with the official client: one effect for each intent, whatever breaks. */
import type { Client } from "@modelcontextprotocol/client";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { startUpstream } from "../../examples/upstream/upstream.ts";
import { callTool, connectAgent } from "../support/agent.ts";
import { balanceOf, expectNothingMade, transfersOf } from "../support/books.ts";
import { startFaultyProxy } from "../support/faulty-proxy.ts";
import { useServers } from "../support/suite.ts";
import { FUNDS_MINOR, newKey, openTenant, PAYMENT, type Tenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

/** Carries everything out, and says that it has failed. */
const failing = await startUpstream({ nextFault: () => "fail-after" });
afterAll(async () => failing.stop());

const ROUTES = JSON.stringify([{ path: "/**", upstream: failing.origin, tenant: "acme" }]);
const serverFor = useServers({ usual: {}, gateway: { vars: { GATEWAY_ROUTES: ROUTES } } });

const connect = async (origin: string, token: string): Promise<Client> =>
  connectAgent(`${origin}/mcp`, { Authorization: `Bearer ${token}` });

const call = callTool;

const opened = async (): Promise<{ tenant: Tenant; client: Client; origin: string }> => {
  const server = serverFor("usual");
  const tenant = await openTenant(server);
  return { tenant, client: await connect(server.origin, tenant.token), origin: server.origin };
};

describe("an agent", () => {
  it("finds a tool for every operation, which says that it is idempotent and asks for the key", async () => {
    const { client } = await opened();
    const { tools } = await client.listTools();
    const pay = tools.find(({ name }) => name === "payments_create");
    expect(pay?.annotations).toMatchObject({ idempotentHint: true, readOnlyHint: false });
    expect(pay?.inputSchema).toMatchObject({
      type: "object",
      required: ["idempotencyKey", "body"],
      properties: { body: { required: ["source", "destination", "amountMinor", "currency"] } },
    });
    const names = tools.map(({ name }) => name);
    for (const name of [
      "begin_operation",
      "get_operation",
      "retry_operation",
      "advise_retry",
      "list_attention",
    ]) {
      expect(names).toContain(name);
    }
    expect(names.every((name) => /^[a-zA-Z0-9_-]{1,64}$/.test(name))).toBe(true);
  });

  it("whose stream is cut after the commit calls again with a new request id: one effect, and the first answer", async () => {
    const { tenant, origin } = await opened();
    const proxy = await startFaultyProxy(origin, 1);
    onTestFinished(proxy.stop);
    const client = await connect(proxy.origin, tenant.token);
    const { idempotencyKey } = await call(client, "begin_operation", {
      operation: "payments_create",
    });
    const payment = { idempotencyKey, body: PAYMENT };
    let lost = false;
    proxy.behave(() => {
      if (lost) return undefined;
      lost = true;
      return "lose-answer";
    });
    await expect(call(client, "payments_create", payment)).rejects.toThrow(Error);
    const seen = await call(client, "get_operation", { idempotencyKey });
    expect(seen).toMatchObject({ state: "completed", outcome: { status: 201 } });
    const again = await call(client, "payments_create", payment);
    expect(again).toMatchObject({ replayed: true, outcome: "completed", link: seen["link"] });
    const retried = await call(client, "retry_operation", {
      ...payment,
      operation: "payments_create",
    });
    expect(retried["result"]).toEqual(again["result"]);
    expect(await transfersOf(serverFor("usual"), tenant, String(idempotencyKey))).toHaveLength(1);
    expect(await balanceOf(serverFor("usual"), tenant, "alice")).toBe(
      FUNDS_MINOR - PAYMENT.amountMinor,
    );
  });

  it("and an HTTP client with one key are one intent: the agent sees what HTTP was told", async () => {
    const { tenant, client } = await opened();
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const seen = await call(client, "payments_create", { idempotencyKey: key, body: PAYMENT });
    expect(seen).toMatchObject({ replayed: true, result: first.body });
  });

  it("is told of a conflict, a refusal and an invalid request as structured errors, each with what to do with the key", async () => {
    const { tenant, client } = await opened();
    const key = newKey();
    const pay = async (body: object, idempotencyKey: string | undefined = key) =>
      call(client, "payments_create", { idempotencyKey, body });
    await tenant.pay({}, { key });
    expect(await pay({ ...PAYMENT, amountMinor: 1 })).toMatchObject({
      isError: true,
      outcome: "conflict",
      problem: { code: "idempotency-key-reused" },
      retry: { retry: false, use: "new-key" },
    });
    expect(await pay({ ...PAYMENT, amountMinor: FUNDS_MINOR }, newKey())).toMatchObject({
      isError: true,
      outcome: "refused",
      problem: { code: "insufficient-funds" },
    });
    expect(await pay({ ...PAYMENT, amountMinor: -1 }, newKey())).toMatchObject({
      isError: true,
      outcome: "not-carried-out",
      problem: { code: "request-invalid" },
      retry: { use: "same-key" },
    });
  });

  it("gets nothing done without a key, with one that is none, or with arguments that make no request", async () => {
    const { client } = await opened();
    await expectNothingMade(serverFor("usual"), async () => {
      const wrong = [
        [{ body: PAYMENT }, "idempotency-key-missing"],
        [{ idempotencyKey: "short", body: PAYMENT }, "idempotency-key-invalid"],
        [{ idempotencyKey: "a\r\nX-Tenant: other-tenant", body: PAYMENT }, "request-invalid"],
      ] as const;
      for (const [given, code] of wrong) {
        const answer = await call(client, "payments_create", given);
        expect(answer).toMatchObject({ isError: true, problem: { code } });
      }
      const dots = { idempotencyKey: newKey(), params: { id: ".." }, body: {} };
      expect(await call(client, "payments_refund", dots)).toMatchObject({ isError: true });
    });
  });

  it("is told by an outcome of its own that an answer was erased, and the key does not run again", async () => {
    const { tenant, client } = await opened();
    const key = newKey();
    await tenant.pay({}, { key });
    await tenant.delete(`/v1/idempotency-keys/${key}/body`);
    const erased = await call(client, "payments_create", { idempotencyKey: key, body: PAYMENT });
    expect(erased).toMatchObject({ isError: true, outcome: "erased", retry: { use: "never" } });
    expect(await transfersOf(serverFor("usual"), tenant, key)).toHaveLength(1);
  });

  it("has the rights of its token: none gets 401, a reader cannot pay, and of another tenant's key nothing is known", async () => {
    const { tenant, client, origin } = await opened();
    const key = newKey();
    await call(client, "payments_create", { idempotencyKey: key, body: PAYMENT });
    const reader = await connect(origin, await tokenFor(tenant.name, { scope: "read" }));
    expect(
      await call(reader, "payments_create", { idempotencyKey: key, body: PAYMENT }),
    ).toMatchObject({
      isError: true,
      status: 403,
      outcome: "not-carried-out",
    });
    expect(await call(reader, "payments_list", { search: { limit: 5 } })).toMatchObject({
      isError: false,
    });
    const other = await openTenant(serverFor("usual"));
    const stranger = await connect(origin, other.token);
    expect(await call(stranger, "get_operation", { idempotencyKey: key })).toMatchObject({
      operation: null,
    });
    await expect(connect(origin, "none")).rejects.toThrow(Error);
  });

  it("is advised by a problem's code, or by nothing but that no answer came", async () => {
    const { client } = await opened();
    expect(await call(client, "advise_retry", { code: "insufficient-funds" })).toMatchObject({
      isError: false,
      retry: false,
      use: "new-key",
      policy: "rule",
    });
    const silence = await call(client, "advise_retry", { retries: 2, retryAfterMs: 4_000 });
    expect(silence).toMatchObject({ retry: true, use: "same-key", policy: "prior" });
    expect(silence["afterMs"]).toBeGreaterThanOrEqual(4_000);
    expect(await call(client, "advise_retry", { code: "made-up" })).toMatchObject({
      isError: true,
      problem: { code: "request-invalid" },
    });
  });

  it("X: is given the advice that its tenant's reports have taught, the same as over HTTP, and no other tenant's", async () => {
    const { tenant, client } = await opened();
    const failed = { origin: "bank.example", status: 404, code: "not_yet" };
    for (let at = 0; at < 30; at++) {
      await call(client, "advise_retry", { ...failed, next: { afterMs: 2_000, succeeded: true } });
    }
    const learned = { retry: true };
    const mine = await call(client, "advise_retry", failed);
    expect(mine).toMatchObject(learned);
    expect(mine["successProbability"]).toBeGreaterThan(0.6);
    const overHttp = await tenant.post(
      "/v1/retry-advice",
      { ...failed, keyed: true },
      { key: null },
    );
    expect(overHttp.body).toMatchObject(learned);
    const { client: stranger } = await opened();
    const theirs = await call(stranger, "advise_retry", failed);
    expect(theirs["successProbability"]).toBeLessThan(0.3);
  });

  it("is told by no report that what is unsafe may be sent again", async () => {
    const { client } = await opened();
    const unkeyed = { origin: "bank.example", status: 0, code: "timeout", keyed: false };
    await call(client, "advise_retry", { ...unkeyed, next: { afterMs: 1_000, succeeded: true } });
    expect(await call(client, "advise_retry", unkeyed)).toMatchObject({
      retry: false,
      use: "never",
    });
  });

  it("reads what it needs to know at /llms.txt, without a token", async () => {
    const answer = await fetch(`${serverFor("usual").origin}/llms.txt`);
    expect(await answer.text()).toContain("payments_create");
  });
});

describe("an agent at the gateway", () => {
  it("finds the tools under /_latchkey, and pages through the keys whose outcome is uncertain, each once", async () => {
    const { origin } = serverFor("gateway");
    const keys = [newKey(), newKey(), newKey()].toSorted();
    for (const key of keys) {
      const answer = await fetch(`${origin}/v1/charges`, {
        method: "POST",
        headers: { "Idempotency-Key": key },
        body: "amount=1",
      });
      expect(answer.status).toBe(409);
    }
    const client = await connect(`${origin}/_latchkey`, await tokenFor("acme", { scope: "read" }));
    const paged = z.object({
      pages: z.array(
        z.object({
          state: z.string(),
          data: z.array(z.object({ key: z.string(), state: z.string() })),
          next: z.string().nullable(),
        }),
      ),
    });
    const attention = async (given: Record<string, unknown>) =>
      paged.parse(await call(client, "list_attention", given)).pages;
    // The caller is told before the journal is: it has all three a moment later.
    await expect
      .poll(async () => (await attention({})).map(({ state, data }) => [state, data.length]))
      .toEqual([
        ["uncertain", 3],
        ["in-flight", 0],
      ]);
    const found: string[] = [];
    let after: string | null = null;
    do {
      const page: Record<string, unknown> = { state: "uncertain", limit: 2 };
      const [only] = await attention(after === null ? page : { ...page, after });
      found.push(...(only?.data ?? []).map(({ key }) => key));
      after = only?.next ?? null;
    } while (after !== null);
    expect(found).toEqual(keys);
    expect(await call(client, "list_attention", { after: keys[0] })).toMatchObject({
      isError: true,
    });
  });
});
