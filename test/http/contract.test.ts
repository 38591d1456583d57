/** The contract around the operations: the order of checks, methods and paths, problems, public pages. */
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { expectNothingMade } from "../support/books.ts";
import { exchange } from "../support/raw-http.ts";
import { useServers, withinOneMinute } from "../support/suite.ts";
import { type Answer, answerOf, newKey, newTenant, openTenant, textOf } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const serverFor = useServers({
  limited: { newKeysPerMinute: 3, vars: { KEY_OBJECTS: "per-key" } },
  usual: {},
});

describe("the order of checks", () => {
  const server = () => serverFor("limited");

  beforeEach(withinOneMinute);

  it("404/405 → 401 → 403 → 429 → 415 → 413 → key → JSON → key state → schema → run", async () => {
    const limited = await openTenant(server());
    for (let i = 0; i < 3; i++) await limited.pay();
    const tenant = await openTenant(server());
    const used = newKey();
    expect((await tenant.pay({}, { key: used })).status).toBe(201);

    const notJson = "{nope";
    const tooLarge = notJson + " ".repeat(64 * 1024);
    const send = async (
      method: string,
      path: string,
      headers: Record<string, string>,
      body: string,
    ): Promise<Answer> => {
      const response = await fetch(server().origin + path, { method, headers, body });
      return answerOf(response.status, response.headers, await response.text());
    };

    // Everything is wrong with the first request; each of the next puts right what the one before heard.
    const wrong = { "Content-Type": "text/plain", "Idempotency-Key": "short" };
    const heard: [number, unknown][] = [];
    const hear = ({ status, body }: Answer) => heard.push([status, body["code"]]);
    await expectNothingMade(server(), async () => {
      hear(await send("PUT", "/v1/nothing", wrong, tooLarge));
      hear(await send("PUT", "/v1/payments", wrong, tooLarge));
      hear(await send("POST", "/v1/payments", wrong, tooLarge));
      const unscoped = await tokenFor(limited.name, { scope: "read" });
      const withToken = (token: string) => ({ ...wrong, Authorization: `Bearer ${token}` });
      hear(await send("POST", "/v1/payments", withToken(unscoped), tooLarge));
      hear(await send("POST", "/v1/payments", withToken(limited.token), tooLarge));
      const headers = withToken(tenant.token);
      hear(await send("POST", "/v1/payments", headers, tooLarge));
      headers["Content-Type"] = "application/json";
      hear(await send("POST", "/v1/payments", headers, tooLarge));
      hear(await send("POST", "/v1/payments", headers, notJson));
      headers["Idempotency-Key"] = used;
      hear(await send("POST", "/v1/payments", headers, notJson));
      // The key is another request's: that counts for more than what is wrong with this one.
      hear(await send("POST", "/v1/payments", headers, '{"note":1}'));
    });
    const free = newKey();
    hear(await tenant.post("/v1/payments", '{"note":1}', { key: free }));
    hear(await tenant.pay({}, { key: free }));

    expect(heard).toEqual([
      [404, "not-found"],
      [405, "method-not-allowed"],
      [401, "unauthenticated"],
      [403, "forbidden"],
      [429, "rate-limited"],
      [415, "unsupported-media-type"],
      [413, "body-too-large"],
      [400, "idempotency-key-invalid"],
      [400, "request-invalid"],
      [422, "idempotency-key-reused"],
      [400, "request-invalid"],
      [201, undefined],
    ]);
  });
});

describe("paths, problems and pages", () => {
  const server = () => serverFor("usual");

  const openApi = async () => {
    const response = await fetch(`${server().origin}/openapi.json`);
    expect(response.status).toBe(200);
    return openApiSchema.parse(await response.json());
  };

  it.each([
    ["PUT", "/v1/payments", "GET, HEAD, POST"],
    ["DELETE", "/v1/payments", "GET, HEAD, POST"],
    ["PATCH", "/v1/accounts", "GET, HEAD, POST"],
    ["OPTIONS", "/v1/accounts", "GET, HEAD, POST"],
    ["POST", "/v1/accounts/alice", "GET, HEAD"],
    ["POST", "/v1/products/mug/stock", "PATCH"],
    ["GET", "/v1/products/mug/stock", "PATCH"],
    ["POST", "/healthz", "GET, HEAD"],
    ["POST", "/openapi.json", "GET, HEAD"],
    ["POST", "/", "GET, HEAD"],
    ["POST", "/docs", "GET, HEAD"],
    ["DELETE", "/docs/reference.js", "GET, HEAD"],
    ["PUT", "/problems/not-found", "GET, HEAD"],
  ])("405: %s %s is told which methods there are", async (method, path, allow) => {
    const response = await fetch(server().origin + path, { method });
    const answer = answerOf(response.status, response.headers, await response.text());
    expect(answer).toMatchObject({
      status: 405,
      body: { code: "method-not-allowed", retry: { use: "never" } },
    });
    expect(answer.headers.get("Allow")).toBe(allow);
  });

  it.each(["/v1", "/v1/", "/v2/payments", "/v1/payment", "/favicon.ico", "/.dev.vars", "/docs/"])(
    "404: there is nothing at %s, with every method",
    async (path) => {
      for (const method of ["GET", "POST", "PATCH", "DELETE"]) {
        const response = await fetch(server().origin + path, { method });
        const answer = answerOf(response.status, response.headers, await response.text());
        expect(answer).toMatchObject({ status: 404, body: { code: "not-found" } });
      }
    },
  );

  it.each(["/v1/accounts/nobody", `/v1/payments/pay_${"z".repeat(26)}`, "/v1/products/none"])(
    "404: %s does not exist for this tenant",
    async (path) => {
      const tenant = await openTenant(server());
      expect(await tenant.get(path)).toMatchObject({ status: 404, body: { code: "not-found" } });
    },
  );

  it("HEAD answers as GET does, without a body", async () => {
    const tenant = await openTenant(server());
    for (const target of [
      "/v1/accounts",
      "/v1/accounts/alice",
      "/healthz",
      "/openapi.json",
      "/docs",
    ]) {
      const head = await exchange(server().origin, {
        method: "HEAD",
        target,
        headers: tenant.rawHeaders(newKey()),
      });
      const get = await tenant.get(target);
      expect(head).toMatchObject({ status: 200, text: "" });
      expect(head.headers.get("content-type")).toBe(get.headers.get("Content-Type"));
    }
  });

  it("HEAD is refused as GET is", async () => {
    const statusOf = async (target: string, headers: readonly (readonly [string, string])[]) =>
      (await exchange(server().origin, { method: "HEAD", target, headers })).status;
    const tenant = await openTenant(server());
    expect(await statusOf("/v1/accounts", [])).toBe(401);
    expect(await statusOf("/v1/nothing", [])).toBe(404);
    expect(await statusOf("/v1/products/mug/stock", [])).toBe(405);
    const authorization = ["Authorization", `Bearer ${tenant.token}`] as const;
    expect(await statusOf("/v1/accounts/nobody", [authorization])).toBe(404);
  });

  /** One answer of every kind that needs no special server. */
  const problems = async (): Promise<Answer[]> => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    return [
      await tenant.get("/nothing"),
      await tenant.post("/healthz", {}),
      await tenant.pay({}, { token: null }),
      await tenant.pay({}, { token: await tokenFor(tenant.name, { scope: "read" }) }),
      await tenant.pay({}, { headers: { "Content-Type": "text/plain" } }),
      await tenant.post("/v1/payments", " ".repeat(65 * 1024)),
      await tenant.pay({}, { key: null }),
      await tenant.pay({}, { key: "short" }),
      await tenant.pay({ amountMinor: 0 }),
      await tenant.pay({ amountMinor: 1 }, { key }),
      await tenant.pay({ amountMinor: 1_000_000 }),
      await tenant.get("/v1/accounts?limit=0"),
    ];
  };

  it("every problem is an RFC 9457 document that tells what to do with the key", async () => {
    for (const answer of await problems()) {
      expect(answer.headers.get("Content-Type")).toBe("application/problem+json");
      expect(answer.headers.get("Cache-Control")).toBe("no-store");
      expect(answer.headers.get("X-Request-Id")).toMatch(/^[0-9a-f-]{36}$/);
      expect(answer.headers.get("X-Should-Retry")).toBe("false");
      expect(answer.headers.get("Stripe-Should-Retry")).toBe("false");
      const problem = problemSchema.parse(answer.body);
      expect(problem.status).toBe(answer.status);
      expect(problem.type).toBe(`${server().origin}/problems/${problem.code}`);
    }
  });

  it("the type of every problem leads to a page with its cause and cure, inert and without scripts", async () => {
    const types = new Set((await problems()).map((answer) => textOf(answer, "type")));
    expect(types.size).toBeGreaterThan(9);
    for (const type of types) {
      const page = await fetch(type);
      const text = await page.text();
      expect(page.status).toBe(200);
      expect(page.headers.get("Content-Type")).toMatch(/^text\/html/);
      expect(page.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
      expect(text).toContain(type.split("/").at(-1));
      expect(text).not.toContain("<script");
    }
    for (const code of ["nothing", "__proto__", "constructor", "%3Cscript%3E"]) {
      expect((await fetch(`${server().origin}/problems/${code}`)).status).toBe(404);
    }
  });

  it("an id of the caller's is not taken for the request's, and two requests have two", async () => {
    const tenant = await openTenant(server());
    const headers = { "X-Request-Id": "mine" };
    const [one, other] = [
      await tenant.get("/v1/accounts", { headers }),
      await tenant.get("/v1/accounts", { headers }),
    ];
    expect(one.headers.get("X-Request-Id")).not.toBe("mine");
    expect(one.headers.get("X-Request-Id")).not.toBe(other.headers.get("X-Request-Id"));
  });

  it("what a tenant reads is not to be cached", async () => {
    const tenant = await openTenant(server());
    for (const path of ["/v1/accounts", "/v1/accounts/alice", `/v1/idempotency-keys/${newKey()}`]) {
      expect((await tenant.get(path)).headers.get("Cache-Control")).toBe("no-store");
    }
  });

  it("/healthz says that all is well, to anyone, and makes nothing", async () => {
    const tenant = await newTenant(server());
    const answer = await expectNothingMade(server(), async () =>
      tenant.get("/healthz", { token: null }),
    );
    expect(answer).toMatchObject({ status: 200, body: { status: "ok", faults: [] } });
  });

  it("/openapi.json is public; every POST and PATCH of tenants in it but the advice, which changes nothing, requires the key and may answer 422, 423 and 503", async () => {
    const { paths } = await openApi();
    const keyed = Object.entries(paths)
      .filter(([path]) => path !== "/v1/retry-advice" && !path.startsWith("/v1/ops/"))
      .flatMap(([, { post, patch }]) =>
        [post, patch].filter((operation) => operation !== undefined),
      );
    expect(keyed.length).toBeGreaterThan(4);
    for (const operation of keyed) {
      expect(Object.keys(operation.responses)).toEqual(
        expect.arrayContaining(["400", "401", "403", "413", "415", "422", "423", "429", "503"]),
      );
      const references = JSON.stringify(operation.parameters);
      expect(references).toMatch(/idempotency-?key/i);
    }
  });

  it("an operator's action, too, requires a key, by which it is one however often it is sent", async () => {
    const { paths } = await openApi();
    const actions = Object.entries(paths)
      .filter(([path]) => path.startsWith("/v1/ops/"))
      .flatMap(([, { post, patch }]) => [post, patch].filter((one) => one !== undefined));
    expect(actions.length).toBeGreaterThan(0);
    for (const action of actions) {
      expect(Object.keys(action.responses)).toEqual(
        expect.arrayContaining(["400", "401", "403", "413", "415", "422", "503"]),
      );
      expect(JSON.stringify(action.parameters)).toMatch(/idempotency-?key/i);
    }
  });

  it("/openapi.json names paths that exist, and no other method of theirs", async () => {
    const { paths } = await openApi();
    for (const [path, item] of Object.entries(paths)) {
      const real = path.replaceAll(/\{\w+\}/g, "0000000000000000");
      for (const method of ["get", "post", "patch", "put", "delete"] as const) {
        const response = await fetch(server().origin + real, { method: method.toUpperCase() });
        await response.body?.cancel();
        // Past 404 and 405 comes the question who asks; the public pages do not ask.
        expect([method, path, response.status === 405]).toEqual([method, path, !(method in item)]);
      }
    }
  });
});

const problemSchema = z.looseObject({
  type: z.url(),
  title: z.string().min(1),
  status: z.int(),
  detail: z.string().min(1),
  instance: z.string().min(1),
  code: z.string(),
  retry: z.looseObject({
    use: z.enum(["same-key", "new-key", "never"]),
    reason: z.string().min(1),
  }),
});

const operationSchema = z.looseObject({
  parameters: z.array(z.unknown()).optional(),
  responses: z.record(z.string(), z.unknown()),
});

const openApiSchema = z.looseObject({
  openapi: z.string().startsWith("3."),
  paths: z.record(
    z.string(),
    z.looseObject({ post: operationSchema.optional(), patch: operationSchema.optional() }),
  ),
});
