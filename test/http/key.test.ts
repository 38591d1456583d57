/** Faults 1 to 10: what counts as a key, and which two texts are one key. */
import { describe, expect, it } from "vitest";
import { expectNothingMade, transfersOf } from "../support/books.ts";
import { exchange, latin1 } from "../support/raw-http.ts";
import { EVERY_ROUTING, ROUTINGS, useServers } from "../support/suite.ts";
import { answerOf, newKey, newTenant, openTenant, PAYMENT, textOf } from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

describe("what is no key", () => {
  // An object for each key: one that is called in vain shows.
  const server = () => serverFor("per-key");

  /**
   * A payment with these header lines for its key, as bytes: no client library has a say. Nothing may come of it;
   * the tenant is new to every object, so that calling one would show.
   */
  const payInVain = async (...keys: readonly (string | Uint8Array)[]) => {
    const tenant = await newTenant(server());
    const answer = await expectNothingMade(server(), async () =>
      exchange(server().origin, {
        method: "POST",
        target: "/v1/payments",
        headers: [
          ...tenant.rawHeaders("").filter(([name]) => name !== "Idempotency-Key"),
          ...keys.map((key) => ["Idempotency-Key", key] as const),
        ],
        body: JSON.stringify(PAYMENT),
      }),
    );
    return { status: answer.status, ...answerOf(answer.status, new Headers(), answer.text).body };
  };

  const missing = { status: 400, code: "idempotency-key-missing" };
  const invalid = { status: 400, code: "idempotency-key-invalid" };

  it("1: POST and PATCH without a key get 400 and make nothing", async () => {
    const tenant = await newTenant(server());
    await expectNothingMade(server(), async () => {
      for (const answer of [
        await tenant.pay({}, { key: null }),
        await tenant.patch("/v1/products/mug/stock", { delta: 1 }, { key: null }),
      ]) {
        expect(answer.status).toBe(400);
        expect(answer.body).toMatchObject({
          code: "idempotency-key-missing",
          retry: { use: "new-key" },
        });
      }
    });
  });

  it.each(["", " ", "\t", '""'])("2: the empty key %j gets 400 and makes nothing", async (key) => {
    expect(await payInVain(key)).toMatchObject({ status: 400 });
  });

  it("2: a key of blanks gets 400 and makes nothing", async () => {
    expect(await payInVain(" ".repeat(20))).toMatchObject(missing);
    expect(await payInVain(`"${" ".repeat(20)}"`)).toMatchObject(invalid);
  });

  it("3: 15 characters get 400 and make nothing, 16 pass", async () => {
    expect(await payInVain("k".repeat(15))).toMatchObject(invalid);
    // The quotes are not part of the key.
    expect(await payInVain(`"${"k".repeat(15)}"`)).toMatchObject(invalid);
    const tenant = await openTenant(server());
    expect(await tenant.pay({}, { key: "k".repeat(16) })).toMatchObject({ status: 201 });
  });

  it("4: 255 characters pass, 256 get 400 and make nothing", async () => {
    expect(await payInVain("k".repeat(256))).toMatchObject(invalid);
    expect(await payInVain(`"${"k".repeat(256)}"`)).toMatchObject(invalid);
    const tenant = await openTenant(server());
    expect(await tenant.pay({}, { key: "k".repeat(255) })).toMatchObject({ status: 201 });
    expect(await tenant.pay({}, { key: `"${"k".repeat(255)}"` })).toMatchObject({ replayed: true });
  });

  it("5: two key headers get 400 and make nothing, also when they agree", async () => {
    const [one, other] = [newKey(), newKey()];
    expect(await payInVain(one, other)).toMatchObject(invalid);
    expect(await payInVain(one, one)).toMatchObject(invalid);
    expect(await payInVain(`"${one}"`, `"${other}"`)).toMatchObject(invalid);
    expect(await payInVain(one, "")).toMatchObject(invalid);
  });

  it("5: a list in one header gets 400 and makes nothing", async () => {
    expect(await payInVain(`${newKey()}, ${newKey()}`)).toMatchObject(invalid);
    expect(await payInVain(`"${newKey()}","${newKey()}"`)).toMatchObject(invalid);
  });

  it.each([
    ["a Latin-1 byte", latin1("key-0123456789-\u00e9")],
    ["another Latin-1 byte, which would arrive as the same key", latin1("key-0123456789-\u00e8")],
    ["UTF-8", "key-0123456789-\u00e9"],
    ["an inner space", "key 0123456789 abc"],
    ["an inner tab", "key\t0123456789\tabc"],
    ["a control character", "key\u00010123456789abc"],
    ["NUL", "key\u00000123456789abc"],
    ["DEL", "key\u007f0123456789abc"],
    ["a quote inside", 'key"0123456789abcd'],
    ["one quote only", '"key-0123456789abcd'],
    ["a backslash", String.raw`key\0123456789abcd`],
    ["a parameter", '"key-0123456789abcd";a=1'],
    ["a structured-field byte sequence", ":a2V5LTAxMjM0NTY3ODlhYmNk:;"],
  ])("6: a key with %s gets 400 and makes nothing", async (_what, key) => {
    expect(await payInVain(key)).toMatchObject({ status: 400 });
  });

  it("10: a key on GET is ignored, whatever it looks like", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    await tenant.pay({}, { key });
    await expectNothingMade(server(), async () => {
      for (const header of [key, "short", "not a key", newKey()]) {
        const answer = await tenant.get("/v1/accounts/alice", {
          headers: { "Idempotency-Key": header },
        });
        expect(answer).toMatchObject({ status: 200, replayed: false });
        expect(answer.body).toMatchObject({ id: "alice" });
        expect(answer.headers.get("Idempotency-Expires")).toBeNull();
      }
    });
  });
});

describe.each(ROUTINGS)("which keys are one, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  it("7: the quoted and the bare form are one key", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const first = await tenant.pay({}, { key: `"${key}"` });
    const retry = await tenant.pay({}, { key });
    expect(first).toMatchObject({ status: 201, replayed: false });
    expect(retry).toMatchObject({ status: 201, replayed: true, text: first.text });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("7: keys that differ in case are two keys", async () => {
    const tenant = await openTenant(server());
    const first = await tenant.pay({}, { key: "case-0123456789abc" });
    const other = await tenant.pay({}, { key: "CASE-0123456789abc" });
    expect(other).toMatchObject({ status: 201, replayed: false });
    expect(textOf(other, "id")).not.toBe(textOf(first, "id"));
  });

  it.each([
    "'OR/**/'1'='1'--",
    "')/**/DROP/**/TABLE--",
    "../../../../etc/passwd",
    "/v1/idempotency-keys/x",
    "%2e%2e%2f%2e%2e%2f%00",
    "__proto__.__proto__",
    "constructor.constructor",
    "hasOwnProperty__",
    "${jndi:ldap://x/a}",
    "{{7*7}}{{7*7}}{{7*7}}",
    "<script>alert(1)</script>",
    "bucket/4:demo/0-0",
  ])("8: the key %s is an opaque text: it runs once, and names no object", async (key) => {
    const tenant = await openTenant(server());
    const first = await tenant.pay({}, { key });
    const retry = await tenant.pay({}, { key });
    expect(first).toMatchObject({ status: 201, replayed: false });
    expect(retry).toMatchObject({ status: 201, replayed: true, text: first.text });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);

    const rows = await server().sql(
      "SELECT object FROM journal WHERE tenant = ? AND key = ?",
      tenant.name,
      key,
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.["object"]).not.toContain(key);

    const status = await tenant.get(`/v1/idempotency-keys/${encodeURIComponent(key)}`);
    expect(status).toMatchObject({ status: 200, body: { key, state: "completed" } });
  });

  it("9: tenant a with key b:c and tenant a:b with key c are two keys with two effects", async () => {
    const a = await openTenant(server(), "a");
    const ab = await openTenant(server(), "a:b");
    const key = "c-0123456789abcdef";
    const objectsBefore = await server().objects();
    const one = await a.pay({}, { key: `b:${key}` });
    const other = await ab.pay({}, { key });
    expect(one).toMatchObject({ status: 201, replayed: false });
    expect(other).toMatchObject({ status: 201, replayed: false });
    expect(textOf(other, "id")).not.toBe(textOf(one, "id"));
    expect(await transfersOf(server(), a, `b:${key}`)).toHaveLength(1);
    expect(await transfersOf(server(), ab, key)).toHaveLength(1);
    expect(await server().objects()).toHaveLength(objectsBefore.length + 2);
  });
});
