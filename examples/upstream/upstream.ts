/**
 * An API like many: every POST and PATCH has an effect, each time it arrives. It counts its effects, knows nothing of
 * keys unless told to, and can fail in the ways that real ones do, by seed. What the gateway is shown, tested and
 * measured with.
 *
 * It speaks enough of two public APIs that their own clients work against it: `POST /v1/…` takes a form or JSON and makes
 * an object with an id; `POST /api/v1/app` and `…/msg` make applications and messages.
 *
 * `POST /echo` gives back the bytes that came, `POST /large?bytes=N` that many, `POST /gzip` compressed ones, and
 * `/redirect?to=URL` leads elsewhere.
 *
 * - `GET /effects`: what has happened, in order; `GET /effects?key=…`: by one key
 * - `GET /keys/{key}`: the answer that the key got, or 404: a status URL
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

/** What can go wrong with a call, in the order in which it can. */
export type Fault =
  /** The connection is closed before anything has happened. */
  | "drop-before"
  /** It is accepted only later. */
  | "accept-late"
  /** The connection is reset at once, and it happens all the same, later: after it was asked what became of it. */
  | "reset-then-accept"
  /** 503 before anything has happened. */
  | "fail-before"
  /** 429: it was not carried out. */
  | "too-many"
  /** It happens, and the answer is a 500. */
  | "fail-after"
  /** It happens, and the connection is reset. */
  | "reset-after"
  /** It happens, and the answer takes its time. */
  | "answer-late";

const FAULTS: readonly Fault[] = [
  "drop-before",
  "accept-late",
  "reset-then-accept",
  "fail-before",
  "too-many",
  "fail-after",
  "reset-after",
  "answer-late",
];

export type UpstreamOptions = {
  readonly port?: number;
  /** What goes wrong with the next call, if anything. It is asked once for each POST, PATCH, PUT and DELETE. */
  readonly nextFault?: (effects: number) => Fault | undefined;
  /** Told of every call that may change something, and of what went wrong with it. */
  readonly onCall?: (call: { readonly key: string | null; readonly fault: Fault | null }) => void;
  /** Whether a key is carried out once here, too: the answer is kept, and given again. */
  readonly honoursKey?: boolean;
  /** Of every answer, and of the late ones, milliseconds. */
  readonly delayMs?: number;
  readonly lateMs?: number;
};

export type Effect = {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly key: string | null;
  readonly contentType: string;
  readonly bodyBytes: number;
  /** As it came. */
  readonly body: string;
  /** Of the request, as received. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
};

export type RunningUpstream = {
  readonly origin: string;
  readonly effects: readonly Effect[];
  /** Calls that arrived, whatever became of them. */
  readonly calls: () => number;
  readonly stop: () => Promise<void>;
};

/** Faults with a probability each, by a seed: the same seed, the same faults in the same order of calls. */
export const faultsBySeed = (seed: number, probability: number, among = FAULTS) => {
  let state = seed >>> 0;
  const random = (): number => {
    // mulberry32: short, and even enough to choose faults by.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return (): Fault | undefined =>
    random() < probability ? among[Math.floor(random() * among.length)] : undefined;
};

type Answer = {
  readonly status: number;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
};

export const startUpstream = async ({
  port = 0,
  nextFault = () => undefined,
  onCall = () => undefined,
  honoursKey = false,
  delayMs = 0,
  lateMs = 500,
}: UpstreamOptions = {}): Promise<RunningUpstream> => {
  const effects: Effect[] = [];
  const answers = new Map<string, Answer>();
  let calls = 0;

  const carryOut = (request: IncomingMessage, body: Buffer): Answer => {
    const key = header(request, "idempotency-key");
    const kept = key === null ? undefined : answers.get(key);
    if (honoursKey && kept !== undefined) return kept;
    const path = new URL(request.url ?? "/", "http://upstream").pathname;
    const text = body.toString("utf8");
    const id = `${prefixOf(path)}_${String(effects.length + 1).padStart(6, "0")}`;
    effects.push({
      id,
      method: request.method ?? "",
      path,
      key,
      contentType: header(request, "content-type") ?? "",
      bodyBytes: body.byteLength,
      body: text,
      headers: request.headers,
    });
    const answer =
      special(request, body) ??
      ({
        status: statusOf(path, request.method),
        body: JSON.stringify(made(path, id, request, text)),
      } satisfies Answer);
    if (key !== null) answers.set(key, answer);
    return answer;
  };

  const call = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    calls += 1;
    const fault = nextFault(effects.length);
    onCall({ key: header(request, "idempotency-key"), fault: fault ?? null });
    if (fault === "drop-before") return void request.socket.destroy();
    const body = await readAll(request);
    if (fault === "fail-before") return send(response, 503, { error: "not now" });
    if (fault === "too-many")
      return send(response, 429, { error: "slow down" }, { "Retry-After": "1" });
    if (fault === "reset-then-accept") request.socket.resetAndDestroy();
    if (fault === "accept-late" || fault === "reset-then-accept") await sleep(lateMs);
    const { status, body: content, headers = {} } = carryOut(request, body);
    if (fault === "reset-then-accept") return;
    if (fault === "reset-after") return void request.socket.resetAndDestroy();
    if (fault === "fail-after") return send(response, 500, { error: "something broke" });
    await sleep(delayMs + (fault === "answer-late" ? lateMs : 0));
    return send(response, status, content, {
      Location: `${new URL(request.url ?? "/", "http://upstream").pathname}/${effects.length}`,
      "Set-Cookie": ["session=1; Path=/", "seen=1"],
      "Request-Id": `req_${calls}`,
      Link: ["</docs>; rel=help", "</terms>; rel=license"],
      ...headers,
    });
  };

  const read = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://upstream");
    if (url.pathname === "/effects") {
      const key = url.searchParams.get("key");
      const seen = effects.filter((effect) => key === null || effect.key === key);
      return send(response, 200, { count: seen.length, effects: seen });
    }
    const key = /^\/keys\/([^/]+)$/.exec(url.pathname)?.[1];
    if (key !== undefined) {
      const kept = answers.get(decodeURIComponent(key));
      return kept === undefined
        ? send(response, 404, { error: "no such key" })
        : send(response, 200, kept.body);
    }
    if (url.pathname === "/stream") {
      response.writeHead(200, { "Content-Type": "text/plain" });
      for (let i = 0; i < 3; i++) {
        response.write(`line ${i}\n`);
        await sleep(20);
      }
      return void response.end();
    }
    if (url.pathname === "/gzip") {
      return send(response, 200, gzipSync("plain text"), { "Content-Encoding": "gzip" });
    }
    if (url.pathname === "/redirect")
      return send(response, 302, "", { Location: url.searchParams.get("to") ?? "/" });
    if (url.pathname === "/form")
      return send(response, 200, FORM_PAGE, { "Content-Type": "text/html" });
    return send(response, 200, {
      method: request.method,
      url: request.url,
      headers: request.headers,
    });
  };

  const server = createServer((request, response) => {
    const work = ["GET", "HEAD", "OPTIONS"].includes(request.method ?? "") ? read : call;
    work(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${address.port}`,
    effects,
    calls: () => calls,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

const header = (request: IncomingMessage, name: string): string | null => {
  const value = request.headers[name];
  return typeof value === "string" ? value : null;
};

const readAll = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

const send = (
  response: ServerResponse,
  status: number,
  body: unknown,
  more: Readonly<Record<string, string | readonly string[]>> = {},
): void => {
  const content =
    typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  for (const [name, value] of Object.entries({ "Content-Type": "application/json", ...more })) {
    response.setHeader(name, value);
  }
  response.writeHead(status);
  response.end(status === 204 ? undefined : content);
};

/** Answers of other kinds than JSON. */
const special = (request: IncomingMessage, body: Buffer): Answer | undefined => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://upstream");
  switch (pathname) {
    case "/echo":
      return {
        status: 201,
        body,
        headers: { "Content-Type": header(request, "content-type") ?? "application/octet-stream" },
      };
    case "/large": {
      const bytes = new Uint8Array(Number(searchParams.get("bytes"))).map((_, i) => (i * 7) % 251);
      return { status: 200, body: bytes, headers: { "Content-Type": "application/octet-stream" } };
    }
    case "/gzip":
      return { status: 200, body: gzipSync(body), headers: { "Content-Encoding": "gzip" } };
    case "/redirect":
      return { status: 303, body: "", headers: { Location: searchParams.get("to") ?? "/" } };
    default:
      return undefined;
  }
};

const prefixOf = (path: string): string =>
  path.endsWith("/msg")
    ? "msg"
    : path.endsWith("/app")
      ? "app"
      : (path.split("/").at(-1) ?? "obj").slice(0, 2).replaceAll(/\W/g, "") || "obj";

const statusOf = (path: string, method: string | undefined): number =>
  path.startsWith("/api/v1/")
    ? path.endsWith("/msg")
      ? 202
      : 201
    : method === "DELETE"
      ? 204
      : 200;

/** An object as the API that the path belongs to would tell of it. */
const made = (path: string, id: string, request: IncomingMessage, text: string): object => {
  const fields = fieldsOf(header(request, "content-type") ?? "", text);
  const now = new Date().toISOString();
  if (path.endsWith("/msg")) {
    return { id, eventType: "none", payload: {}, timestamp: now, tags: [], ...fields };
  }
  if (path.endsWith("/app")) {
    return { id, name: "", metadata: {}, createdAt: now, updatedAt: now, ...fields };
  }
  return {
    id,
    object: (path.split("/").at(-1) ?? "object").replace(/s$/, ""),
    livemode: false,
    ...fields,
  };
};

const fieldsOf = (contentType: string, text: string): object => {
  if (contentType.startsWith("application/x-www-form-urlencoded")) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
};

const FORM_PAGE = `<!doctype html><title>Order</title>
<form method="post" action="/v1/orders"><input name="item" value="mug"><button>Order</button></form>`;
