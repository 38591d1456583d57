/** Uncertain keys over HTTP: who may see them, page by page, and what a person's word on one comes to. */
import { applyD1Migrations, createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SignJWT } from "jose";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { createApp, createMount } from "../../src/app.ts";
import type { HostCaller } from "../../src/http/host-authentication.ts";
import type { ExchangeCall } from "../../src/objects/exchange-call.ts";
import { keyObjectNamed, objectFor } from "../../src/objects/routing.ts";
import type { Operation } from "../../src/operations/define-operation.ts";
import { operations } from "../../src/operations/registry.ts";
import { exchangeCall, type Heard, heardOf, rowOf } from "./support/exchanges.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const app = createApp({ operations: [], queries: [] });

const tokenWith = (scope: string): Promise<string> =>
  new SignJWT({ tenant: "operators", scope })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuer(env.TOKEN_ISSUER)
    .setSubject("test")
    .setJti("operator-1")
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(env.TOKEN_SECRET));

const ask = async (path: string, scope: string, body?: unknown) => {
  const response = await app.fetch(
    new Request(`https://latchkey.test${path}`, {
      method: body === undefined ? "GET" : "PUT",
      headers: {
        authorization: `Bearer ${await tokenWith(scope)}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }),
    env,
    createExecutionContext(),
  );
  const answer: unknown = await response.json();
  return { status: response.status, answer };
};

const send = async (call: ExchangeCall): Promise<Heard> =>
  heardOf(await keyObjectNamed(env, call.object)().exchange(call));

/** A key whose upstream answered 500, and that nobody can ask about. */
const uncertain = async (
  tenant: string,
  keyObjects: Parameters<typeof objectFor>[2] = 1,
): Promise<ExchangeCall> => {
  const upstream = { kind: "service", binding: "FAILING_UPSTREAM" } as const;
  const call = exchangeCall(tenant, { policy: { upstream } });
  const made = {
    ...call,
    object: objectFor(tenant, call.key, keyObjects),
    request: { ...call.request, headers: [...call.request.headers, ["x-fail", "1"] as const] },
  };
  expect(await send(made)).toMatchObject({ code: "outcome-uncertain" });
  return made;
};

const pathOf = ({ tenant, key }: ExchangeCall) =>
  `/v1/ops/uncertain-keys/${encodeURIComponent(tenant)}/${encodeURIComponent(key)}/resolution`;

const ACT = "ops:act ops:read";
const reason = "Seen in the upstream's ledger.";
const calls: ExchangeCall[] = [];

beforeAll(async () => {
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  // What is uncertain is an alert, for people.
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  for (const tenant of ["a:1", "b", "b"]) calls.push(await uncertain(tenant));
  const open = "SELECT COUNT(*) AS n FROM journal WHERE state = 'uncertain'";
  while ((await env.DB.prepare(open).first("n")) !== calls.length) await scheduler.wait(5);
});

describe("uncertain keys", () => {
  it("are listed across tenants, page by page, each once", async () => {
    const seen: string[] = [];
    let after = "";
    for (let pages = 0; pages < 5; pages++) {
      const { status, answer } = await ask(`/v1/ops/uncertain-keys?limit=1${after}`, "ops:read");
      expect(status).toBe(200);
      const { data, next } = answer as {
        readonly data: readonly { readonly tenant: string; readonly key: string }[];
        readonly next: string | null;
      };
      seen.push(...data.map(({ tenant, key }) => `${tenant}/${key}`));
      if (next === null) break;
      after = `&after=${next}`;
    }
    expect(seen.toSorted()).toEqual(calls.map(({ tenant, key }) => `${tenant}/${key}`).toSorted());
  });

  it("are shown to operators only, and resolved by those who may act", async () => {
    const [call] = calls;
    if (call === undefined) throw new Error("There is no uncertain key.");
    expect(await ask("/v1/ops/uncertain-keys", "read payments:write")).toMatchObject({
      status: 403,
    });
    const body = { outcome: "not-executed", reason };
    expect(await ask(pathOf(call), "ops:read", body)).toMatchObject({ status: 403 });
  });

  it.each([
    ["no reason", { outcome: "not-executed" }],
    ["no status", { outcome: "executed", reason }],
    ["two bodies", { outcome: "executed", reason, status: 200, body: "x", bodyBase64: "eA==" }],
    ["a status that is no outcome", { outcome: "executed", reason, status: 500 }],
    ["a link that is no header value", { outcome: "executed", reason, status: 200, link: "a b" }],
    ["another word", { outcome: "perhaps", reason }],
  ])("with %s: 400, and nothing is resolved", async (_name, body) => {
    const [call] = calls;
    if (call === undefined) throw new Error("There is no uncertain key.");
    expect(await ask(pathOf(call), ACT, body)).toMatchObject({ status: 400 });
    expect(await send(call)).toMatchObject({ code: "outcome-uncertain" });
  });

  it("76: resolved, a retry gets just what was said; who, when and why are kept", async () => {
    const [, call] = calls;
    if (call === undefined) throw new Error("There is no uncertain key.");
    const body = {
      outcome: "executed",
      reason,
      status: 201,
      contentType: "application/json",
      body: '{"id":"ch_1"}',
      link: "/charges/ch_1",
    };
    expect(await ask(pathOf(call), ACT, body)).toMatchObject({ status: 200 });
    expect(await ask(pathOf(call), ACT, { ...body, reason: "Again." })).toMatchObject({
      status: 200,
    });
    expect(await ask(pathOf(call), ACT, { ...body, status: 200 })).toMatchObject({
      status: 409,
      answer: { code: "resolution-refused" },
    });
    expect(await send(call)).toMatchObject({
      kind: "answer",
      status: 201,
      text: '{"id":"ch_1"}',
      headers: { "content-type": "application/json", location: "/charges/ch_1" },
      replayed: true,
    });
    const kept = await env.DB.prepare("SELECT reason, decided_by FROM resolutions WHERE key = ?")
      .bind(call.key)
      .all();
    expect(kept.results).toEqual([{ reason, decided_by: `${env.TOKEN_ISSUER}/test` }]);
  });

  it("49, 76: are resolved by the object that made the claim, whatever KEY_OBJECTS is by now", async () => {
    const call = await uncertain("moved", "per-key");
    while ((await rowOf(call))?.state !== "uncertain") await scheduler.wait(5);

    const answer = await ask(pathOf(call), ACT, { outcome: "not-executed", reason });

    expect(answer).toMatchObject({ status: 200 });
    expect(await rowOf(call)).toBeNull();
  });

  it("a key that nobody used is 404", async () => {
    const path = "/v1/ops/uncertain-keys/b/never-used/resolution";
    expect(await ask(path, ACT, { outcome: "not-executed", reason })).toMatchObject({
      status: 404,
    });
  });

  describe("in a host that says who calls", () => {
    const OWN_EXTERNAL = operations.filter(({ external }) => external !== null);
    const hosted = async (
      caller: HostCaller,
      path: string,
      body?: unknown,
      of: readonly Operation[] = OWN_EXTERNAL,
    ) => {
      const mount = createMount({
        operations: of,
        queries: [],
        host: { authenticate: () => caller },
      });
      const response = await mount.fetch(
        new Request(`https://host.test${path}`, {
          method: body === undefined ? "GET" : "PUT",
          headers: { "content-type": "application/json" },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }),
        env,
        createExecutionContext(),
      );
      return response.status;
    };
    const list = "/v1/ops/uncertain-keys";
    const body = { outcome: "not-executed", reason };

    it("are shown and resolved as the host says of its staff, and kept with the name", async () => {
      const [, , call] = calls;
      if (call === undefined) throw new Error("There is no uncertain key.");
      const staff = { tenant: "staff", scopes: [], subject: "ada" };
      expect(await hosted({ ...staff, operator: "read" }, list)).toBe(200);
      expect(await hosted({ ...staff, operator: "read" }, pathOf(call), body)).toBe(403);
      expect(await hosted({ ...staff, operator: "act" }, pathOf(call), body)).toBe(200);
      const kept = await env.DB.prepare("SELECT decided_by FROM resolutions WHERE key = ?")
        .bind(call.key)
        .first();
      expect(kept).toEqual({ decided_by: "host/ada" });
      expect(await rowOf(call)).toBeNull();
    });

    it("are nobody's by scopes alone, whatever a tenant's token says", async () => {
      const caller = { tenant: "t", scopes: ["ops:read", "ops:act", "operator", "act"] };
      expect(await hosted(caller, list)).toBe(403);
      const [call] = calls;
      if (call === undefined) throw new Error("There is no uncertain key.");
      expect(await hosted(caller, pathOf(call), body)).toBe(403);
    });

    it("are nobody's who is not named", async () => {
      expect(await hosted({ tenant: "staff", scopes: [], operator: "act" }, list)).toBe(403);
    });

    it("are not there where no operation has an external step", async () => {
      expect(await hosted({ tenant: "t", scopes: [], operator: "act" }, list, undefined, [])).toBe(
        404,
      );
    });
  });
});
