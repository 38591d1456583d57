/** Faults 11 to 23: which two requests are the same request, and which bodies are none at all. */
import { describe, expect, it } from "vitest";
import { balanceOf, expectNothingMade, transfersOf } from "../support/books.ts";
import { exchange, type RawRequest } from "../support/raw-http.ts";
import type { Server } from "../support/server.ts";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import {
  answerOf,
  FUNDS_MINOR,
  newKey,
  newTenant,
  openTenant,
  PAYMENT,
  type Tenant,
  textOf,
} from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

/** A payment whose body is sent as it stands, byte for byte. */
const payRaw = async (
  server: Server,
  tenant: Tenant,
  key: string,
  body: string | Uint8Array,
  headers: RawRequest["headers"] = tenant.rawHeaders(key),
) => exchange(server.origin, { method: "POST", target: "/v1/payments", headers, body });

const withAmount = (amount: string) =>
  `{"source":"alice","destination":"bob","amountMinor":${amount},"currency":"EUR"}`;

describe.each(ROUTINGS)("which requests are one, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("11: member order, white space and escapes make no other request: the retry is a replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({ description: "café" }, { key });
    const same = [
      '{"description":"café","currency":"EUR","amountMinor":250,"destination":"bob","source":"alice"}',
      '\n{ "source" : "alice",\r\n\t"destination": "bob" , "amountMinor": 250, "currency": "EUR", "description": "café" } \n',
      String.raw`{"sourc\u0065":"\u0061lice","destination":"bob","amountMinor":250,"currency":"EUR","description":"caf\u00e9"}`,
    ];
    for (const body of same) {
      expect(await tenant.post("/v1/payments", body, { key })).toMatchObject({
        status: 201,
        replayed: true,
        text: first.text,
      });
    }
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("12: a different amount under the same key gets 422 and leaves the original untouched", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({ amountMinor: 7301 }, { key });
    const other = await tenant.pay({ amountMinor: 7302 }, { key });
    expect(other.status).toBe(422);
    expect(other.body).toMatchObject({
      code: "idempotency-key-reused",
      mismatched: ["amountMinor"],
      retry: { use: "new-key" },
    });
    expect(other.headers.get("X-Should-Retry")).toBe("false");
    expect(other.headers.get("Idempotency-Expires")).toBeNull();
    // The member is named; neither of its values is.
    expect(other.text).not.toContain("7301");
    expect(other.text).not.toContain(textOf(first, "id"));

    expect(await transfersOf(server(), tenant, key)).toMatchObject([{ amount: 7301 }]);
    expect(await balanceOf(server(), tenant, "alice")).toBe(FUNDS_MINOR - 7301);
    expect(await tenant.pay({ amountMinor: 7301 }, { key })).toMatchObject({
      replayed: true,
      text: first.text,
    });
  });

  it.each([
    ["another destination", { destination: "carol" }, "destination"],
    ["a member more", { description: "rent" }, "description"],
    ["null for a member that was absent", { description: null }, "description"],
    ["text for a number", { amountMinor: "250" }, "amountMinor"],
    ["another letter case", { currency: "eur" }, "currency"],
  ])("12: %s under the same key gets 422", async (_what, change, member) => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    expect(await tenant.pay(change, { key })).toMatchObject({
      status: 422,
      body: { mismatched: [member] },
    });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("12: text in another Unicode normalisation is another text, and gets 422", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({ description: "caf\u00e9" }, { key });
    expect(await tenant.pay({ description: "cafe\u0301" }, { key })).toMatchObject({ status: 422 });
  });

  it("15: 1, 1.0, 1e0, 10e-1 and 0.1e1 are one number: the retry is a replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await payRaw(server(), tenant, key, withAmount("1"));
    expect(first.status).toBe(201);
    for (const amount of ["1.0", "1e0", "1E+0", "10e-1", "0.1e1"]) {
      const retry = await payRaw(server(), tenant, key, withAmount(amount));
      expect(retry).toMatchObject({ status: 201, text: first.text });
      expect(retry.headers.get("idempotent-replayed")).toBe("true");
    }
    expect(await transfersOf(server(), tenant, key)).toMatchObject([{ amount: 1 }]);
  });

  it("16: another query under the same key gets 422", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.post("/v1/payments?trace=1", PAYMENT, { key });
    for (const query of ["", "?trace=2", "?trace=1&more=1", "?trace=1&trace=1", "?Trace=1"]) {
      const answer = await tenant.post(`/v1/payments${query}`, PAYMENT, { key });
      expect(answer).toMatchObject({ status: 422, body: { mismatched: ["(query)"] } });
    }
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("16: the same query in another order or escaping is the same request", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.post("/v1/payments?a=1&b=x%20y", PAYMENT, { key });
    expect(await tenant.post("/v1/payments?b=x+y&%61=1", PAYMENT, { key })).toMatchObject({
      status: 201,
      replayed: true,
    });
  });

  it("17: the key of a payment gets 422 on every other operation, never that one's answer", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const payment = await tenant.pay({}, { key });
    await expectNothingMade(server(), async () => {
      for (const answer of [
        await tenant.post("/v1/accounts", { id: "carol", currency: "EUR" }, { key }),
        await tenant.post("/v1/accounts", PAYMENT, { key }),
        await tenant.post(
          "/v1/products",
          { sku: "mug", name: "Mug", priceMinor: 1, currency: "EUR" },
          { key },
        ),
        await tenant.post(`/v1/payments/${textOf(payment, "id")}/refunds`, {}, { key }),
        await tenant.patch("/v1/products/mug/stock", { delta: 1 }, { key }),
      ]) {
        expect(answer.status).toBe(422);
        expect(answer.body["code"]).toBe("idempotency-key-reused");
        expect(answer.body["mismatched"]).toContain("(operation)");
      }
    });
  });

  it("17: the same body for another id gets 422 and changes neither", async () => {
    const tenant = await openTenant(server());
    const one = textOf(await tenant.pay(), "id");
    const other = textOf(await tenant.pay(), "id");
    const key = newKey();
    const refund = await tenant.post(`/v1/payments/${one}/refunds`, { amountMinor: 10 }, { key });
    expect(refund.status).toBe(201);
    expect(
      await tenant.post(`/v1/payments/${other}/refunds`, { amountMinor: 10 }, { key }),
    ).toMatchObject({ status: 422, body: { mismatched: ["(path)"] } });
    expect((await tenant.get(`/v1/payments/${other}`)).body["refundedMinor"]).toBe(0);

    for (const sku of ["mug", "cup"]) {
      await tenant.post("/v1/products", { sku, name: sku, priceMinor: 1, currency: "EUR" });
    }
    const stockKey = newKey();
    await tenant.patch("/v1/products/mug/stock", { delta: 5 }, { key: stockKey });
    expect(
      await tenant.patch("/v1/products/cup/stock", { delta: 5 }, { key: stockKey }),
    ).toMatchObject({ status: 422 });
    expect((await tenant.get("/v1/products/cup")).body["quantity"]).toBe(0);
  });

  it("19: UTF-8 may be said, in any letter case and quoted, and makes no other request", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key });
    for (const type of [
      "application/json; charset=utf-8",
      'Application/JSON;Charset="UTF-8"',
      "application/json ; profile=x",
    ]) {
      expect(await tenant.pay({}, { key, headers: { "Content-Type": type } })).toMatchObject({
        replayed: true,
        text: first.text,
      });
    }
  });
});

describe("what is no request", () => {
  // An object for each key: one that is called in vain shows.
  const server = () => serverFor("per-key");

  /** Pays with a body that will not do. The key stays free, whatever is wrong with it. */
  const payInVain = async (body: string | Uint8Array) => {
    const key = newKey();
    // A tenant that no object knows yet: calling one would show.
    const tenant = await newTenant(server());
    const objects = await server().objects();
    const answer = await payRaw(server(), tenant, key, body);
    expect(await server().sql("SELECT key FROM journal WHERE tenant = ?", tenant.name)).toEqual([]);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(answer.headers.has("idempotency-expires")).toBe(false);
    return {
      status: answer.status,
      ...answerOf(answer.status, new Headers(), answer.text).body,
      objectsCalled: (await server().objects()).length - objects.length,
    };
  };

  const invalid = { status: 400, code: "request-invalid", retry: { use: "same-key" } };
  /** It was not even readable. */
  const unreadable = { ...invalid, objectsCalled: 0 };

  it.each([
    [
      "twice the same member",
      '{"source":"alice","source":"alice","destination":"bob","amountMinor":1,"currency":"EUR"}',
    ],
    [
      "two amounts",
      '{"source":"alice","destination":"bob","amountMinor":1,"amountMinor":2,"currency":"EUR"}',
    ],
    [
      "one name in two spellings",
      String.raw`{"source":"alice","destination":"bob","amountMinor":1,"\u0061mountMinor":2,"currency":"EUR"}`,
    ],
    [
      "two members deep inside",
      '{"source":[{"a":1,"a":1}],"destination":"bob","amountMinor":1,"currency":"EUR"}',
    ],
  ])("14: %s get 400 and make nothing", async (_what, body) => {
    expect(await payInVain(body)).toMatchObject(unreadable);
  });

  it.each([
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "1e16",
    "1e400",
    "-0",
    "-0.0",
    "-0e3",
  ])("15: the number %s cannot be kept exactly: 400, and nothing is made", async (amount) => {
    expect(await payInVain(withAmount(amount))).toMatchObject(unreadable);
  });

  it.each([
    "0.5",
    "12.34",
    "250.00000000000001",
    "-1",
    "0",
    "1e-7",
    "1000000000001",
    '"250"',
    "true",
    "null",
    "[250]",
    "{}",
  ])("15: the amount %s gets 400 and is not paid", async (amount) => {
    expect(await payInVain(withAmount(amount))).toMatchObject(invalid);
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "application/json5",
    "application/vnd.api+json",
    "text/json",
    "",
  ])("18: Content-Type %j gets 415 and makes nothing", async (type) => {
    const tenant = await newTenant(server());
    const answer = await expectNothingMade(server(), async () =>
      tenant.pay({}, { headers: { "Content-Type": type } }),
    );
    expect(answer).toMatchObject({ status: 415, body: { code: "unsupported-media-type" } });
  });

  it("18: no Content-Type gets 415 and makes nothing", async () => {
    const tenant = await newTenant(server());
    const answer = await expectNothingMade(server(), async () =>
      payRaw(
        server(),
        tenant,
        newKey(),
        JSON.stringify(PAYMENT),
        tenant.rawHeaders(newKey()).filter(([name]) => name !== "Content-Type"),
      ),
    );
    expect(answer.status).toBe(415);
  });

  it.each(["utf-16", "iso-8859-1", "us-ascii", '"utf-16"', ""])(
    "19: the charset %j gets 415 and makes nothing",
    async (charset) => {
      const tenant = await newTenant(server());
      const answer = await expectNothingMade(server(), async () =>
        tenant.pay({}, { headers: { "Content-Type": `application/json; charset=${charset}` } }),
      );
      expect(answer).toMatchObject({ status: 415, body: { code: "unsupported-media-type" } });
    },
  );

  it("19: a byte order mark gets 400 and makes nothing", async () => {
    const json = JSON.stringify(PAYMENT);
    expect(await payInVain(`\uFEFF${json}`)).toMatchObject(unreadable);
    expect(await payInVain(Buffer.from(`\uFEFF${json}`, "utf16le"))).toMatchObject(unreadable);
  });

  it.each([
    ["a Latin-1 byte", [0xe9]],
    ["a stray continuation byte", [0x80]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["half of a surrogate pair", [0xed, 0xa0, 0x80]],
    ["a character past U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["a character cut short", [0xe2, 0x82]],
  ])("20: %s is not UTF-8: 400, and nothing is made", async (_what, bytes) => {
    const [head = "", tail = ""] = JSON.stringify({ ...PAYMENT, description: "|" }).split("|");
    expect(
      await payInVain(Buffer.concat([Buffer.from(head), Buffer.from(bytes), Buffer.from(tail)])),
    ).toMatchObject(unreadable);
  });

  it("20: half of a surrogate pair in an escape gets 400 and makes nothing", async () => {
    const withText = (text: string) =>
      JSON.stringify({ ...PAYMENT, description: "|" }).replace("|", text);
    expect(await payInVain(withText(String.raw`\ud83d`))).toMatchObject(unreadable);
    expect(await payInVain(withText(String.raw`\ude00\ud83d`))).toMatchObject(unreadable);
    const tenant = await openTenant(server());
    const whole = await tenant.post("/v1/payments", withText(String.raw`\ud83d\ude00`));
    expect(whole).toMatchObject({ status: 201, body: { description: "😀" } });
  });

  it.each(["gzip", "br", "deflate", "identity, gzip", "x-unknown"])(
    "21: Content-Encoding %s gets 415 and makes nothing",
    async (encoding) => {
      const tenant = await newTenant(server());
      const key = newKey();
      const answer = await expectNothingMade(server(), async () =>
        payRaw(server(), tenant, key, JSON.stringify(PAYMENT), [
          ...tenant.rawHeaders(key),
          ["Content-Encoding", encoding],
        ]),
      );
      expect(answer.status).toBe(415);
    },
  );

  it("22: 33 levels get 400 and make nothing, 32 are read", async () => {
    const nested = (levels: number) =>
      `{"source":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)},"destination":"bob","amountMinor":1,"currency":"EUR"}`;
    expect(await payInVain(nested(33))).toMatchObject(unreadable);
    // Read, and then refused for what it says.
    expect(await payInVain(nested(32))).toMatchObject({
      ...invalid,
      errors: [{ pointer: "/source" }],
    });
  });

  it.each([
    ["arrays", "[", "]"],
    ["objects", '{"a":', "}"],
  ])("22: thousands of nested %s get 400, never a stack overflow", async (_what, open, close) => {
    const levels = 10_000;
    expect(await payInVain(`${open.repeat(levels)}1${close.repeat(levels)}`)).toMatchObject(
      unreadable,
    );
    expect(await payInVain(open.repeat(levels))).toMatchObject(unreadable);
    const health = await fetch(`${server().origin}/healthz`);
    expect(health.status).toBe(200);
  });

  it.each([
    ["a member that is not documented", '"note":"x"'],
    ["a misspelt member", '"amountminor":5'],
    ["constructor", '"constructor":{"prototype":{"a":1}}'],
    ["toString", '"toString":"x"'],
    ["an empty name", '"":1'],
  ])("23: %s gets 400 and is not paid", async (_what, member) => {
    expect(await payInVain(`${JSON.stringify(PAYMENT).slice(0, -1)},${member}}`)).toMatchObject(
      invalid,
    );
  });

  it("23: __proto__ gets 400 and makes nothing, at every depth and in every spelling", async () => {
    const json = JSON.stringify(PAYMENT).slice(0, -1);
    expect(await payInVain(`${json},"__proto__":{"amountMinor":1}}`)).toMatchObject(unreadable);
    expect(await payInVain(`${json},"description":{"__proto__":{}}}`)).toMatchObject(unreadable);
    expect(await payInVain(String.raw`${json},"\u005f_proto__":null}`)).toMatchObject(unreadable);
  });

  it.each([
    "",
    "{",
    "nope",
    "{'source':'alice'}",
    '{"source":"alice",}',
    "NaN",
    "[1,]",
    '"\u0001"',
    "{}{}",
  ])("23: the body %j is not JSON: 400, and nothing is made", async (body) => {
    expect(await payInVain(body)).toMatchObject(unreadable);
  });

  it.each(["null", "[]", '"text"', "5", "{}"])(
    "23: the JSON %s is not a payment: 400, and nothing is paid",
    async (body) => {
      expect(await payInVain(body)).toMatchObject(invalid);
    },
  );
});
