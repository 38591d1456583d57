/**
 * Faults 26, 27, 30, 65, 66 and 68 over HTTP: other issuers by their key sets, secrets that rotate, tokens that are
 * revoked, floods, and what the log may say. How old a list of revocations may be is tested in workerd, where the clock
 * is the test's.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { JWTPayload } from "jose";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { keyHash } from "../../src/kernel/hash.ts";
import { REVOCATIONS_AGE_MS_MAX } from "../../src/kernel/limits.ts";
import { expectNothingMade, transfersOf } from "../support/books.ts";
import { newSigningKey, serveKeySet } from "../support/key-set.ts";
import { type Server, TEST_SECRETS } from "../support/server.ts";
import { useServers, withinOneMinute } from "../support/suite.ts";
import {
  type Answer,
  answerOf,
  newKey,
  newTenant,
  newTenantName,
  openTenant,
  PAYMENT,
} from "../support/tenant.ts";
import { forgeToken, TENANT_SCOPES, tokenFor } from "../support/token.ts";

const ACME = "https://id.acme.example";
const GLOBEX = "https://id.globex.example";
const AWAY = "https://id.away.example";
const BROKEN = "https://id.broken.example";

const acmeKey = await newSigningKey("RS256");
const globexKey = await newSigningKey("ES256");
const acme = await serveKeySet(acmeKey);
const globex = await serveKeySet(globexKey);
// Its address is known to be nobody's from here on.
const away = await serveKeySet(acmeKey);
await away.stop();
const broken = await serveKeySet(acmeKey);

afterAll(async () => {
  for (const keySet of [acme, globex, broken]) await keySet.stop();
});

const ISSUERS = JSON.stringify([
  { issuer: ACME, jwks: acme.url, algorithm: "RS256", tenants: ["acme", "acme-eu"] },
  {
    issuer: GLOBEX,
    jwks: globex.url,
    algorithm: "ES256",
    tenants: ["globex"],
    audience: "latchkey",
  },
  { issuer: AWAY, jwks: away.url, algorithm: "RS256", tenants: ["away"] },
  { issuer: BROKEN, jwks: broken.url, algorithm: "RS256", tenants: ["broken"] },
]);

const NEXT_SECRET = "test-only-next-token-secret-0123456789abcdefghijkl";

/** New keys per minute of the server that limits them. */
const LIMIT = 5;

const serverFor = useServers({
  issuers: { vars: { ISSUERS } },
  // One deployment, before, while and after its secret is rotated.
  before: {},
  rotating: {
    vars: { TOKEN_SECRET: NEXT_SECRET, TOKEN_SECRET_PREVIOUS: TEST_SECRETS.TOKEN_SECRET },
    versionOf: "before",
  },
  rotated: { vars: { TOKEN_SECRET: NEXT_SECRET }, versionOf: "before" },
  limited: { newKeysPerMinute: LIMIT, vars: { KEY_OBJECTS: "per-key" } },
  "per-key": { vars: { KEY_OBJECTS: "per-key" } },
});

const nowS = (): number => Math.floor(Date.now() / 1000);

const claimsOf = (iss: string, tenant: string, more: JWTPayload = {}): JWTPayload => ({
  iss,
  sub: "someone",
  tenant,
  scope: TENANT_SCOPES,
  jti: newKey(),
  exp: nowS() + 600,
  ...more,
});

const rejected = {
  status: 401,
  replayed: false,
  body: { code: "unauthenticated", retry: { use: "same-key" } },
};

const ask = async (server: Server, token: string): Promise<Answer> =>
  (await newTenant(server)).get("/v1/accounts", { token });

const jtiOf = (token: string): string => {
  const [, claims = ""] = token.split(".");
  return (JSON.parse(Buffer.from(claims, "base64url").toString()) as { jti: string }).jti;
};

describe("another issuer's tokens", () => {
  const server = () => serverFor("issuers");

  it("are accepted by its published keys, with the algorithm that is pinned for it", async () => {
    const tenant = await openTenant(server(), "acme");
    const key = newKey();
    const first = await tenant.pay({}, { key, token: await acmeKey.sign(claimsOf(ACME, "acme")) });
    expect(first).toMatchObject({ status: 201, replayed: false });
    // 28: another token of the same tenant gets the replay.
    const again = { key, token: await acmeKey.sign(claimsOf(ACME, "acme")) };
    expect(await tenant.pay({}, again)).toMatchObject({ replayed: true, text: first.text });
    const globexToken = await globexKey.sign(claimsOf(GLOBEX, "globex", { aud: "latchkey" }));
    expect((await ask(server(), globexToken)).status).toBe(200);
  });

  it("are the subject's where they name no tenant, if the subject is one of the issuer's", async () => {
    const { tenant: _, ...claims } = claimsOf(ACME, "");
    expect((await ask(server(), await acmeKey.sign({ ...claims, sub: "acme-eu" }))).status).toBe(
      200,
    );
    expect(await ask(server(), await acmeKey.sign({ ...claims, sub: "globex" }))).toMatchObject(
      rejected,
    );
  });

  it("24, 27: grant nothing that reaches beyond their tenants: operators' rights are ours to give", async () => {
    const token = await acmeKey.sign(claimsOf(ACME, "acme", { scope: "ops:act read" }));
    const answer = await fetch(`${server().origin}/v1/ops/revoked-tokens/${newKey()}`, {
      method: "PUT",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ issuer: "latchkey", expiresAt: new Date(4e12).toISOString() }),
    });
    expect(answer.status).toBe(403);
    expect((await ask(server(), token)).status).toBe(200);
  });

  it("30: grant what they say and no more", async () => {
    const tenant = await newTenant(server(), "acme-eu");
    const token = await acmeKey.sign(claimsOf(ACME, "acme-eu", { scope: "read" }));
    expect((await tenant.get("/v1/payments", { token })).status).toBe(200);
    expect(await tenant.pay({}, { token })).toMatchObject({ status: 403 });
  });

  const foreign: readonly (readonly [string, () => Promise<string>])[] = [
    ["names a tenant of another issuer", async () => acmeKey.sign(claimsOf(ACME, "globex"))],
    ["names a tenant of our own", async () => acmeKey.sign(claimsOf(ACME, "shop"))],
    ["names a tenant in other letters", async () => acmeKey.sign(claimsOf(ACME, "ACME"))],
    ["says that another issuer made it", async () => acmeKey.sign(claimsOf(GLOBEX, "globex"))],
    ["says that we made it", async () => acmeKey.sign(claimsOf("latchkey", "acme"))],
    ["says that an unknown issuer made it", async () => acmeKey.sign(claimsOf("x", "acme"))],
    [
      "carries the issuer's name with a slash behind it",
      async () => acmeKey.sign(claimsOf(`${ACME}/`, "acme")),
    ],
    [
      "is signed with another key under a known key's id",
      async () => {
        const forger = await newSigningKey("RS256");
        return forger.sign(claimsOf(ACME, "acme"), { kid: acmeKey.published.kid ?? "" });
      },
    ],
    [
      "is signed with a key of its own and an id that nobody published",
      async () => (await newSigningKey("RS256")).sign(claimsOf(ACME, "acme")),
    ],
    [
      "brings its key along in its header",
      async () => {
        const forger = await newSigningKey("RS256");
        return forger.sign(claimsOf(ACME, "acme"), { jwk: forger.published });
      },
    ],
    [
      "is signed with ES256 where RS256 is pinned",
      async () => globexKey.sign(claimsOf(ACME, "acme")),
    ],
    ["has expired", async () => acmeKey.sign(claimsOf(ACME, "acme", { exp: nowS() - 1 }))],
    [
      "is for another audience",
      async () => globexKey.sign(claimsOf(GLOBEX, "globex", { aud: "x" })),
    ],
    ["is for nobody in particular", async () => globexKey.sign(claimsOf(GLOBEX, "globex"))],
  ];

  it.each(foreign)("30: one that %s gets 401 and makes nothing", async (_, make) => {
    const token = await make();
    const tenant = await newTenant(server());
    const answer = await expectNothingMade(server(), async () => tenant.pay({}, { token }));
    expect(answer).toMatchObject(rejected);
  });

  it.each(["exp", "jti", "sub"])("30: one without %s gets 401", async (claim) => {
    const claims = Object.fromEntries(
      Object.entries(claimsOf(ACME, "acme")).filter(([name]) => name !== claim),
    );
    expect(await ask(server(), await acmeKey.sign(claims))).toMatchObject(rejected);
  });

  it.each([
    ["the issuer's public key", acmeKey.publicText],
    ["the issuer's public key, trimmed", acmeKey.publicText.trim()],
    ["the issuer's key set", JSON.stringify(acmeKey.published)],
    ["our own secret", TEST_SECRETS.TOKEN_SECRET],
    ["an empty secret", ""],
  ])("30: one that is switched to HS256 and signed with %s gets 401", async (_, secret) => {
    for (const kid of [acmeKey.published.kid, undefined]) {
      const token = forgeToken({
        header: { alg: "HS256", typ: "JWT", ...(kid === undefined ? {} : { kid }) },
        claims: claimsOf(ACME, "acme"),
        secret,
      });
      expect(await ask(server(), token)).toMatchObject(rejected);
    }
  });

  it.each(["none", "None", "RS256", "RS384", "PS256"])(
    "30: one with the algorithm %s and no signature of the issuer gets 401",
    async (alg) => {
      const header = { alg, kid: acmeKey.published.kid };
      for (const secret of [undefined, TEST_SECRETS.TOKEN_SECRET]) {
        const token = forgeToken({
          header,
          claims: claimsOf(ACME, "acme"),
          ...(secret === undefined ? {} : { secret }),
        });
        expect(await ask(server(), token)).toMatchObject({ status: 401 });
      }
    },
  );

  it("30: our own issuer does not name a tenant that belongs to another's", async () => {
    const own = await tokenFor("acme");
    const tenant = await newTenant(server(), "acme");
    const answer = await expectNothingMade(server(), async () => tenant.pay({}, { token: own }));
    expect(answer).toMatchObject({
      ...rejected,
      body: { detail: "The token's issuer may not name this tenant." },
    });
    expect((await ask(server(), await tokenFor(newTenantName()))).status).toBe(200);
  });

  it("30: whose keys cannot be had get 503: they are neither good nor bad", async () => {
    const tenant = await newTenant(server(), "away");
    const token = await acmeKey.sign(claimsOf(AWAY, "away"));
    const answer = await expectNothingMade(server(), async () => tenant.pay({}, { token }));
    expect(answer).toMatchObject({
      status: 503,
      body: { code: "temporarily-unavailable", retry: { use: "same-key" } },
    });
    expect(answer.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(answer.headers.get("WWW-Authenticate")).toBeNull();
    // Others are served meanwhile.
    expect((await ask(server(), await tokenFor(newTenantName()))).status).toBe(200);
    expect((await ask(server(), await acmeKey.sign(claimsOf(ACME, "acme")))).status).toBe(200);
  });

  it("30: whose issuer answers with anything but its keys get 503, until it recovers", async () => {
    const token = await acmeKey.sign(claimsOf(BROKEN, "broken"));
    for (const mood of ["broken", "page", "other json", "moved"] as const) {
      broken.setMood(mood);
      expect({ mood, status: (await ask(server(), token)).status }).toEqual({ mood, status: 503 });
    }
    broken.setMood("well");
    expect((await ask(server(), token)).status).toBe(200);
  });

  it("30: are verified by keys that are kept: one fetch serves many tokens", async () => {
    await ask(server(), await acmeKey.sign(claimsOf(ACME, "acme")));
    const before = acme.fetches();
    for (let i = 0; i < 5; i++) {
      expect((await ask(server(), await acmeKey.sign(claimsOf(ACME, "acme")))).status).toBe(200);
    }
    // 66: nor do tokens that name keys nobody published make us ask the issuer each time.
    for (let i = 0; i < 5; i++) {
      const stranger = await newSigningKey("RS256");
      expect(await ask(server(), await stranger.sign(claimsOf(ACME, "acme")))).toMatchObject(
        rejected,
      );
    }
    expect(acme.fetches()).toBe(before);
  });
});

describe("a secret that is rotated", () => {
  it("28: while both are set, tokens of either are one tenant's; afterwards only those of the new one are", async () => {
    const tenant = await openTenant(serverFor("before"));
    const old = await tokenFor(tenant.name);
    const fresh = await tokenFor(tenant.name, { secret: NEXT_SECRET });
    const key = newKey();
    const pay = async (name: "before" | "rotating" | "rotated", token: string) =>
      (await newTenant(serverFor(name), tenant.name)).pay({}, { key, token });

    const first = await pay("before", old);
    expect(first).toMatchObject({ status: 201, replayed: false });
    expect(await pay("before", fresh)).toMatchObject(rejected);
    for (const token of [old, fresh, old]) {
      expect(await pay("rotating", token)).toMatchObject({ replayed: true, text: first.text });
    }
    expect(await pay("rotated", old)).toMatchObject(rejected);
    expect(await pay("rotated", fresh)).toMatchObject({ replayed: true, text: first.text });
    expect(await transfersOf(serverFor("before"), tenant, key)).toHaveLength(1);
  });

  it("30: a third secret opens nothing, and neither does the old one with another algorithm", async () => {
    const tenant = newTenantName();
    const third = await tokenFor(tenant, { secret: `${NEXT_SECRET}x` });
    expect(await ask(serverFor("rotating"), third)).toMatchObject(rejected);
    const other = forgeToken({
      header: { alg: "HS512" },
      claims: claimsOf("latchkey", tenant),
      secret: TEST_SECRETS.TOKEN_SECRET,
      hash: "sha512",
    });
    expect(await ask(serverFor("rotating"), other)).toMatchObject(rejected);
  });
});

describe("revoking a token", () => {
  const server = () => serverFor("per-key");

  const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString();

  const revoke = async (
    jti: string,
    body: unknown = { issuer: "latchkey", expiresAt: inAnHour() },
    {
      scope = "ops:act",
      headers = {},
    }: { readonly scope?: string; readonly headers?: Readonly<Record<string, string>> } = {},
  ): Promise<Answer> => {
    const token = await tokenFor("operations", { scope });
    const response = await fetch(`${server().origin}/v1/ops/revoked-tokens/${jti}`, {
      method: "PUT",
      headers: {
        Authorization: `Bearer ${token}`,
        "Content-Type": "application/json",
        ...headers,
      },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    return answerOf(response.status, response.headers, await response.text());
  };

  // These two wait for ten seconds each, at the same time.
  it.concurrent("26: ends it within ten seconds: its retry gets 401 and no replay, another token's gets the replay", async () => {
    const tenant = await openTenant(server());
    const token = await tokenFor(tenant.name);
    const key = newKey();
    const first = await tenant.pay({}, { key, token });
    expect(first.status).toBe(201);

    expect(await revoke(jtiOf(token))).toMatchObject({ status: 204, text: "" });
    await sleep(REVOCATIONS_AGE_MS_MAX);

    await expectNothingMade(server(), async () => {
      expect(await tenant.pay({}, { key, token })).toMatchObject(rejected);
      expect(await tenant.pay({}, { token })).toMatchObject(rejected);
      expect(await tenant.get("/v1/payments", { token })).toMatchObject(rejected);
      expect(await tenant.get(`/v1/idempotency-keys/${key}`, { token })).toMatchObject(rejected);
    });
    expect(await tenant.pay({}, { key })).toMatchObject({ replayed: true, text: first.text });
  });

  it.concurrent("reaches no token of another issuer with the same id", async () => {
    const token = await tokenFor(newTenantName());
    await revoke(jtiOf(token), { issuer: "another", expiresAt: inAnHour() });
    await sleep(REVOCATIONS_AGE_MS_MAX);
    expect((await ask(server(), token)).status).toBe(200);
  });

  it("can be repeated: it needs no key", async () => {
    const jti = newKey();
    for (let i = 0; i < 3; i++) expect(await revoke(jti)).toMatchObject({ status: 204 });
  });

  it.each([TENANT_SCOPES, "ops:read", "ops:support", "ops:read ops:support", ""])(
    "27: with the scopes %j gets 403",
    async (scope) => {
      expect(await revoke(newKey(), undefined, { scope })).toMatchObject({
        status: 403,
        body: { code: "forbidden" },
      });
    },
  );

  it("25: without a token gets 401", async () => {
    const response = await fetch(`${server().origin}/v1/ops/revoked-tokens/x`, { method: "PUT" });
    expect(response.status).toBe(401);
  });

  it.each<[string, unknown]>([
    ["nothing", ""],
    ["no JSON", "{"],
    ["no object", "[]"],
    ["no issuer", { expiresAt: "2100-01-01T00:00:00Z" }],
    ["an empty issuer", { issuer: "", expiresAt: "2100-01-01T00:00:00Z" }],
    ["no end", { issuer: "latchkey" }],
    ["an end that is a number", { issuer: "latchkey", expiresAt: 4_102_444_800 }],
    ["an end that is no time", { issuer: "latchkey", expiresAt: "tomorrow" }],
    ["a further member", { issuer: "latchkey", expiresAt: "2100-01-01T00:00:00Z", why: "x" }],
    ["14: a member twice", '{"issuer":"a","issuer":"latchkey","expiresAt":"2100-01-01T00:00:00Z"}'],
  ])("with %s gets 400", async (_, body) => {
    expect(await revoke(newKey(), body)).toMatchObject({
      status: 400,
      body: { code: "request-invalid" },
    });
  });

  it("of what is no JSON by its own word gets 415, and of an id without end 400", async () => {
    const headers = { "Content-Type": "text/plain" };
    expect(await revoke(newKey(), undefined, { headers })).toMatchObject({ status: 415 });
    expect(await revoke("x".repeat(256))).toMatchObject({ status: 400 });
  });

  it("is a PUT and nothing else", async () => {
    const tenant = await newTenant(server());
    const answer = await tenant.post("/v1/ops/revoked-tokens/x", {});
    expect(answer).toMatchObject({ status: 405 });
    expect(answer.headers.get("Allow")).toBe("PUT");
  });
});

describe("27: a scope that was taken away", () => {
  it("ends replays too: the next token of the same subject gets 403", async () => {
    const tenant = await openTenant(serverFor("per-key"));
    const key = newKey();
    const first = await tenant.pay({}, { key });
    const token = await tokenFor(tenant.name, { scope: "read" });
    const answer = await tenant.pay({}, { key, token });
    expect(answer).toMatchObject({ status: 403, replayed: false, body: { code: "forbidden" } });
    expect(answer.text).not.toContain(String(first.body["id"]));
  });
});

describe("65: a flood of new keys", () => {
  const server = () => serverFor("limited");

  beforeEach(withinOneMinute);

  it("is stopped before any object: 429, nothing made; retries of keys that were counted go on", async () => {
    const tenant = await openTenant(server());
    const keys = Array.from({ length: LIMIT }, newKey);
    const first: Answer[] = [];
    for (const key of keys) first.push(await tenant.pay({}, { key }));
    expect(first.map(({ status }) => status)).toEqual(keys.map(() => 201));

    await expectNothingMade(server(), async () => {
      const flood = await Promise.all(Array.from({ length: 200 }, async () => tenant.pay()));
      for (const answer of flood) {
        expect(answer).toMatchObject({
          status: 429,
          replayed: false,
          body: { code: "rate-limited", retry: { use: "same-key" } },
        });
      }
      expect(Number(flood[0]?.headers.get("Retry-After"))).toBeGreaterThan(0);
      expect(flood[0]?.headers.get("X-Should-Retry")).toBe("true");
      // Nor is a body read, or a key judged: the order of checks is the contract's.
      expect(await tenant.post("/v1/payments", "{", { key: "short" })).toMatchObject({
        status: 429,
      });
      for (const [i, key] of keys.entries()) {
        expect(await tenant.pay({}, { key })).toMatchObject({
          replayed: true,
          text: first[i]?.text,
        });
      }
    });
    // Reading is not limited by it.
    expect((await tenant.get("/v1/payments")).status).toBe(200);
  });

  it("takes nothing from another tenant, and a retry is no new key", async () => {
    const tenant = await openTenant(server());
    const key = newKey();
    for (let i = 0; i < 3 * LIMIT; i++) {
      expect((await tenant.pay({}, { key })).status).toBe(201);
    }
    for (let i = 1; i < LIMIT; i++) expect((await tenant.pay()).status).toBe(201);
    expect((await tenant.pay()).status).toBe(429);
  });

  it("63: a refused key is not stored as refused: it is as new as before", async () => {
    const tenant = await openTenant(server());
    for (let i = 0; i < LIMIT; i++) await tenant.pay();
    const key = newKey();
    expect((await tenant.pay({}, { key })).status).toBe(429);
    const { body } = await tenant.get(`/v1/idempotency-keys/${key}`);
    expect(body).toMatchObject({ operation: null, outcome: null, link: null });
  });
});

describe("66: a flood without credentials", () => {
  it("gets 401, and nothing is made or counted", async () => {
    const server = serverFor("limited");
    const tenant = await openTenant(server);
    const foreign = forgeToken({
      header: { alg: "HS256" },
      claims: claimsOf("latchkey", tenant.name),
      secret: "wrong",
    });
    await expectNothingMade(server, async () => {
      const flood = await Promise.all(
        Array.from({ length: 200 }, async (_, i) =>
          tenant.pay({}, { token: i % 2 === 0 ? null : foreign }),
        ),
      );
      expect(new Set(flood.map(({ status }) => status))).toEqual(new Set([401]));
    });
    // The tenant in whose name they came has all of its keys left.
    for (let i = 0; i < LIMIT; i++) expect((await tenant.pay()).status).toBe(201);
  });
});

describe("68: the log", () => {
  /**
   * Where the log stands when all is in it that was done before: it comes by another way than the answers, later, in the
   * order in which it was written. The line that stands there is about a request of this function's own.
   */
  const standOfLog = async (server: Server): Promise<number> => {
    const tenant = await openTenant(server);
    const key = newKey();
    await tenant.pay({}, { key });
    await tenant.pay({ amountMinor: 1 }, { key });
    const stand = () => server.log.findIndex((line) => line.includes(keyHash(tenant.name, key)));
    await expect.poll(stand).toBeGreaterThanOrEqual(0);
    return stand();
  };

  it("carries no body, no token and no key in clear, whatever goes wrong", async () => {
    const server = serverFor("per-key");
    const tenant = await openTenant(server);
    const description = "a description that is nobody's business";
    const token = await tokenFor(tenant.name);
    const key = newKey();
    const before = await standOfLog(server);

    // What works, is refused, is malformed, is nobody's.
    await tenant.pay({ description }, { key, token });
    await tenant.pay({ description, amountMinor: 2 }, { key, token });
    await tenant.pay({ description, source: "nobody" }, { token });
    await tenant.post("/v1/payments", `{"description":"${description}"`, { token });
    await tenant.pay({ description }, { token: `${token}x` });
    await tenant.get(`/v1/idempotency-keys/${key}`, { token });
    // A database that is away for longer than a request may take: this is what is logged.
    const lost = newKey();
    const unlock = server.lockDatabase();
    try {
      const answers = await Promise.all([
        tenant.pay({ description }, { key: lost, token }),
        tenant.patch(`/v1/orders/ord_${"0".repeat(26)}`, { state: "cancelled" }, { key: lost }),
      ]);
      expect(Math.max(...answers.map(({ status }) => status))).toBe(503);
    } finally {
      unlock();
    }
    // A table that is gone: the detail of the failure is the log's alone.
    await server.sql("ALTER TABLE orders RENAME TO orders_away");
    try {
      const lines = [{ sku: "mug", quantity: 1 }];
      await tenant.post("/v1/orders", { ...PAYMENT, lines }, { key: newKey(), token });
      await tenant.get("/v1/orders", { token });
    } finally {
      await server.sql("ALTER TABLE orders_away RENAME TO orders");
    }

    const logged = server.log.slice(before, await standOfLog(server)).join("\n");
    expect(logged).toContain('"level":"alert"');
    for (const secret of [
      description,
      token,
      ...token.split(".").slice(1),
      tenant.token,
      key,
      lost,
      jtiOf(token),
      ...Object.values(TEST_SECRETS),
    ]) {
      expect(logged).not.toContain(secret);
    }
  });

  it("of a server that was flooded has no line for each refusal", async () => {
    const server = serverFor("limited");
    const tenant = await newTenant(server);
    const before = await standOfLog(server);
    await Promise.all(Array.from({ length: 50 }, async () => tenant.pay({}, { token: null })));
    expect(server.log.slice(before + 1, await standOfLog(server))).toEqual([]);
  });
});
