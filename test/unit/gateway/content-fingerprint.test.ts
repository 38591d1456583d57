import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exchangeFingerprint, printExchange } from "../../../src/gateway/content-fingerprint.ts";
import type { ExchangeRequest } from "../../../src/gateway/exchange.ts";
import { differingMembers } from "../../../src/idempotency/fingerprint.ts";
import { canonicalJson } from "../../../src/kernel/json.ts";
import { json, property } from "../property.ts";

const encoder = new TextEncoder();
const request = (type: string, body: string | Uint8Array, more: Partial<ExchangeRequest> = {}) => ({
  method: "POST",
  target: "/v1/charges",
  headers: type === "" ? [] : ([["content-type", type]] as const),
  body: typeof body === "string" ? encoder.encode(body) : body,
  ...more,
});
const print = (...args: Parameters<typeof request>): string | undefined =>
  exchangeFingerprint(request(...args));
const JSON_TYPE = "application/json";
const FORM = "application/x-www-form-urlencoded";

describe("a version of a fingerprint of an exchange", () => {
  const stored = request(JSON_TYPE, '{"b":1,"a":[true]}', { target: "/v1/charges?b=2&a=1" });

  it("81: is what it was when keys were stored with it", () => {
    expect(exchangeFingerprint(stored, 1)).toBe(
      "eb1238444904f6234dbf988d572e2230d7030a6ff1527c0e460de56a2b67499e",
    );
    expect(exchangeFingerprint(request("", ""), 1)).toBe(
      "03de66929cfe8f46b8aa6e82c84842d9630d65efadc1c3cfbce1bc00491fb87c",
    );
  });

  it.each([1, 2])("is SHA-256 over one canonical JSON array: %d", (version) => {
    const text = `["latchkey-exchange-${version}","POST","/v1/charges",[["a","1"],["b","2"]],["application/json"],"json",{"a":[true],"b":1}]`;
    expect(exchangeFingerprint(stored, version)).toBe(
      createHash("sha256").update(text).digest("hex"),
    );
  });

  it("is the second unless said", () => {
    expect(print(JSON_TYPE, "{}")).toBe(exchangeFingerprint(request(JSON_TYPE, "{}"), 2));
    expect(printExchange(stored, "secret").fingerprint).toBe(exchangeFingerprint(stored, 2));
  });

  it.each([
    ["a number that is rounded", JSON_TYPE, '{"a":1.1000000000000000001}', '{"a":1.1}'],
    ["the order within a list", FORM, "a[][x]=1&a[][y]=2", "a[][y]=2&a[][x]=1"],
  ])("81: the first keeps taking %s for no difference", (_, type, a, b) => {
    expect(exchangeFingerprint(request(type, a), 1)).toBe(exchangeFingerprint(request(type, b), 1));
    expect(print(type, a)).not.toBe(print(type, b));
  });

  it.each([0, 3, -1, 1.5])("81: version %d is unknown: undefined, never a guess", (version) => {
    expect(exchangeFingerprint(request(JSON_TYPE, "{}"), version)).toBeUndefined();
  });

  it("16, 17: another method, path, query or type of content is another request", () => {
    const all = [
      print(JSON_TYPE, "{}"),
      print(JSON_TYPE, "{}", { method: "PATCH" }),
      print(JSON_TYPE, "{}", { target: "/v1/charge" }),
      print(JSON_TYPE, "{}", { target: "/v1/charges?a=1" }),
      print(JSON_TYPE, "{}", { target: "/v1/charges?a=2" }),
      print(JSON_TYPE, "{}", { target: "/v1/charges?a" }),
      print(JSON_TYPE, "{}", { target: "/v1/charges?%FF" }),
      print(JSON_TYPE, "{}", { target: "/v1/charges?%FE" }),
      print("application/merge-patch+json", "{}"),
      print("text/plain", "{}"),
      print("text/plain; charset=latin1", "{}"),
      print("", "{}"),
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("JSON", () => {
  property(
    "11: member order and white space do not matter, everything else does",
    fc.property(json, json, (a, b) => {
      const spaced = print(`${JSON_TYPE}; charset=UTF-8`, JSON.stringify(a, null, 2));
      return (
        spaced === print(JSON_TYPE, JSON.stringify(a)) &&
        (print(JSON_TYPE, JSON.stringify(a)) === print(JSON_TYPE, JSON.stringify(b))) ===
          (canonicalJson(a) === canonicalJson(b))
      );
    }),
  );
  it.each([
    ["14: duplicate members", '{"a":1,"a":2}', '{"a":2}'],
    ["15: an integer past 2^53", "[9007199254740993]", "[9007199254740992]"],
    ["15: a fraction that a double rounds", '{"a":1.1000000000000000001}', '{"a":1.1}'],
    ["20: invalid UTF-8", new Uint8Array([0x22, 0xff, 0x22]), new Uint8Array([0x22, 0xfe, 0x22])],
    ["text that is none", "{", "{ "],
    ["19: a byte order mark", "\uFEFF{}", "{}"],
  ])("%s: bytes count, nothing is collapsed, and equal bytes are equal", (_, a, b) => {
    expect(print(JSON_TYPE, a)).toBe(print(JSON_TYPE, a));
    expect(print(JSON_TYPE, a)).not.toBe(print(JSON_TYPE, b));
  });
});

describe("a form", () => {
  it("is its pairs: the order of different names does not matter, that of one name does", () => {
    expect(print(FORM, "amount=1&currency=eur")).toBe(print(FORM, "currency=eur&amount=1"));
    expect(print(FORM, "a%5Bb%5D=%C3%A9+x")).toBe(print(FORM, "a[b]=%c3%a9%20x"));
    expect(print(FORM, "a=1&a=2")).not.toBe(print(FORM, "a=2&a=1"));
    expect(print(FORM, "a=1&b=2&a=3")).toBe(print(FORM, "b=2&a=1&a=3"));
    expect(print(FORM, "a=1")).not.toBe(print(FORM, "a=2"));
    expect(print(FORM, "a=%FF")).not.toBe(print(FORM, "a=%FE"));
    expect(print(FORM, "a[b]=1&a[c]=2")).toBe(print(FORM, "a[c]=2&a[b]=1"));
    expect(print(FORM, "i[][sku]=a&i[][n]=2&i[][sku]=b")).not.toBe(
      print(FORM, "i[][sku]=a&i[][sku]=b&i[][n]=2"),
    );
    expect(print(FORM, "i[][sku]=a&b=1&i[][n]=2")).toBe(print(FORM, "b=1&i[][sku]=a&i[][n]=2"));
    expect(print(FORM, "a=b%26c=d")).not.toBe(print(FORM, "a=b&c=d"));
  });
});

describe("multipart", () => {
  const multipart = (boundary: string, ...parts: string[]): [string, string] => [
    `multipart/form-data; boundary=${boundary}`,
    `${parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("")}--${boundary}--\r\n`,
  ];
  const field = (name: string, value: string): string =>
    `Content-Disposition: form-data; name="${name}"\r\n\r\n${value}`;

  it("is its parts: a retry has another boundary", () => {
    const parts = [field("amount", "1"), field("file", "a\r\n--x\r\nb")];
    expect(print(...multipart("AaB03x", ...parts))).toBe(
      print(
        ...(multipart('"zz 99z"', ...parts).map((text) =>
          text.replaceAll('--"zz 99z"', "--zz 99z"),
        ) as [string, string]),
      ),
    );
    expect(print(...multipart("AaB03x", ...parts))).not.toBe(
      print(...multipart("AaB03x", field("amount", "2"), field("file", "a\r\n--x\r\nb"))),
    );
    expect(print(...multipart("AaB03x", ...parts))).not.toBe(
      print(...multipart("AaB03x", ...parts.toReversed())),
    );
  });

  it("that is not plainly a list of parts is its bytes", () => {
    const [type, body] = multipart("AaB03x", field("a", "1"));
    for (const broken of [
      `preamble\r\n${body}`,
      `${body}epilogue`,
      body.slice(0, -5),
      body.replace("Content-Disposition:", "Content Disposition"),
    ]) {
      expect(print(type, broken)).not.toBe(print(type, body));
      expect(print(type, broken)).not.toBe(
        print(type.replace("AaB03x", "AaB03y"), broken.replaceAll("AaB03x", "AaB03y")),
      );
    }
  });

  property(
    "64: binary parts keep every byte",
    fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      const of = (bytes: Uint8Array): Uint8Array =>
        Uint8Array.from([
          ...encoder.encode(`--b0undary\r\nContent-Disposition: form-data; name="f"\r\n\r\n`),
          ...bytes,
          ...encoder.encode("\r\n--b0undary--\r\n"),
        ]);
      const same = a.length === b.length && a.every((byte, i) => byte === b[i]);
      const type = "multipart/form-data; boundary=b0undary";
      return (print(type, of(a)) === print(type, of(b))) === same;
    }),
  );
});

describe("64: anything else", () => {
  property(
    "is its bytes",
    fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      const same = a.length === b.length && a.every((byte, i) => byte === b[i]);
      return (
        (print("application/octet-stream", a) === print("application/octet-stream", b)) === same
      );
    }),
  );

  it("what has a content coding is its bytes, also if it is called JSON", () => {
    const gzip = [
      ["content-type", JSON_TYPE],
      ["content-encoding", "gzip"],
    ] as const;
    expect(print("", '{"a":1,"b":2}', { headers: gzip })).not.toBe(
      print("", '{"b":2,"a":1}', { headers: gzip }),
    );
  });
});

describe("22: a body of the largest size is read in a moment", () => {
  it.each([
    ["a field that is repeated", FORM, `a${"&a".repeat(500_000)}`],
    [
      "blanks in a line of a part that is none",
      "multipart/form-data; boundary=A",
      `--A\r\na:${" ".repeat(1_000_000)}\n\r\n\r\n--A--`,
    ],
    ["zeros before the last digit", JSON_TYPE, `[0.5${"0".repeat(1_000_000)}1]`],
  ])("%s", (_, type, body) => {
    const started = performance.now();
    printExchange(request(type, body), "test-only-fingerprint-secret-0123456789abcdefghij");
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe("68: what differs", () => {
  const SECRET = "test-only-fingerprint-secret-0123456789abcdefghij";
  const differ = (a: ExchangeRequest, b: ExchangeRequest): string[] =>
    differingMembers(printExchange(a, SECRET).members, printExchange(b, SECRET).members);

  it("is named: the member of JSON, the field of a form, the part, the query, the path; never a value", () => {
    expect(
      differ(
        request(JSON_TYPE, '{"amount":1,"b":2}'),
        request(JSON_TYPE, '{"b":2,"amount":3,"c":4}'),
      ),
    ).toEqual(["amount", "c"]);
    expect(
      differ(request(FORM, "amount=1&currency=eur"), request(FORM, "amount=2&currency=eur")),
    ).toEqual(["amount"]);
    expect(differ(request("", "a"), request("", "b"))).toEqual(["(body)"]);
    expect(
      differ(request("", "a", { target: "/a?x=1" }), request("", "a", { target: "/b?x=2" })),
    ).toEqual(["(path)", "(query)"]);
    expect(
      JSON.stringify(printExchange(request(JSON_TYPE, '{"amount":12345}'), SECRET)),
    ).not.toContain("12345");
  });

  it("of a body with more members than are worth keeping is the body", () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`m${i}`, i]));
    const { members } = printExchange(request(JSON_TYPE, JSON.stringify(many)), SECRET);
    expect(Object.keys(members)).toEqual(["(method)", "(content type)", "(path)", "(body)"]);
    const long = { ["x".repeat(2_100)]: 1 };
    expect(printExchange(request(JSON_TYPE, JSON.stringify(long)), SECRET).members).toHaveProperty(
      "(body)",
    );
  });

  it("of a member that is called __proto__ in a form is a name like any other", () => {
    expect(differ(request(FORM, "__proto__=1"), request(FORM, "__proto__=2"))).toEqual([
      "__proto__",
    ]);
  });
});
