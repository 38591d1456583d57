import { describe, expect, it } from "vitest";
import {
  forwardedHeaders,
  keptHeaders,
  returnedHeaders,
  sentHeaders,
} from "../../../src/gateway/headers.ts";

const arrival = { address: "203.0.113.9", protocol: "https", host: "gw.example.com" } as const;
const sent = (headers: Record<string, string>) =>
  Object.fromEntries(sentHeaders(Object.entries(headers), arrival, "key-1", "authorization"));

describe("75: to the upstream", () => {
  it("goes nothing that belongs to one connection, also what Connection names", () => {
    const given = {
      Connection: "close, X-Hop",
      "Keep-Alive": "timeout=5",
      "Proxy-Authorization": "Basic eA==",
      "Proxy-Connection": "keep-alive",
      TE: "trailers",
      Trailer: "Expires",
      "Transfer-Encoding": "chunked",
      Upgrade: "h2c",
      "X-Hop": "1",
      Host: "gw.example.com",
      "Content-Length": "3",
      Expect: "100-continue",
      "X-Kept": "1",
    };
    expect(Object.keys(sent(given)).toSorted()).toEqual([
      "accept-encoding",
      "idempotency-key",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-kept",
    ]);
  });

  it("Connection cannot drop the key, the credential, or what the content is", () => {
    expect(
      sent({
        Connection:
          "Idempotency-Key, Authorization, Content-Type, Content-Encoding, X-Forwarded-For",
        "Idempotency-Key": '"key-1"',
        Authorization: "Bearer sk",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
      }),
    ).toMatchObject({
      "idempotency-key": "key-1",
      authorization: "Bearer sk",
      "content-type": "application/json",
      "content-encoding": "gzip",
      "x-forwarded-for": "203.0.113.9",
    });
  });

  it("goes the key once and bare, our own credential never, the upstream's untouched", () => {
    const pairs = sentHeaders(
      Object.entries({
        "idempotency-key": '"key-1"',
        "Latchkey-Authorization": "Bearer ours",
        "Latchkey-Anything": "ours",
        Authorization: "Bearer theirs",
      }),
      arrival,
      "key-1",
      "authorization",
    );
    expect(pairs.filter(([name]) => name === "idempotency-key")).toEqual([
      ["idempotency-key", "key-1"],
    ]);
    expect(JSON.stringify(pairs)).not.toContain("ours");
    expect(pairs).toContainEqual(["authorization", "Bearer theirs"]);
  });

  it("what a caller says of where it comes from is replaced by what is known", () => {
    const given = {
      Forwarded: "for=10.0.0.1",
      "X-Forwarded-For": "10.0.0.1",
      "X-Forwarded-Host": "evil.example",
      "X-Real-IP": "10.0.0.1",
      "CF-Connecting-IP": "10.0.0.1",
      "X-Original-URL": "/admin",
    };
    expect(Object.fromEntries(forwardedHeaders(Object.entries(given), arrival))).toEqual({
      "x-forwarded-for": "203.0.113.9",
      "x-forwarded-host": "gw.example.com",
      "x-forwarded-proto": "https",
    });
  });

  it("an answer that is kept for others is asked for whole and in no coding; our part of Prefer stays here", () => {
    const asked = { "Accept-Encoding": "br", Range: "bytes=0-1", Prefer: "wait=5, return=minimal" };
    expect(sent(asked)).toMatchObject({ "accept-encoding": "identity", prefer: "return=minimal" });
    expect(sent(asked)).not.toHaveProperty("range");
    expect(sent({ Prefer: "respond-async, wait=5" })).not.toHaveProperty("prefer");
  });
});

describe("59: of an answer under a key", () => {
  const answer: [string, string][] = [
    ["Content-Type", "application/json"],
    ["Location", "/v1/charges/ch_1"],
    ["ETag", '"1"'],
    ["Link", "<a>; rel=next, <b>; rel=prev"],
    ["X-Own", "1"],
    ["Set-Cookie", "session=1"],
    ["Date", "Thu, 01 Jan 1970 00:00:00 GMT"],
    ["Access-Control-Allow-Origin", "*"],
    ["WWW-Authenticate", "Basic"],
    ["X-RateLimit-Remaining", "7"],
    ["RateLimit", "limit=1"],
    ["Retry-After", "7"],
    ["Request-Id", "req_1"],
    ["X-Request-Id", "req_1"],
    ["Connection", "x-hop"],
    ["X-Hop", "1"],
    ["Transfer-Encoding", "chunked"],
    ["Content-Length", "3"],
    ["Idempotent-Replayed", "true"],
    ["Stripe-Should-Retry", "true"],
    ["Latchkey-Protected", "false"],
    ["Cache-Control", "max-age=60"],
  ];
  const namesOf = (keep: readonly string[] | null) =>
    keptHeaders(answer, keep).map(([name]) => name);

  it("all is kept but the deny-list", () => {
    expect(namesOf(null)).toEqual(["content-type", "location", "etag", "link", "x-own"]);
  });

  it("or what the route names, and what the bytes need; never a cookie", () => {
    expect(namesOf(["request-id", "set-cookie"])).toEqual([
      "content-type",
      "location",
      "request-id",
    ]);
  });

  it("a coding that the runtime has undone is not claimed; one that it leaves is", () => {
    expect(keptHeaders([["Content-Encoding", "gzip"]], null)).toEqual([]);
    for (const left of ["zstd", "GZIP", "x-gzip", "gzip, br"]) {
      expect(keptHeaders([["Content-Encoding", left]], null)).toEqual([["content-encoding", left]]);
    }
  });
});

it("75: what passes through comes back but for what belongs to the connection", () => {
  expect(
    returnedHeaders([
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
      ["Connection", "X-Hop"],
      ["X-Hop", "1"],
      ["Keep-Alive", "timeout=5"],
      ["X-Kept", "1"],
    ]),
  ).toEqual([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
    ["x-kept", "1"],
  ]);
});
