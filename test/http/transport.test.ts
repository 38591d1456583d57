/** Faults 31 to 34: requests that arrive broken, endless, disguised, or from a caller who is gone. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { expectNothingMade, transfersOf } from "../support/books.ts";
import {
  chunk,
  exchange,
  exchangeBytes,
  exchangeEndlessly,
  type RawRequest,
  requestBytes,
  sendThenReset,
} from "../support/raw-http.ts";
import { EVERY_ROUTING, lockDatabase, ROUTINGS, useServers } from "../support/suite.ts";
import { newKey, newTenant, openTenant, PAYMENT, type Tenant } from "../support/tenant.ts";

const serverFor = useServers(EVERY_ROUTING);

const BODY_BYTES_MAX = 64 * 1024;
const BODY = JSON.stringify(PAYMENT);

const payment = (
  tenant: Tenant,
  key: string,
  body: string | Uint8Array,
  more: RawRequest["headers"] = [],
): RawRequest => ({
  method: "POST",
  target: "/v1/payments",
  headers: [...tenant.rawHeaders(key), ...more],
  body,
});

const CHUNKED = [["Transfer-Encoding", "chunked"]] as const;

describe.each(ROUTINGS)("callers who break off, KEY_OBJECTS=%s", (routing) => {
  const server = () => serverFor(routing);

  /** White space after the JSON: what arrives of it reads well, and still is not what was sent. */
  const padded = BODY + " ".repeat(100);

  it.each([
    ["in the middle of the JSON", BODY, BODY.length / 2],
    ["after the whole JSON, in the white space behind it", padded, 50],
    ["before the first byte", BODY, BODY.length],
  ])("31: a body that ends %s has no effect; the retry runs", async (_where, body, cut) => {
    const tenant = await openTenant(server());
    const key = newKey();
    const whole = requestBytes(server().origin, payment(tenant, key, body));
    await expectNothingMade(server(), async () => {
      const answer = await exchangeBytes(
        server().origin,
        whole.subarray(0, whole.byteLength - Math.floor(cut)),
      );
      // Whether anyone is left to be answered is the runtime's business.
      expect(answer?.status ?? 400).toBe(400);
    });
    const retry = await exchangeBytes(server().origin, whole);
    expect(retry?.status).toBe(201);
    expect(retry?.headers.has("idempotent-replayed")).toBe(false);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("31: a chunked body without its end has no effect; the retry runs", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const begun = requestBytes(server().origin, payment(tenant, key, chunk(BODY), CHUNKED));
    await expectNothingMade(server(), async () => {
      const answer = await exchangeBytes(server().origin, begun);
      expect(answer?.status ?? 400).toBe(400);
    });
    const whole = Buffer.concat([begun, chunk("")]);
    expect((await exchangeBytes(server().origin, whole))?.status).toBe(201);
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("31: a body that ends with a reset has no effect; the retry runs", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const whole = requestBytes(server().origin, payment(tenant, key, padded));
    await expectNothingMade(server(), async () => {
      const reset = await sendThenReset(server().origin, whole.subarray(0, -50));
      await sleep(30);
      reset();
      await sleep(100);
    });
    expect((await exchangeBytes(server().origin, whole))?.status).toBe(201);
  });

  it("34: a caller who resets while the request is in flight loses nothing: one effect, and the retry is a replay", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    const unlock = lockDatabase(server());
    const reset = await sendThenReset(
      server().origin,
      requestBytes(server().origin, payment(tenant, key, BODY)),
    );
    const state = async () => (await tenant.get(`/v1/idempotency-keys/${key}`)).body["state"];
    await expect.poll(state).toBe("in-flight");
    reset();
    await sleep(50);
    unlock();
    await expect.poll(state).toBe("completed");
    expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: true });
    expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
  });

  it("34: whenever a caller resets, the retry finds one effect or makes it", async () => {
    const tenant = await openTenant(server());
    const keys = Array.from({ length: 24 }, newKey);
    for (const [i, key] of keys.entries()) {
      const reset = await sendThenReset(
        server().origin,
        requestBytes(server().origin, payment(tenant, key, BODY)),
      );
      // From at once to after the answer.
      await sleep(i / 2);
      reset();
    }
    for (const key of keys) {
      const retry = await tenant.pay({}, { key, headers: { Prefer: "wait=5" } });
      expect(retry.status).toBe(201);
      expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
    }
  });
});

describe("sizes and paths", () => {
  // An object for each key: one that is called in vain shows.
  const server = () => serverFor("per-key");

  const ofSize = (bytes: number) => BODY + " ".repeat(bytes - BODY.length);

  const piecesOf = (text: string): string[] => text.match(/[^]{1,1000}/g) ?? [];

  it("32: a body of 64 KiB is read", async () => {
    const tenant = await openTenant(server());
    const whole = payment(tenant, newKey(), ofSize(BODY_BYTES_MAX));
    expect((await exchange(server().origin, whole)).status).toBe(201);
    const chunked = payment(
      tenant,
      newKey(),
      Buffer.concat([chunk(ofSize(BODY_BYTES_MAX)), chunk("")]),
      CHUNKED,
    );
    expect((await exchange(server().origin, chunked)).status).toBe(201);
  });

  it.each([
    ["announced by its length", (body: string) => ({ body, more: [] })],
    [
      "in one chunk",
      (body: string) => ({ body: Buffer.concat([chunk(body), chunk("")]), more: CHUNKED }),
    ],
    [
      "in many chunks",
      (body: string) => ({
        body: Buffer.concat([...piecesOf(body).map(chunk), chunk("")]),
        more: CHUNKED,
      }),
    ],
  ])("32: a byte more than 64 KiB, %s, gets 413 and makes nothing", async (_how, framed) => {
    const tenant = await newTenant(server());
    const { body, more } = framed(ofSize(BODY_BYTES_MAX + 1));
    const answer = await expectNothingMade(server(), async () =>
      exchange(server().origin, payment(tenant, newKey(), body, more)),
    );
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.text)).toMatchObject({ code: "body-too-large", status: 413 });
  });

  it("32: a body that never ends is not read to the end, and nothing is made", async () => {
    const tenant = await newTenant(server());
    const partsMax = 10_000;
    const { answer, parts } = await expectNothingMade(server(), async () =>
      exchangeEndlessly(
        server().origin,
        requestBytes(server().origin, payment(tenant, newKey(), "", CHUNKED)),
        chunk(" ".repeat(8 * 1024)),
        partsMax,
      ),
    );
    // The connection may break under what is still being sent before the answer is read.
    expect(answer?.status ?? 413).toBe(413);
    expect(parts).toBeLessThan(partsMax);
  });

  it.each(["a b<>", "[::1"])(
    "33: a Host that is no host (%j) costs a request nothing but its links: it runs once, query and all",
    async (host) => {
      const tenant = await openTenant(server());
      const key = newKey();
      const said = (target: string): RawRequest => ({
        ...payment(tenant, key, BODY, [["Host", host]]),
        target,
      });
      expect((await exchange(server().origin, said("/v1/payments?a=1#b=2"))).status).toBe(201);
      const again = { ...payment(tenant, key, BODY), target: "/v1/payments?a=1" };
      const replay = await exchange(server().origin, again);
      expect(replay).toMatchObject({ status: 201 });
      expect(replay.headers.get("idempotent-replayed")).toBe("true");
      expect((await exchange(server().origin, said("/v1/payments?a=2"))).status).toBe(422);
      expect(await transfersOf(server(), tenant, key)).toHaveLength(1);
    },
  );

  it("32: 415 is judged before 413, and 413 before the key", async () => {
    const tenant = await newTenant(server());
    const tooLarge = ofSize(BODY_BYTES_MAX + 1);
    expect(
      await tenant.post("/v1/payments", tooLarge, { headers: { "Content-Type": "text/plain" } }),
    ).toMatchObject({ status: 415 });
    expect(await tenant.post("/v1/payments", tooLarge, { key: "short" })).toMatchObject({
      status: 413,
    });
  });

  it.each([
    "//v1/payments",
    "/v1//payments",
    "/v1/payments/",
    "/v1/payments//",
    "/V1/payments",
    "/v1/./payments",
    "/v1/%2e/payments",
    "/v1/x/../payments",
    "/v1/x/%2e%2e/payments",
    "/healthz/../v1/payments",
    "/healthz/%2e%2e/v1/payments",
    "/openapi.json/..%2fv1/payments",
    "/v1%2fpayments",
    "/v1/payments%2f",
    "/v1\\payments",
    "/v1/payments;x=1",
    "/v1/payments%00",
    "/v1/payments%20",
    "/v1/payments.json",
  ])(
    "33: the path %s gets 404, with credentials and without, and makes nothing",
    async (target) => {
      const tenant = await newTenant(server());
      const request = { ...payment(tenant, newKey(), BODY), target };
      await expectNothingMade(server(), async () => {
        const statuses = [
          (await exchange(server().origin, request)).status,
          (await exchange(server().origin, { ...request, headers: request.headers.slice(1) }))
            .status,
          (await exchange(server().origin, { ...request, method: "GET", headers: [] })).status,
        ];
        expect(statuses).toEqual([404, 404, 404]);
      });
    },
  );

  it.each([
    "/v1/%70ayments",
    "/v1/payments?",
    "/v1/payments#x",
    "http://other.example/v1/payments",
  ])(
    "33: the target %s is another spelling of a path: it asks for credentials all the same",
    async (target) => {
      const tenant = await newTenant(server());
      const request = { ...payment(tenant, newKey(), BODY), target };
      const answer = await expectNothingMade(server(), async () =>
        exchange(server().origin, { ...request, headers: request.headers.slice(1) }),
      );
      expect(answer.status).toBe(401);
    },
  );

  it.each([
    "/v1/accounts/alice%2f..%2fbob",
    "/v1/accounts/..",
    "/v1/accounts/%2e%2e",
    "/v1/accounts/alice%00",
    "/v1/accounts/ALICE",
    "/v1/accounts/alice/",
    "/v1/accounts/alice'--",
    "/v1/accounts/system%3AEUR/../alice",
  ])("33: %s names no account: 404", async (target) => {
    const tenant = await openTenant(server());
    const answer = await exchange(server().origin, {
      method: "GET",
      target,
      headers: tenant.rawHeaders(newKey()),
    });
    expect(answer.status).toBe(404);
  });
});
