/** Latchkey's routes in somebody else's app: what is theirs stays theirs, wherever the routes are mounted. */
import { Hono } from "hono";
import { afterEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createApp, createMount } from "../../src/app.ts";
import type { HostAuthenticate } from "../../src/http/host-authentication.ts";
import {
  defineOperation,
  noParams,
  type Operation,
} from "../../src/operations/define-operation.ts";
import { defineQuery, noSearch } from "../../src/operations/define-query.ts";

const env = { FINGERPRINT_SECRET: "u2Ce8Ai5Wo1Tz7Kx3Bn9Gd4Vq6Lj0Hs8" };

const create = defineOperation({
  name: "things.create",
  method: "POST",
  path: "/things",
  summary: "Make a thing",
  scope: "things:write",
  params: noParams,
  input: z.strictObject({}),
  output: z.object({}),
  refusals: {},
  plan: () => ({ guards: [], effects: [], answer: { status: 201, link: "/things", body: {} } }),
});

const refusing: HostAuthenticate<unknown> = () => ({ refused: "Nobody is known here." });

const mounted = (at: string, authenticate = refusing, operation: Operation = create) => {
  const routes = createMount({ operations: [operation], queries: [], host: { authenticate } });
  const host = new Hono();
  host.get("/before", (c) => c.text("theirs"));
  host.route(at, routes);
  host.get("/after", (c) => c.text("theirs"));
  host.get(`${at === "/" ? "" : at}/things`, (c) => c.text("their list"));
  host.get("/broken", () => {
    throw new Error("theirs");
  });
  host.notFound((c) => c.text("their 404", 404));
  host.onError((_error, c) => c.text("their 500", 500));
  return host;
};

afterEach(() => vi.restoreAllMocks());

describe.each(["/", "/api", "/api/v2"])("mounted at %s", (at) => {
  const base = at === "/" ? "" : at;

  it.each([
    ["/before", 200, "theirs"],
    ["/after", 200, "theirs"],
    ["/nowhere", 404, "their 404"],
    [`${base}/nowhere`, 404, "their 404"],
    ["/broken", 500, "their 500"],
  ])("%s is the host's, as it was", async (path, status, text) => {
    // Also while Latchkey itself could serve nothing.
    for (const bindings of [env, {}]) {
      const response = await mounted(at).request(path, {}, bindings);
      expect([response.status, await response.text()]).toEqual([status, text]);
      expect(response.headers.get("X-Request-Id")).toBeNull();
    }
  });

  it("another method of a mounted path, which the host adds behind it, is the host's", async () => {
    for (const bindings of [env, {}]) {
      const response = await mounted(at).request(`${base}/things`, {}, bindings);
      expect([response.status, await response.text()]).toEqual([200, "their list"]);
      expect(response.headers.get("X-Request-Id")).toBeNull();
    }
  });

  it("a method that nobody has gets 405", async () => {
    const response = await mounted(at).request(`${base}/things`, { method: "PUT" }, env);
    expect([response.status, response.headers.get("Allow")]).toEqual([405, "POST"]);
    expect(response.headers.get("X-Request-Id")).not.toBeNull();
  });

  it("a problem's type is the page under the mount", async () => {
    const response = await mounted(at).request(
      `http://booking.test${base}/things`,
      { method: "POST" },
      env,
    );
    expect(await response.json()).toMatchObject({
      type: `http://booking.test${base}/problems/unauthenticated`,
      detail: "Nobody is known here.",
    });
    expect(response.headers.get("WWW-Authenticate")).toBe("Bearer");
    const page = await mounted(at).request(`${base}/problems/unauthenticated`, {}, env);
    expect(page.status).toBe(200);
  });

  it("what breaks in Latchkey is told as a problem, and not by the host", async () => {
    vi.spyOn(console, "error").mockReturnValue();
    const response = await mounted(at).request(`${base}/things`, { method: "POST" }, {});
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ code: "internal-error" });
    expect(response.headers.get("X-Request-Id")).not.toBeNull();
  });
});

describe("an authenticator of the host", () => {
  const ask = async (authenticate: HostAuthenticate<unknown>) => {
    const response = await mounted("/", authenticate).request("/things", { method: "POST" }, env);
    const { code, detail } = z
      .object({ code: z.string(), detail: z.string() })
      .parse(await response.json());
    return { code, detail, headers: response.headers };
  };

  it("that throws has judged nobody: 503, with the same key again", async () => {
    const logged = vi.spyOn(console, "error").mockReturnValue();
    const { code, detail, headers } = await ask(() => {
      throw new Error("the table of keys is away");
    });
    expect(code).toBe("temporarily-unavailable");
    expect(detail).not.toContain("table");
    expect(headers.get("Retry-After")).not.toBeNull();
    expect(logged.mock.calls.join()).toContain("the table of keys is away");
  });

  it.each(["", "a b", "../x", "x".repeat(65)])(
    "that names the tenant %j names nobody",
    async (tenant) => {
      const { code } = await ask(() => ({ tenant, scopes: ["things:write"] }));
      expect(code).toBe("unauthenticated");
    },
  );

  it("27: grants what it names and nothing else", async () => {
    for (const scopes of [[], ["read"], ["things:read"], ["things:*"], ["*"]]) {
      expect((await ask(() => ({ tenant: "a", scopes }))).code).toBe("forbidden");
    }
    // Past 403, what is missing next is the body's type.
    expect((await ask(() => ({ tenant: "a", scopes: ["things:write"] }))).code).toBe(
      "unsupported-media-type",
    );
  });

  it("27: grants no operators' scopes: they reach beyond a tenant", async () => {
    const scopes = ["things:write", "ops:act", "ops:read"];
    const host = mounted("/", () => ({ tenant: "a", scopes }), { ...create, scope: "ops:act" });
    expect((await host.request("/things", { method: "POST" }, env)).status).toBe(403);
  });

  it("says in the refusal how to authenticate", async () => {
    const { headers } = await ask(() => ({ refused: "No.", challenge: 'ApiKey realm="x"' }));
    expect(headers.get("WWW-Authenticate")).toBe('ApiKey realm="x"');
  });
});

it("the whole app takes further routes, behind the same middleware", async () => {
  const app = createApp({ operations: [create], queries: [] });
  app.get("/more", (c) => c.text("more"));
  const bindings = {
    ...env,
    TOKEN_SECRET: "q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3Rg5Py0",
    REVOCATIONS: {},
  };
  const response = await app.request("/more", {}, bindings);
  expect([response.status, await response.text()]).toEqual([200, "more"]);
  expect(response.headers.get("X-Request-Id")).not.toBeNull();
});

it("an operation at a path of the service itself is refused at the start", () => {
  const path = "/v1/idempotency-keys/{id}/body";
  const erase = { ...create, method: "DELETE", path } as const;
  expect(() => createApp({ operations: [erase], queries: [] })).toThrow(
    "The route DELETE /v1/idempotency-keys/{key}/body is the service's own.",
  );
});

it("in a mount whose path has a parameter, an operation sees its own parameters and no others", async () => {
  let calls = 0;
  const counting: HostAuthenticate<unknown> = () => {
    calls += 1;
    return { tenant: "acme", scopes: ["things:write", "read"] };
  };
  const seen: unknown[] = [];
  const routes = createMount({
    operations: [],
    queries: [
      defineQuery({
        name: "things.get",
        path: "/things/{id}",
        summary: "A thing",
        scope: "read",
        params: z.strictObject({ id: z.string() }),
        search: noSearch,
        output: z.object({ id: z.string() }),
        run: (_reader, params) => {
          seen.push(params);
          return Promise.resolve({ id: params.id });
        },
      }),
    ],
    host: { authenticate: counting },
  });
  const host = new Hono().route("/:airline/api", routes);
  const response = await host.request("/ba/api/things/7", {}, { ...env, DB: {} });
  expect([response.status, await response.json()]).toEqual([200, { id: "7" }]);
  expect([calls, seen]).toEqual([1, [{ id: "7" }]]);
});

it("what the host keeps in its context under the same names stays the host's", async () => {
  const host = new Hono<{ Variables: { requestId: string; settings: string } }>();
  const kept: string[] = [];
  host.use(async (c, next) => {
    c.set("requestId", "theirs");
    c.set("settings", "theirs");
    await next();
    kept.push(c.get("requestId"), c.get("settings"));
  });
  host.route(
    "/",
    createMount({ operations: [create], queries: [], host: { authenticate: refusing } }),
  );
  await host.request("/things", { method: "POST" }, env);
  expect(kept).toEqual(["theirs", "theirs"]);
});

it("a body that the host has read is its defect, not the caller's", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const host = new Hono();
  host.use(async (c, next) => {
    await c.req.raw.text();
    await next();
  });
  const authenticate: HostAuthenticate<unknown> = () => ({
    tenant: "acme",
    scopes: ["things:write"],
  });
  host.route("/", createMount({ operations: [create], queries: [], host: { authenticate } }));
  const response = await host.request(
    "/things",
    {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": "a-key-of-16-chars" },
      body: "{}",
    },
    env,
  );
  expect(response.status).toBe(500);
});

it("named, recursive and tuple schemas of an operation leave no dangling reference, and a page that can be read", async () => {
  type Part = { readonly parts: readonly Part[] };
  const part: z.ZodType<Part> = z.object({
    get parts() {
      return z.array(part);
    },
  });
  const operation = defineOperation({
    name: "things.build",
    method: "POST",
    path: "/things/parts",
    summary: "Build a thing",
    scope: "things:write",
    params: noParams,
    input: z.strictObject({
      seat: z.object({ row: z.number() }).meta({ id: "Seat" }),
      size: z.tuple([z.string(), z.number()]),
      part: z.array(part),
    }),
    output: z.object({}),
    refusals: {},
    plan: () => ({ guards: [], effects: [], answer: { status: 201, link: "/things", body: {} } }),
  });
  const host = mounted("/", refusing, operation);
  const document = await (await host.request("/openapi.json", {}, env)).text();
  expect([...document.matchAll(/"\$ref":"([^"]+)"/g)].map(([, to]) => to)).toEqual(
    expect.not.arrayContaining([expect.not.stringMatching(/^#\/components\//)]),
  );
  const page = await host.request("/docs", {}, env);
  expect(page.status).toBe(200);
  expect(await page.text()).toContain("Build a thing");
});
