/** What passes through the gateway, what it refuses before anything is called, and where our own routes are. */
import { afterAll, describe, expect, it } from "vitest";
import { startUpstream } from "../../examples/upstream/upstream.ts";
import { exchange } from "../support/raw-http.ts";
import { useServers } from "../support/suite.ts";
import { newKey } from "../support/tenant.ts";

const upstream = await startUpstream();
const other = await startUpstream();
afterAll(async () => Promise.all([upstream.stop(), other.stop()]));

const ROUTES = [
  { path: "/v1/login", protect: false },
  { path: "/v1/optional", missingKey: "pass" },
  { path: "/other/**", upstream: other.origin },
];
const serverFor = useServers({
  gateway: {
    vars: { UPSTREAM_ORIGIN: upstream.origin, GATEWAY_ROUTES: JSON.stringify(ROUTES) },
  },
  routesOnly: {
    vars: {
      GATEWAY_ROUTES: JSON.stringify([{ path: "/only/**", upstream: upstream.origin }]),
      CORS_ORIGINS: "https://shop.example",
    },
  },
  wrong: { vars: { UPSTREAM_ORIGIN: "http://169.254.169.254", GATEWAY_ROUTES: '[{"path":"x"}]' } },
  away: { vars: { UPSTREAM_ORIGIN: "http://127.0.0.1:9" } },
});
const AUTHORIZATION = { Authorization: "Bearer sk_test_1" };
const ask = async (
  path: string,
  init: RequestInit = {},
  name: Parameters<typeof serverFor>[0] = "gateway",
) => fetch(serverFor(name).origin + path, { redirect: "manual", ...init });
const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { code: unknown }).code;

const TRACE = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "vendor=a1",
};

describe("a read", () => {
  it("passes through with its query, headers, trace and credential, and is not marked", async () => {
    const response = await ask("/v1/charges?limit=3&a=%20b", {
      headers: {
        ...AUTHORIZATION,
        ...TRACE,
        "X-Own": "1",
        "Idempotency-Key": newKey(),
        Cookie: "a=1",
      },
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      method: "GET",
      url: "/v1/charges?limit=3&a=%20b",
      headers: { authorization: "Bearer sk_test_1", ...TRACE, "x-own": "1", cookie: "a=1" },
    });
    expect(response.headers.get("Latchkey-Protected")).toBeNull();
    expect(response.headers.get("X-Request-Id")).not.toBeNull();
  });

  it("needs no credential of ours: whether it may be read is the upstream's to say", async () => {
    expect((await ask("/v1/charges")).status).toBe(200);
    expect((await ask("/v1/charges", { method: "HEAD" })).status).toBe(200);
    expect((await ask("/v1/charges", { method: "OPTIONS" })).status).toBe(200);
  });

  it("is streamed: the first line is there before the last", async () => {
    const response = await ask("/stream");
    const pieces: string[] = [];
    const decoder = new TextDecoder();
    const body: ReadableStream<Uint8Array> | null = response.body;
    for await (const piece of body ?? []) pieces.push(decoder.decode(piece));
    expect(pieces.join("")).toBe("line 0\nline 1\nline 2\n");
    expect(pieces.length).toBeGreaterThan(1);
  });

  it("comes back compressed if the upstream compressed it", async () => {
    const response = await ask("/gzip");
    expect(response.headers.get("Content-Encoding")).toBe("gzip");
    expect(await response.text()).toBe("plain text");
  });

  it("of an upstream that is away gets 502, and may be sent again", async () => {
    const response = await ask("/v1/charges", {}, "away");
    expect(response.status).toBe(502);
    expect(response.headers.get("X-Should-Retry")).toBe("true");
    expect(await codeOf(response)).toBe("upstream-unreachable");
  });
});

describe("74: only what is configured", () => {
  it("is called: another host in the path, the Host header or an absolute target stays a path", async () => {
    const { origin } = serverFor("gateway");
    const before = other.calls();
    for (const target of [`//${new URL(other.origin).host}/v1/charges`, `/${other.origin}/x`]) {
      const response = await exchange(origin, {
        method: "GET",
        target,
        headers: [["Host", new URL(other.origin).host]],
      });
      expect(response.status).toBeLessThan(500);
    }
    expect(other.calls()).toBe(before);
  });

  it("a redirect is the caller's to follow", async () => {
    const target = `/redirect?to=${encodeURIComponent(`${other.origin}/stolen`)}`;
    const response = await ask(target);
    expect(response.status).toBe(302);
    expect(response.headers.get("Location")).toBe(`${other.origin}/stolen`);
    expect(other.calls()).toBe(0);
  });

  it("a route names its own upstream, and what has none is 404", async () => {
    await ask("/other/x", { method: "POST", body: "a", headers: { "Idempotency-Key": "1" } });
    const response = await ask("/v1/charges", { method: "POST", body: "a" }, "routesOnly");
    expect(response.status).toBe(404);
    expect(await codeOf(response)).toBe("not-found");
    expect((await ask("/only/a", {}, "routesOnly")).status).toBe(200);
  });

  it("a configuration that names something else serves nothing, and /healthz says what is wrong", async () => {
    const health = await ask("/_latchkey/healthz", {}, "wrong");
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({
      status: "unavailable",
      faults: [
        expect.stringMatching(
          /UPSTREAM_ORIGIN is an address for a machine's own secrets; GATEWAY_ROUTES\.0\.path is not a path pattern/,
        ),
      ],
    });
    for (const method of ["GET", "POST"]) {
      expect((await ask("/v1/charges", { method }, "wrong")).status).toBe(500);
    }
  });
});

describe("a request that may change something", () => {
  const post = async (
    path: string,
    headers: Record<string, string> = {},
    body: NonNullable<RequestInit["body"]> = "a=1",
  ) => ask(path, { method: "POST", headers: { ...AUTHORIZATION, ...headers }, body });

  it("1: without a key gets 400, and the upstream hears nothing", async () => {
    const before = upstream.calls();
    const response = await post("/v1/charges");
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "idempotency-key-missing",
      type: `${serverFor("gateway").origin}/_latchkey/problems/idempotency-key-missing`,
    });
    expect(upstream.calls()).toBe(before);
  });

  it("or passes where its route says so, marked as unprotected", async () => {
    const response = await post("/v1/optional");
    expect(response.status).toBe(200);
    expect(response.headers.get("Latchkey-Protected")).toBe("false");
    expect(response.headers.getSetCookie()).toEqual(["session=1; Path=/", "seen=1"]);
  });

  it("passes with and without a key where its route is not protected, every time", async () => {
    const before = upstream.effects.length;
    for (const headers of [{}, { "Idempotency-Key": "k1" }, { "Idempotency-Key": "k1" }]) {
      const response = await post("/v1/login", headers);
      expect(response.headers.get("Latchkey-Protected")).toBe("false");
      expect(response.headers.get("Idempotent-Replayed")).toBeNull();
    }
    expect(upstream.effects.length).toBe(before + 3);
  });

  it("PUT and DELETE pass without a key, marked", async () => {
    for (const method of ["PUT", "DELETE"]) {
      const response = await ask("/v1/things/1", { method, headers: AUTHORIZATION });
      expect(response.status).toBeLessThan(300);
      expect(response.headers.get("Latchkey-Protected")).toBe("false");
    }
  });

  it("unprotected, and without an answer, is not to be repeated", async () => {
    const response = await ask("/v1/x", { method: "DELETE", headers: AUTHORIZATION }, "away");
    expect(response.status).toBe(502);
    expect(response.headers.get("X-Should-Retry")).toBe("false");
    expect(await codeOf(response)).toBe("unprotected-call-failed");
  });

  it("by a method that nobody knows gets 405", async () => {
    const response = await ask("/v1/x", { method: "PROPFIND" });
    expect(response.status).toBe(405);
    expect(response.headers.get("Allow")).toContain("PATCH");
  });

  it("25: without the upstream's credential gets 401: nobody can say whose key it is", async () => {
    const response = await ask("/v1/x", { method: "POST", headers: { "Idempotency-Key": "1" } });
    expect(response.status).toBe(401);
    expect(response.headers.get("WWW-Authenticate")).toBe('Bearer realm="latchkey"');
  });

  it.each(["a b", "a,b", 'a"b', "x".repeat(256), "é"])("6: the key %s gets 400", async (key) => {
    const response = await exchange(serverFor("gateway").origin, {
      method: "POST",
      target: "/v1/x",
      headers: [
        ["Authorization", "Bearer x"],
        ["Idempotency-Key", key],
        ["Content-Length", "0"],
      ],
    });
    expect(response.status).toBe(400);
  });

  it("32: a body over the limit gets 413 before any object, announced or not", async () => {
    const { origin, objects } = serverFor("gateway");
    const known = await objects();
    const body = new Uint8Array(1024 * 1024 + 1);
    expect((await post("/v1/x", { "Idempotency-Key": newKey() }, body)).status).toBe(413);
    const chunked = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(body);
        controller.close();
      },
    });
    const response = await fetch(`${origin}/v1/x`, {
      method: "POST",
      headers: { ...AUTHORIZATION, "Idempotency-Key": newKey() },
      body: chunked,
      duplex: "half",
    });
    expect(response.status).toBe(413);
    expect(await objects()).toEqual(known);
  });

  it.each(["//v1/x", "/v1//x", "/v1/..;/x", "/v1/%2e%2e;/x"])(
    "33: %s is nobody's path: 404",
    async (target) => {
      const response = await exchange(serverFor("gateway").origin, {
        method: "POST",
        target,
        headers: [
          ["Authorization", "Bearer x"],
          ["Idempotency-Key", "1"],
          ["Content-Length", "0"],
        ],
      });
      expect(response.status).toBe(404);
    },
  );
});

describe("our own routes", () => {
  it("are under /_latchkey, and say so in what they tell", async () => {
    const { origin } = serverFor("gateway");
    expect(await (await ask("/_latchkey/healthz")).json()).toEqual({ status: "ok", faults: [] });
    const document = (await (await ask("/_latchkey/openapi.json")).json()) as {
      servers: unknown;
      paths: object;
    };
    expect(document.servers).toEqual([{ url: `${origin}/_latchkey` }]);
    expect(Object.keys(document.paths)).toContain("/v1/idempotency-keys/{key}");
    expect((await ask("/_latchkey/docs")).status).toBe(200);
    expect((await ask("/_latchkey")).headers.get("Location")).toBe("/_latchkey/docs");
    expect((await ask("/_latchkey/problems/outcome-uncertain")).status).toBe(200);
  });

  it("the OpenAPI document says how a caller shows who it is, and each way that it says opens its keys", async () => {
    type Security = readonly Record<string, unknown>[];
    const document = (await (await ask("/_latchkey/openapi.json")).json()) as {
      readonly security: Security;
      readonly components: {
        readonly securitySchemes: Record<string, { readonly type: string; readonly name?: string }>;
      };
      readonly paths: Record<string, Record<string, { readonly security?: Security }>>;
    };
    const { securitySchemes } = document.components;
    const namesOf = (security: Security | undefined) => (security ?? []).flatMap(Object.keys);
    expect(securitySchemes["gatewayToken"]?.name).toBe("Latchkey-Authorization");
    expect(namesOf(document.security)).toEqual(["gatewayToken", "credentials"]);
    const ofKeys = document.paths["/v1/idempotency-keys/{key}"]?.["get"];
    const credentials = namesOf(ofKeys?.security)
      .filter((name) => name.startsWith("upstream."))
      .map((name) => securitySchemes[name]?.name ?? "");
    expect(credentials).toContain("authorization");
    for (const name of credentials) {
      const headers = { [name]: "a credential" };
      expect((await ask("/_latchkey/v1/idempotency-keys/1", { headers })).status).toBe(200);
    }
  });

  it("what is not there is not the upstream's", async () => {
    const before = upstream.calls();
    const response = await ask("/_latchkey/nothing", { method: "POST" });
    expect(response.status).toBe(404);
    expect(await codeOf(response)).toBe("not-found");
    expect(upstream.calls()).toBe(before);
  });

  it("a credential of the upstream's opens its keys, and nothing of the business", async () => {
    const keys = await ask("/_latchkey/v1/idempotency-keys/1", { headers: AUTHORIZATION });
    expect(keys.status).toBe(200);
    expect((await ask("/_latchkey/v1/accounts", { headers: AUTHORIZATION })).status).toBe(401);
    expect((await ask("/_latchkey/v1/idempotency-keys/1")).status).toBe(401);
  });
});

it("a page of an origin that may call is answered for, whatever headers the upstream takes", async () => {
  const headers = {
    Origin: "https://shop.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-anything, idempotency-key",
  };
  const before = upstream.calls();
  const response = await ask("/only/a", { method: "OPTIONS", headers }, "routesOnly");
  expect(response.headers.get("Access-Control-Allow-Origin")).toBe("https://shop.example");
  expect(response.headers.get("Access-Control-Allow-Headers")).toContain("x-anything");
  expect(upstream.calls()).toBe(before);
});
