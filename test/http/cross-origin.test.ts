/** Which web pages may call: those of the origins that CORS_ORIGINS names, and of none unless it names some. */
import { describe, expect, it } from "vitest";
import { expectNothingMade } from "../support/books.ts";
import { useServers } from "../support/suite.ts";
import { newKey, openTenant } from "../support/tenant.ts";

const SHOP = "https://shop.example";
const DEV = "http://localhost:5173";

const serverFor = useServers({
  none: {},
  named: { vars: { CORS_ORIGINS: `${SHOP}, ${DEV}` } },
  any: { vars: { CORS_ORIGINS: "*" } },
});

type Name = Parameters<typeof serverFor>[0];

/** What a browser asks before it lets a page of `origin` send a keyed request. */
const preflight = async (
  name: Name,
  origin: string,
  method = "POST",
  path = "/v1/payments",
): Promise<Response> =>
  fetch(serverFor(name).origin + path, {
    method: "OPTIONS",
    headers: {
      Origin: origin,
      "Access-Control-Request-Method": method,
      "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    },
  });

const corsHeaders = (headers: Headers): string[] =>
  [...headers.keys()].filter((name) => name.startsWith("access-control-"));

/** A list in a header, in lower case. */
const listed = (headers: Headers, name: string): string[] =>
  (headers.get(name) ?? "").split(",").map((part) => part.trim().toLowerCase());

describe("without CORS_ORIGINS", () => {
  it("no answer says anything of other origins", async () => {
    const tenant = await openTenant(serverFor("none"));
    const headers = { Origin: SHOP };
    for (const answer of [
      await tenant.pay({}, { headers }),
      await tenant.get("/v1/payments", { headers }),
      await tenant.get("/v1/payments", { headers, token: null }),
      await preflight("none", SHOP),
    ]) {
      expect(corsHeaders(answer.headers)).toEqual([]);
    }
    expect((await preflight("none", SHOP)).status).toBe(405);
  });
});

describe("an origin that is named", () => {
  it.each([SHOP, DEV])(
    "%s may ask with every method and header of the contract",
    async (origin) => {
      for (const method of ["POST", "PATCH", "PUT", "DELETE", "GET"]) {
        const { status, headers } = await preflight("named", origin, method);
        expect(status).toBe(204);
        expect(headers.get("Access-Control-Allow-Origin")).toBe(origin);
        expect(listed(headers, "Access-Control-Allow-Methods")).toContain(method.toLowerCase());
        expect(listed(headers, "Access-Control-Allow-Headers")).toEqual(
          expect.arrayContaining(["authorization", "content-type", "idempotency-key", "prefer"]),
        );
        expect(headers.get("Access-Control-Max-Age")).toBe("7200");
        // What one origin is told must not be kept for another.
        expect(listed(headers, "Vary")).toContain("origin");
      }
    },
  );

  it("66: asks without credentials, and nothing is made", async () => {
    const server = serverFor("named");
    await expectNothingMade(server, async () => {
      for (const path of ["/v1/payments", "/v1/orders", "/v1/idempotency-keys/k/body", "/none"]) {
        expect((await preflight("named", SHOP, "POST", path)).status).toBe(204);
      }
    });
  });

  it("may read the headers that the contract names, on every answer", async () => {
    const tenant = await openTenant(serverFor("named"));
    const headers = { Origin: SHOP };
    const key = newKey();
    const answers = [
      await tenant.pay({}, { key, headers }),
      await tenant.pay({}, { key, headers }),
      await tenant.pay({ amountMinor: 1 }, { key, headers }),
      await tenant.pay({ source: "nobody" }, { headers }),
      await tenant.pay({}, { headers, token: null }),
      await tenant.pay({}, { headers, token: "a.b.c" }),
      await tenant.pay({}, { headers, key: null }),
      await tenant.get("/v1/nothing", { headers }),
      await tenant.get(`/v1/idempotency-keys/${key}`, { headers }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([
      201, 201, 422, 409, 401, 401, 400, 404, 200,
    ]);
    expect(answers[1]).toMatchObject({ replayed: true });
    for (const answer of answers) {
      expect(answer.headers.get("Access-Control-Allow-Origin")).toBe(SHOP);
      expect(listed(answer.headers, "Access-Control-Expose-Headers")).toEqual(
        expect.arrayContaining([
          "idempotent-replayed",
          "idempotency-expires",
          "retry-after",
          "stripe-should-retry",
          "x-should-retry",
          "x-request-id",
          "location",
        ]),
      );
      // Tokens are sent by the page, never by the browser.
      expect(answer.headers.get("Access-Control-Allow-Credentials")).toBeNull();
      expect(listed(answer.headers, "Vary")).toContain("origin");
    }
  });

  it("RP: is not part of what is stored: a replay is for the origin that asks", async () => {
    const tenant = await openTenant(serverFor("named"));
    const key = newKey();
    const first = await tenant.pay({}, { key, headers: { Origin: SHOP } });
    const second = await tenant.pay({}, { key, headers: { Origin: DEV } });
    const third = await tenant.pay({}, { key });
    expect(second).toMatchObject({ replayed: true, text: first.text });
    expect(second.headers.get("Access-Control-Allow-Origin")).toBe(DEV);
    expect(third.headers.get("Access-Control-Allow-Origin")).toBeNull();
  });
});

describe("an origin that is not named", () => {
  it.each([
    "https://evil.example",
    "https://shop.example.evil.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://sub.shop.example",
    "https://SHOP.example",
    "http://localhost",
    "null",
  ])("%s is not told that it may", async (origin) => {
    const tenant = await openTenant(serverFor("named"));
    const asked = await preflight("named", origin);
    expect(asked.headers.get("Access-Control-Allow-Origin")).toBeNull();
    // A client that is no browser is not kept away by it: that is what tokens are for.
    const paid = await tenant.pay({}, { headers: { Origin: origin } });
    expect(paid.status).toBe(201);
    expect(paid.headers.get("Access-Control-Allow-Origin")).toBeNull();
  });
});

describe("with *", () => {
  it("every page may ask, and none with the browser's own credentials", async () => {
    const tenant = await openTenant(serverFor("any"));
    for (const origin of [SHOP, "https://evil.example", "null"]) {
      const asked = await preflight("any", origin);
      expect(asked.status).toBe(204);
      expect(asked.headers.get("Access-Control-Allow-Origin")).toBe("*");
      const paid = await tenant.pay({}, { headers: { Origin: origin } });
      expect(paid.headers.get("Access-Control-Allow-Origin")).toBe("*");
      expect(paid.headers.get("Access-Control-Allow-Credentials")).toBeNull();
    }
  });
});
