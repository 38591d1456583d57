/** The gateway between clients and upstreams that a client library would not let anybody be: both are sockets here. */
import { type AddressInfo, createServer, type Server } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { chunk, exchange, latin1, type RawAnswer, type RawRequest } from "../support/raw-http.ts";
import { useServers } from "../support/suite.ts";
import { newKey } from "../support/tenant.ts";

/** What came, as text, and what is answered to it next. */
type Bytes = string | Uint8Array;
const received: string[] = [];
const answers: Bytes[] = [];

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Answers each request with the next bytes there are for one, or with a 200, and closes. */
const listen = async (): Promise<Server> => {
  const server = createServer((socket) => {
    let came = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => {
      came = Buffer.concat([came, data]);
      const text = came.toString("latin1");
      const headEnd = text.indexOf("\r\n\r\n");
      const length = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0);
      if (headEnd < 0 || came.byteLength < headEnd + 4 + length) return;
      received.push(text);
      socket.end(answers.shift() ?? OK);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
};

const upstream = await listen();
afterAll(() => upstream.close());
const address = `127.0.0.1:${(upstream.address() as AddressInfo).port}`;
const origin = `http://${address}`;

const ROUTES = [
  { path: "/open/**", upstream: origin, protect: false },
  { path: "/public/**", upstream: origin },
  { path: "/optional/**", upstream: origin, missingKey: "pass" },
  { path: "/token/**", upstream: origin, auth: "jwt" },
  { path: "/api-key/**", upstream: origin, credentialHeader: "X-Api-Key" },
  { path: "/service/**", upstream: "service:UPSTREAM" },
  {
    path: "/asked/**",
    upstream: origin,
    status: { path: "/keys/{key}", absenceIsFinal: true, quietMs: 0 },
  },
];
const vars = { GATEWAY_ROUTES: JSON.stringify(ROUTES) };
const serverFor = useServers({
  gateway: { vars, services: { UPSTREAM: address } },
  pages: {
    vars: { ...vars, CORS_ORIGINS: "https://shop.example" },
    services: { UPSTREAM: address },
  },
});

type Asked = Partial<Pick<RawRequest, "headers" | "body">>;
const ask = async (method: string, target: string, { headers = [], body }: Asked = {}) =>
  exchange(serverFor("gateway").origin, {
    method,
    target,
    headers: [["Authorization", "Bearer sk_test_1"], ...headers],
    ...(body === undefined ? {} : { body }),
  });
const post = async (target: string, key: string, { headers = [], body = "a=1" }: Asked = {}) =>
  ask("POST", target, { headers: [["Idempotency-Key", key], ...headers], body });
const codeOf = ({ text }: RawAnswer): unknown => (JSON.parse(text) as { code: unknown }).code;

/** What the upstream heard meanwhile. */
const heardDuring = async (work: () => Promise<unknown>): Promise<readonly string[]> => {
  const before = received.length;
  await work();
  return received.slice(before);
};

describe("an answer whose status is none", () => {
  const NONE = [
    "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
  ];

  it.each(NONE)(
    "to an unprotected request is never an invitation to repeat it: %j",
    async (odd) => {
      answers.push(odd);
      let answer: RawAnswer | undefined;
      const heard = await heardDuring(async () => {
        answer = await ask("DELETE", "/public/things/1");
      });
      expect(heard).toHaveLength(1);
      expect(answer).toMatchObject({ status: 502 });
      expect(answer?.headers.get("x-should-retry")).toBe("false");
      expect(answer?.headers.get("latchkey-protected")).toBe("false");
      expect(answer && codeOf(answer)).toBe("unprotected-call-failed");
    },
  );

  it.each(NONE)("to a read is no answer: %j", async (odd) => {
    answers.push(odd);
    const answer = await ask("GET", "/public/things/1");
    expect(answer.status).toBe(502);
    expect(codeOf(answer)).toBe("upstream-unreachable");
  });

  it("to a protected request leaves the key uncertain", async () => {
    const key = newKey();
    answers.push(NONE[0] ?? "");
    const heard = await heardDuring(async () => {
      for (let i = 0; i < 2; i++) {
        expect(codeOf(await post("/public/charges", key))).toBe("outcome-uncertain");
      }
    });
    expect(heard).toHaveLength(1);
  });
});

describe("a read with content", () => {
  it.each(["GET", "HEAD"])("that is empty passes through: %s", async (method) => {
    const headers = [["Content-Length", "0"]] as const;
    expect((await ask(method, "/public/a", { headers })).status).toBe(200);
  });

  it("passes through with it", async () => {
    const heard = await heardDuring(async () => {
      const headers = [["Content-Type", "application/json"]] as const;
      const answer = await ask("GET", "/public/search?a=1", { headers, body: '{"query":1}' });
      expect(answer).toMatchObject({ status: 200, text: "ok" });
    });
    expect(heard).toEqual([
      expect.stringMatching(/^GET \/public\/search\?a=1 HTTP[^]*\r\n\r\n\{"query":1\}$/),
    ]);
    expect(heard[0]).toMatch(/^content-type: application\/json\r$/im);
  });

  it("of unknown length gets 400: it would go on without", async () => {
    const heard = await heardDuring(async () => {
      const answer = await ask("GET", "/public/search", {
        headers: [["Transfer-Encoding", "chunked"]],
        body: Buffer.concat([chunk('{"query":1}'), chunk("")]),
      });
      expect(answer.status).toBe(400);
      expect(codeOf(answer)).toBe("request-invalid");
    });
    expect(heard).toEqual([]);
  });
});

it("64: an answer in a coding that the runtime leaves says so, the first time and ever after", async () => {
  const key = newKey();
  const bytes = gzipSync("plain text");
  answers.push(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\nContent-Length: ${bytes.byteLength}\r\n\r\n`,
      ),
      bytes,
    ]),
  );
  const first = await post("/public/charges", key);
  const again = await post("/public/charges", key);
  for (const answer of [first, again]) {
    expect(answer.headers.get("content-encoding")).toBe("GZIP");
    expect(answer.text).toBe(bytes.toString("utf8"));
  }
  expect(again.headers.get("idempotent-replayed")).toBe("true");
});

it.each(["gzip", "br", "GZIP"])(
  "64: an empty answer that claims to be %s is empty",
  async (coding) => {
    const key = newKey();
    answers.push(
      `HTTP/1.1 201 Created\r\nContent-Encoding: ${coding}\r\nContent-Length: 0\r\n\r\n`,
    );
    for (const replayed of [undefined, "true"]) {
      const answer = await post("/public/charges", key);
      expect(answer).toMatchObject({ status: 201, text: "" });
      expect(answer.headers.get("idempotent-replayed")).toBe(replayed);
    }
  },
);

describe("12: what an upstream may read as another amount gets 422", () => {
  it.each([
    ["application/json", '{"amount":1.1000000000000000001}', '{"amount":1.1000000000000000002}'],
    [
      "application/x-www-form-urlencoded",
      "item[][sku]=a&item[][count]=2&item[][sku]=b",
      "item[][sku]=a&item[][sku]=b&item[][count]=2",
    ],
  ])("%s", async (type, one, other) => {
    const key = newKey();
    const headers = [["Content-Type", type]] as const;
    const heard = await heardDuring(async () => {
      expect((await post("/public/charges", key, { headers, body: one })).status).toBe(200);
      const refused = await post("/public/charges", key, { headers, body: other });
      expect(refused.status).toBe(422);
      expect(JSON.parse(refused.text)).toMatchObject({ mismatched: ["(body)"] });
      const again = await post("/public/charges", key, { headers, body: one });
      expect(again.headers.get("idempotent-replayed")).toBe("true");
    });
    expect(heard).toHaveLength(1);
  });
});

describe("without a credential and a key", () => {
  const bare = async (method: string, target: string): Promise<RawAnswer> =>
    exchange(serverFor("gateway").origin, { method, target, headers: [], body: "a=1" });

  it.each([
    ["PUT", "/public/things/1"],
    ["DELETE", "/public/things/1"],
    ["POST", "/optional/charges"],
  ])("%s %s passes through, marked: who may do so is the upstream's to say", async (...asked) => {
    const answer = await bare(...asked);
    expect(answer).toMatchObject({ status: 200, text: "ok" });
    expect(answer.headers.get("latchkey-protected")).toBe("false");
  });

  it("where a token is asked for, nothing that may change something passes without", async () => {
    expect((await bare("DELETE", "/token/things/1")).status).toBe(401);
    expect((await bare("POST", "/public/charges")).status).toBe(401);
  });
});

describe("which pages may read an answer that passes through", () => {
  const read = async (server: "gateway" | "pages", page: string): Promise<RawAnswer> => {
    answers.push(
      OK.replace(
        "\r\n\r\n",
        "\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\r\n",
      ),
    );
    const headers = [["Origin", page]] as const;
    return exchange(serverFor(server).origin, { method: "GET", target: "/public/a", headers });
  };

  it.each([
    ["https://shop.example", "https://shop.example"],
    ["https://elsewhere.example", undefined],
  ])("is the operator's word, if there is one: %s", async (page, allowed) => {
    const { headers } = await read("pages", page);
    expect(headers.get("access-control-allow-origin")).toBe(allowed);
    expect(headers.get("access-control-allow-credentials")).toBeUndefined();
  });

  it("else the upstream's", async () => {
    const { headers } = await read("gateway", "https://elsewhere.example");
    expect(headers.get("access-control-allow-origin")).toBe("*");
  });
});

describe("OPTIONS, where CORS_ORIGINS names a page", () => {
  const options = async (headers: RawRequest["headers"]): Promise<RawAnswer> =>
    exchange(serverFor("pages").origin, { method: "OPTIONS", target: "/public/a", headers });
  const SHOP = [["Origin", "https://shop.example"]] as const;

  it("is the gateway's to answer as a preflight", async () => {
    const heard = await heardDuring(async () => {
      const answer = await options([...SHOP, ["Access-Control-Request-Method", "POST"]]);
      expect(answer.status).toBe(204);
      expect(answer.headers.get("access-control-allow-origin")).toBe("https://shop.example");
    });
    expect(heard).toEqual([]);
  });

  it.each([[[]], [SHOP]])("and else the upstream's: %j", async (headers) => {
    answers.push(OK.replace("\r\n\r\n", "\r\nAllow: GET, OPTIONS\r\n\r\n"));
    const answer = await options(headers);
    expect(answer).toMatchObject({ status: 200, text: "ok" });
    expect(answer.headers.get("allow")).toBe("GET, OPTIONS");
  });
});

describe("33: a path that leaves its route", () => {
  it.each([
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/..%2fadmin",
    "/public/..%5cadmin",
    "/public\\..\\admin",
    "/public/a%2f..%2f..%2fadmin",
    "/open/..%2fpublic/charges",
    "/open/..%2fpublic%2fcharges%2f%ff",
    "/open/..%2fpublic%2fcharges%",
  ])("%s is nobody's, whatever is asked of it", async (target) => {
    const heard = await heardDuring(async () => {
      for (const method of ["GET", "HEAD", "OPTIONS", "DELETE"]) {
        expect((await ask(method, target)).status).toBe(404);
      }
      expect((await post(target, newKey())).status).toBe(404);
    });
    expect(heard).toEqual([]);
  });

  it("an encoded slash is none, nor is an empty segment of a read", async () => {
    expect((await ask("GET", "/public/a%2Fb")).status).toBe(200);
    expect((await ask("GET", "/public//b")).status).toBe(200);
  });
});

it.each([".", "..", '".."'])(
  "8: the key %s gets 400: it would ask for another status",
  async (key) => {
    const heard = await heardDuring(async () => {
      const answer = await post("/asked/charges", key);
      expect(answer.status).toBe(400);
      expect(codeOf(answer)).toBe("idempotency-key-invalid");
    });
    expect(heard).toEqual([]);
  },
);

it("24: credentials that would become one on their way get 401, and share no key", async () => {
  const key = newKey();
  const heard = await heardDuring(async () => {
    for (const credential of ["clé", "clè"]) {
      const headers = [["X-Api-Key", latin1(credential)]] as const;
      expect((await post("/api-key/charges", key, { headers })).status).toBe(401);
      const state = await ask("GET", `/_latchkey/v1/idempotency-keys/${key}`, { headers });
      expect(state.text).not.toContain("completed");
    }
  });
  expect(heard).toEqual([]);
});

it("credentials in UTF-8 are told apart", async () => {
  const key = newKey();
  for (const credential of ["clé", "clè"]) {
    const answer = await post("/api-key/charges", key, { headers: [["X-Api-Key", credential]] });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("idempotent-replayed")).toBeUndefined();
  }
});

describe("a service binding is called as an origin is", () => {
  it.each([
    ["GET", "/service/things?a=1&a=2", undefined],
    ["GET", "/service/things", "with content"],
    ["DELETE", "/service/things/1", undefined],
    ["PUT", "/service/things/1", "a=1"],
  ])("what passes through: %s %s %s", async (method, target, body) => {
    const heard = await heardDuring(async () => {
      answers.push("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 4\r\n\r\nbody");
      const answer = await ask(method, target, body === undefined ? {} : { body });
      expect(answer).toMatchObject({ status: 302, text: "body" });
      expect(answer.headers.get("location")).toBe("/elsewhere");
    });
    expect(heard).toHaveLength(1);
    expect(heard[0]?.startsWith(`${method} ${target} HTTP/1.1\r\n`)).toBe(true);
    expect(heard[0]?.endsWith(`\r\n\r\n${body ?? ""}`)).toBe(true);
  });

  it("what is protected: one call, and its answer byte for byte", async () => {
    const key = newKey();
    const heard = await heardDuring(async () => {
      answers.push(
        "HTTP/1.1 402 No\r\nContent-Type: text/x\r\nContent-Length: 3\r\n\r\n\x00\xff\n",
      );
      const first = await post("/service/charges", key);
      const again = await post("/service/charges", key);
      expect(first).toMatchObject({ status: 402 });
      expect(again).toMatchObject({ status: 402, text: first.text });
      expect(again.headers.get("idempotent-replayed")).toBe("true");
    });
    expect(heard).toHaveLength(1);
    expect(heard[0]).toContain(`\r\nidempotency-key: ${key}\r\n`);
  });
});
