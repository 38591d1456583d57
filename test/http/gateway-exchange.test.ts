/** A protected request through the gateway, against an upstream that has an effect each time it is called. */
import { randomBytes } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { type Effect, type Fault, startUpstream } from "../../examples/upstream/upstream.ts";
import { exchange } from "../support/raw-http.ts";
import { useServers } from "../support/suite.ts";
import { newKey } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

/** What goes wrong with the next calls, in order. */
const nextFaults: Fault[] = [];
const upstream = await startUpstream({ nextFault: () => nextFaults.shift(), lateMs: 300 });
const honouring = await startUpstream({ honoursKey: true, nextFault: () => nextFaults.shift() });
afterAll(async () => Promise.all([upstream.stop(), honouring.stop()]));

const ROUTES = [
  { path: "/jwt/**", auth: "jwt" },
  { path: "/fixed/**", tenant: "acme" },
  { path: "/api-key/**", credentialHeader: "X-Api-Key" },
  { path: "/named/**", keepHeaders: ["request-id"] },
  { path: "/honoured/**", upstream: honouring.origin, honoursKey: true },
];
const vars = { UPSTREAM_ORIGIN: upstream.origin, GATEWAY_ROUTES: JSON.stringify(ROUTES) };
const serverFor = useServers({
  "1": { vars: { ...vars, KEY_OBJECTS: "1" } },
  "per-key": { vars: { ...vars, KEY_OBJECTS: "per-key" } },
});

type Sent = {
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: NonNullable<RequestInit["body"]>;
  readonly method?: string;
  readonly server?: "1" | "per-key";
};
type Got = {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  readonly replayed: boolean;
};

const send = async (
  path: string,
  { key = newKey(), headers, body = "amount=1", method = "POST", server = "1" }: Sent = {},
): Promise<Got> => {
  const response = await fetch(serverFor(server).origin + path, {
    method,
    redirect: "manual",
    headers: {
      Authorization: "Bearer sk_test_1",
      "Content-Type": "application/x-www-form-urlencoded",
      "Idempotency-Key": key,
      ...headers,
    },
    body,
  });
  return {
    status: response.status,
    headers: response.headers,
    bytes: Buffer.from(await response.arrayBuffer()),
    replayed: response.headers.get("Idempotent-Replayed") === "true",
  };
};
const bodyOf = (answer: Got): Record<string, unknown> =>
  JSON.parse(answer.bytes.toString("utf8")) as Record<string, unknown>;
const byKey = (key: string): readonly Effect[] =>
  upstream.effects.filter((effect) => effect.key === key);

/** Of every header but those that say when, which request, and that it is a replay. */
const comparable = ({ headers }: Got): Record<string, string> =>
  Object.fromEntries(
    [...headers].filter(
      ([name]) => !["date", "x-request-id", "idempotent-replayed"].includes(name),
    ),
  );

describe.each(["1", "per-key"] as const)("with KEY_OBJECTS=%s", (server) => {
  it("a POST is carried out once; every retry gets the same status, headers and bytes", async () => {
    const key = newKey();
    const first = await send("/v1/charges", { key, server });
    expect(first.status).toBe(200);
    expect(first.replayed).toBe(false);
    for (let i = 0; i < 3; i++) {
      const again = await send("/v1/charges", { key, server });
      expect(again.replayed).toBe(true);
      expect(again.status).toBe(first.status);
      expect(again.bytes.equals(first.bytes)).toBe(true);
      expect(comparable(again)).toEqual(comparable(first));
    }
    expect(byKey(key)).toHaveLength(1);
  });

  it("35: of 20 at once that wait, one is carried out and 19 replay it", async () => {
    const key = newKey();
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () =>
        send("/v1/charges", { key, server, headers: { Prefer: "wait=10" } }),
      ),
    );
    expect(new Set(answers.map(({ status, bytes }) => `${status} ${bytes.toString()}`)).size).toBe(
      1,
    );
    expect(byKey(key)).toHaveLength(1);
  });
});

describe("the key", () => {
  it("may be as short as one character, and quoted and bare it is one", async () => {
    const headers = { Authorization: `Bearer ${newKey()}` };
    const first = await send("/v1/charges", { key: "7", headers });
    const quoted = await send("/v1/charges", { key: '"7"', headers });
    expect(first.status).toBe(200);
    expect(quoted.replayed).toBe(true);
    expect(quoted.bytes.equals(first.bytes)).toBe(true);
    const state = await fetch(`${serverFor("1").origin}/_latchkey/v1/idempotency-keys/7`, {
      headers,
    });
    expect(await state.json()).toMatchObject({
      key: "7",
      state: "completed",
      outcome: { status: 200 },
    });
  });

  it("7: reaches the upstream bare, whatever was sent", async () => {
    const key = newKey();
    await send("/v1/charges", { key: `"${key}"` });
    expect(byKey(key)).toHaveLength(1);
  });

  it("75: cannot be dropped by Connection, and what belongs to the connection goes no further", async () => {
    const key = newKey();
    const headers = [
      ["Authorization", "Bearer sk_test_1"],
      ["Idempotency-Key", key],
      ["Connection", "close, Idempotency-Key, X-Hop"],
      ["X-Hop", "1"],
      ["TE", "trailers"],
      ["X-Kept", "1"],
      ["Latchkey-Authorization", "Bearer ours"],
    ] as const;
    const request = { method: "POST", target: "/v1/charges", headers, body: "amount=1" };
    const first = await exchange(serverFor("1").origin, request);
    const again = await exchange(serverFor("1").origin, request);
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
    expect(byKey(key)).toHaveLength(1);
    const seen = byKey(key)[0]?.headers ?? {};
    expect(seen).toMatchObject({ "x-kept": "1", "idempotency-key": key, "content-length": "8" });
    expect(Object.keys(seen)).not.toContain("x-hop");
    expect(Object.keys(seen)).not.toContain("te");
    expect(JSON.stringify(seen)).not.toContain("ours");
    expect(seen["host"]).toBe(new URL(upstream.origin).host);
  });

  it("PUT and DELETE honour it", async () => {
    for (const method of ["PUT", "DELETE"]) {
      const key = newKey();
      const first = await send("/v1/things/1", { key, method });
      const again = await send("/v1/things/1", { key, method });
      expect(again).toMatchObject({ status: first.status, replayed: true });
      expect(byKey(key)).toHaveLength(1);
    }
  });
});

describe("the trace", () => {
  const TRACE = {
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate: "vendor=a1,other=b2",
  };

  it("goes on with a protected call, and is not kept with its answer", async () => {
    const key = newKey();
    const first = await send("/v1/charges", { key, headers: TRACE });
    expect(byKey(key)).toMatchObject([{ headers: TRACE }]);
    expect(first.headers.get("traceparent")).toBeNull();
  });

  it("is that of the request also when the call is sent again without it", async () => {
    const key = newKey();
    nextFaults.push("fail-before");
    const broken = await send("/honoured/charges", { key, headers: TRACE });
    expect(broken.status).toBe(423);
    await send("/honoured/charges", { key, headers: { Prefer: "wait=10" } });
    const healed = honouring.effects.filter((effect) => effect.key === key);
    expect(healed).toMatchObject([{ headers: TRACE }]);
  });
});

describe("who calls", () => {
  it("24: another credential is another tenant: the same key is its own request, and neither sees the other's", async () => {
    const key = newKey();
    const one = await send("/v1/charges", { key });
    const two = await send("/v1/charges", { key, headers: { Authorization: "Bearer sk_test_2" } });
    expect([one.replayed, two.replayed]).toEqual([false, false]);
    expect(bodyOf(one)["id"]).not.toBe(bodyOf(two)["id"]);
    expect(byKey(key)).toHaveLength(2);
  });

  it("28: where the route fixes the tenant, a rotated credential is the same caller", async () => {
    const key = newKey();
    await send("/fixed/charges", { key });
    const rotated = await send("/fixed/charges", {
      key,
      headers: { Authorization: "Bearer sk_new" },
    });
    expect(rotated.replayed).toBe(true);
    expect(byKey(key)).toHaveLength(1);
  });

  it("the credential may be in a header that the route names", async () => {
    const key = newKey();
    const headers = { "X-Api-Key": "k1" };
    await send("/api-key/charges", { key, headers });
    expect((await send("/api-key/charges", { key, headers })).replayed).toBe(true);
    expect((await send("/api-key/charges", { key })).status).toBe(401);
    expect(byKey(key)).toHaveLength(1);
  });

  it("with auth: jwt a token says who it is and goes no further; the upstream's credential does", async () => {
    const key = newKey();
    const token = await tokenFor("acme", { scope: "gateway:call" });
    const headers = { "Latchkey-Authorization": `Bearer ${token}` };
    const first = await send("/jwt/charges", { key, headers });
    expect(first.status).toBe(200);
    const again = await send("/jwt/charges", {
      key,
      headers: { ...headers, Authorization: "Bearer rotated" },
    });
    expect(again.replayed).toBe(true);
    const [effect, ...more] = upstream.effects.filter(
      ({ path, headers: seen }) =>
        path === "/jwt/charges" && seen["authorization"] === "Bearer sk_test_1",
    );
    expect(more).toEqual([]);
    expect(effect?.headers).not.toHaveProperty("latchkey-authorization");
    // Tenants share the upstream, and must not meet there.
    expect(effect?.key).not.toBe(key);
    expect((await send("/jwt/charges", { key })).status).toBe(401);
    const weak = {
      "Latchkey-Authorization": `Bearer ${await tokenFor("acme", { scope: "read" })}`,
    };
    expect((await send("/jwt/charges", { key, headers: weak })).status).toBe(403);
  });
});

describe("any content", () => {
  const BOUNDARIES = ["----one", "----two"] as const;
  const multipart = (boundary: string, value: string): Sent => ({
    headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` },
    body: `--${boundary}\r\nContent-Disposition: form-data; name="amount"\r\n\r\n${value}\r\n--${boundary}--\r\n`,
  });
  const json = (body: string): Sent => ({ headers: { "Content-Type": "application/json" }, body });

  it.each([
    ["JSON, written in another order", json('{"a":1,"b":2}'), json('{ "b": 2, "a": 1 }')],
    ["a form, with its fields in another order", { body: "a=1&b=2" }, { body: "b=2&a=1" }],
    [
      "parts, between other boundaries",
      multipart(BOUNDARIES[0], "1"),
      multipart(BOUNDARIES[1], "1"),
    ],
    ["nothing", { body: "" }, { body: "" }],
  ])("%s is the same request", async (_, one, two) => {
    const key = newKey();
    const first = await send("/v1/charges", { ...one, key });
    const again = await send("/v1/charges", { ...two, key });
    expect(again.replayed).toBe(true);
    expect(again.bytes.equals(first.bytes)).toBe(true);
    expect(byKey(key)).toHaveLength(1);
  });

  it.each([
    ["a member of JSON", json('{"amount":1,"b":2}'), json('{"amount":2,"b":2}'), "amount"],
    ["a field of a form", { body: "amount=1&b=2" }, { body: "amount=2&b=2" }, "amount"],
    ["a part", multipart(BOUNDARIES[0], "1"), multipart(BOUNDARIES[0], "2"), "amount"],
    [
      "a byte",
      { headers: { "Content-Type": "image/png" }, body: "a" },
      { headers: { "Content-Type": "image/png" }, body: "b" },
      "(body)",
    ],
  ])(
    "12: %s that differs gets 422, which names it; the original stands",
    async (_, one, two, name) => {
      const key = newKey();
      await send("/v1/charges", { ...one, key });
      const other = await send("/v1/charges", { ...two, key });
      expect(other.status).toBe(422);
      expect(bodyOf(other)).toMatchObject({ code: "idempotency-key-reused", mismatched: [name] });
      expect((await send("/v1/charges", { ...one, key })).replayed).toBe(true);
      expect(byKey(key)).toHaveLength(1);
    },
  );

  it("16, 17: another path, query or method gets 422", async () => {
    const key = newKey();
    await send("/v1/charges?a=1", { key });
    for (const [path, method] of [
      ["/v1/charges?a=2", "POST"],
      ["/v1/refunds?a=1", "POST"],
      ["/v1/charges?a=1", "PATCH"],
    ] as const) {
      expect((await send(path, { key, method })).status).toBe(422);
    }
    expect(byKey(key)).toHaveLength(1);
  });

  it.each([0, 1, 65_536, 1024 * 1024])(
    "64: %d bytes are sent and replayed byte for byte",
    async (size) => {
      const key = newKey();
      const body = randomBytes(size);
      const headers = { "Content-Type": "application/octet-stream" };
      const first = await send("/echo", { key, headers, body });
      expect(first.status).toBe(201);
      expect(first.bytes.equals(body)).toBe(true);
      const again = await send("/echo", { key, headers, body });
      expect(again.replayed).toBe(true);
      expect(again.bytes.equals(body)).toBe(true);
      expect(again.headers.get("Content-Type")).toBe("application/octet-stream");
      expect(byKey(key)).toHaveLength(1);
    },
  );

  it("64: a body that is compressed is sent as it is", async () => {
    const key = newKey();
    const body = randomBytes(100);
    await send("/echo", {
      key,
      headers: { "Content-Type": "application/json", "Content-Encoding": "gzip" },
      body,
    });
    expect(byKey(key)).toMatchObject([{ bodyBytes: 100, headers: { "content-encoding": "gzip" } }]);
  });

  it("64: an answer that comes compressed is replayed as what it says", async () => {
    const key = newKey();
    const first = await send("/gzip", { key, body: "plain text" });
    const again = await send("/gzip", { key, body: "plain text" });
    expect(first.bytes.toString()).toBe("plain text");
    expect(again.bytes.toString()).toBe("plain text");
    expect(again.replayed).toBe(true);
  });

  it("64: a large answer is replayed byte for byte", async () => {
    const key = newKey();
    const path = `/large?bytes=${5 * 1024 * 1024}`;
    const first = await send(path, { key });
    const again = await send(path, { key });
    expect(first.bytes.byteLength).toBe(5 * 1024 * 1024);
    expect(again.replayed).toBe(true);
    expect(again.bytes.equals(first.bytes)).toBe(true);
  });

  it("78: one over the limit goes through once, and a retry hears its size and hash", async () => {
    const key = newKey();
    const size = 9 * 1024 * 1024;
    const first = await send(`/large?bytes=${size}`, { key });
    expect(first.status).toBe(200);
    expect(first.bytes.byteLength).toBe(size);
    const again = await send(`/large?bytes=${size}`, { key });
    expect(again.status).toBe(409);
    expect(bodyOf(again)).toMatchObject({ code: "response-not-stored" });
    expect(again.bytes.toString()).toContain(String(size));
    expect(byKey(key)).toHaveLength(1);
  });
});

describe("59: headers", () => {
  it("of many lines are intact; cookies, dates and the upstream's request id go to nobody", async () => {
    const first = await send("/v1/charges");
    expect(first.headers.get("Link")).toBe("</docs>; rel=help, </terms>; rel=license");
    expect(first.headers.get("Location")).toMatch(/^\/v1\/charges\/\d+$/);
    expect(first.headers.getSetCookie()).toEqual([]);
    expect(first.headers.get("Request-Id")).toBeNull();
    expect(first.headers.get("Cache-Control")).toBe("no-store");
    expect(first.headers.get("Idempotency-Expires")).not.toBeNull();
  });

  it("or those that the route names", async () => {
    const key = newKey();
    const first = await send("/named/charges", { key });
    const again = await send("/named/charges", { key });
    expect(first.headers.get("Request-Id")).toMatch(/^req_\d+$/);
    expect(again.headers.get("Request-Id")).toBe(first.headers.get("Request-Id"));
    expect(first.headers.get("Link")).toBeNull();
  });

  it("74: a redirect is an outcome, and nobody follows it", async () => {
    const key = newKey();
    const before = honouring.calls();
    const path = `/redirect?to=${encodeURIComponent(`${honouring.origin}/stolen`)}`;
    const first = await send(path, { key });
    const again = await send(path, { key });
    expect([first.status, again.status]).toEqual([303, 303]);
    expect(again.headers.get("Location")).toBe(`${honouring.origin}/stolen`);
    // Clients that ask before they repeat what is no success hear that it stands.
    for (const { headers } of [first, again]) {
      expect(headers.get("Stripe-Should-Retry")).toBe("false");
      expect(headers.get("X-Should-Retry")).toBe("false");
    }
    expect(honouring.calls()).toBe(before);
  });
});

describe("an upstream that fails", () => {
  it("76, 77: a reset after the effect leaves an upstream that knows no keys uncertain: 409, and never another call", async () => {
    const key = newKey();
    nextFaults.push("reset-after");
    const first = await send("/v1/charges", { key });
    const again = await send("/v1/charges", { key });
    for (const answer of [first, again]) {
      expect(answer.status).toBe(409);
      expect(bodyOf(answer)).toMatchObject({ code: "outcome-uncertain" });
    }
    expect(byKey(key)).toHaveLength(1);
  });

  it("77: one that honours keys is healed with the same key, and the client gets its answer", async () => {
    const key = newKey();
    nextFaults.push("reset-after");
    let answer = await send("/honoured/charges", { key, headers: { Prefer: "wait=15" } });
    for (let i = 0; i < 20 && answer.status !== 200; i++) {
      expect([423, 503]).toContain(answer.status);
      answer = await send("/honoured/charges", { key, headers: { Prefer: "wait=15" } });
    }
    expect(answer.status).toBe(200);
    expect(honouring.effects.filter((effect) => effect.key === key)).toHaveLength(1);
  });
});
