import { createHmac } from "node:crypto";
import { base64url, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Settings } from "../../../src/env.ts";
import { authenticate, KeySetUnavailable } from "../../../src/http/authentication.ts";
import { TOKEN_CLOCK_TOLERANCE_SECONDS } from "../../../src/kernel/limits.ts";
import {
  type KeySetServer,
  newSigningKey,
  serveKeySet,
  type SigningKey,
} from "../../support/key-set.ts";

const SECRET = "test-only-token-secret-0123456789abcdefghijklmnop";
const NOW_S = 1_800_000_000;

const settings: Settings = {
  KEY_OBJECTS: 1,
  IN_FLIGHT_STATUS: 423,
  RESTORE_EPOCH: 0,
  DEFAULT_DATABASE: "DB",
  DATABASE_BYTES_MAX: 9_500_000_000,
  TOKEN_ISSUER: "latchkey",
  TOKEN_SECRET: SECRET,
  ISSUERS: [],
  CORS_ORIGINS: [],
  FINGERPRINT_SECRET: "test-only-fingerprint-secret-0123456789abcdefghij",
};

let serial = 0;

/** Claims of a token that is accepted; every one is a token of its own. */
const claims = (more: JWTPayload = {}): JWTPayload => ({
  iss: "latchkey",
  sub: "someone",
  tenant: "demo",
  scope: "payments:write read",
  exp: NOW_S + 3_600,
  jti: `jti-${(serial += 1)}`,
  ...more,
});

const without = (name: keyof JWTPayload, payload = claims()): JWTPayload =>
  Object.fromEntries(Object.entries(payload).filter(([other]) => other !== name));

const sign = async (payload: JWTPayload, alg = "HS256", secret = SECRET): Promise<string> =>
  new SignJWT(payload).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));

const encoded = (value: object | string): string =>
  base64url.encode(typeof value === "string" ? value : JSON.stringify(value));

/** Signed as HS256 whatever the header says. */
const forged = (header: object, payload: object | string): string => {
  const signed = `${encoded(header)}.${encoded(payload)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
};

const ask = async (token: string, nowS = NOW_S, using = settings) =>
  authenticate(`Bearer ${token}`, using, nowS * 1000);

const accepted = (tenant: string, ...scopes: string[]) => ({
  ok: true,
  value: {
    tenant,
    scopes: new Set(scopes),
    token: { issuer: "latchkey", jti: expect.stringMatching(/^jti-/) as string },
    who: { issuer: "latchkey", subject: expect.any(String) as string },
  },
});
const refused = (failure: string) => ({ ok: false, failure });
const NOT_VALID = refused("The token is not valid.");
const MALFORMED = refused("The token's claims are malformed.");

describe("a good token", () => {
  it("says whose tenant it is and what it may do", async () => {
    await expect(ask(await sign(claims()))).resolves.toEqual(
      accepted("demo", "payments:write", "read"),
    );
  });

  it("28: that was issued anew is the same tenant", async () => {
    const asNamed = accepted("demo", "payments:write", "read");
    await expect(ask(await sign(claims()))).resolves.toEqual(asNamed);
    await expect(ask(await sign(claims()))).resolves.toEqual(asNamed);
  });

  it("26: says what a revocation has to name", async () => {
    const token = await sign(claims({ jti: "jti-of-mine" }));
    await expect(ask(token)).resolves.toMatchObject({
      value: { token: { issuer: "latchkey", jti: "jti-of-mine" } },
    });
  });

  it("27: grants no scope that this service does not know, and none if it names none", async () => {
    const odd = await sign(claims({ scope: "read  admin * payments:* READ" }));
    await expect(ask(odd)).resolves.toEqual(accepted("demo", "read"));
    await expect(ask(await sign(without("scope")))).resolves.toEqual(accepted("demo"));
    await expect(ask(await sign(claims({ scope: "" })))).resolves.toEqual(accepted("demo"));
  });

  it("is that of its tenant claim, and of its subject only if it has none", async () => {
    await expect(ask(await sign(without("tenant")))).resolves.toMatchObject({
      value: { tenant: "someone" },
    });
    await expect(ask(await sign(claims({ sub: "another" })))).resolves.toMatchObject({
      value: { tenant: "demo" },
    });
  });

  it.each(["a", "a:b", "Shop-1.eu_west", "x".repeat(64)])(
    "may be of the tenant %s",
    async (tenant) => {
      await expect(ask(await sign(claims({ tenant })))).resolves.toMatchObject({
        value: { tenant },
      });
    },
  );

  it.each(["", " ", "a b", "a/b", "-a", ".a", "x".repeat(65), "é", "a\n", "__proto__", "a\u0000"])(
    "9: of the tenant %j names none that can be used, and does not fall back on its subject",
    async (tenant) => {
      await expect(ask(await sign(claims({ tenant })))).resolves.toEqual(
        refused("The token names no usable tenant."),
      );
    },
  );

  it("29: is alone in saying so: the header holds nothing but it", async () => {
    const token = await sign(claims());
    for (const header of [
      `Bearer ${token}, tenant=other`,
      `Bearer ${token} other`,
      `Bearer tenant=x ${token}`,
    ]) {
      await expect(authenticate(header, settings, NOW_S * 1000)).resolves.toMatchObject({
        ok: false,
      });
    }
  });
});

describe("25: no token", () => {
  it.each([
    undefined,
    "",
    "Bearer",
    "Bearer ",
    "Bearer a.b",
    "Bearer a.b.c.d",
    "Bearer a.b.",
    "Bearer ..",
    "Basic YTpi",
    "bearer",
  ])("%j is told how to send one", async (header) => {
    await expect(authenticate(header, settings, NOW_S * 1000)).resolves.toEqual(
      refused("Send Authorization: Bearer followed by a JWT."),
    );
  });

  it("has another scheme than Bearer, whose name has no case (RFC 9110 section 11.1)", async () => {
    const token = await sign(claims());
    for (const [scheme, ok] of [
      ["bearer", true],
      ["BEARER", true],
      ["Token", false],
      ["", false],
    ] as const) {
      await expect(
        authenticate(`${scheme} ${token}`, settings, NOW_S * 1000),
      ).resolves.toMatchObject({ ok });
    }
  });

  it.each([
    "a.b.c",
    `${encoded({ alg: "HS256" })}.e30.x`,
    `${encoded("{")}.e30.x`,
    "____.____.____",
  ])("%s only looks like one", async (token) => {
    await expect(ask(token)).resolves.toMatchObject({ ok: false });
  });
});

describe("30: a token that proves nothing", () => {
  it("has alg none", async () => {
    const header = encoded({ alg: "none" });
    const body = encoded(claims());
    await expect(ask(`${header}.${body}.`)).resolves.toMatchObject({ ok: false });
    for (const alg of ["none", "None", "NONE", "nOnE", "", null, 1]) {
      await expect(ask(forged({ alg }, claims()))).resolves.toEqual(NOT_VALID);
      await expect(ask(`${encoded({ alg })}.${body}.x`)).resolves.toEqual(NOT_VALID);
    }
  });

  it.each(["HS384", "HS512"])("is signed with %s, though with the right secret", async (alg) => {
    await expect(ask(await sign(claims(), alg))).resolves.toEqual(NOT_VALID);
  });

  it.each(["RS256", "PS256", "ES256", "EdDSA"])(
    "is signed with a key of its own, %s",
    async (alg) => {
      const { privateKey } = await generateKeyPair(alg);
      const token = await new SignJWT(claims()).setProtectedHeader({ alg }).sign(privateKey);
      await expect(ask(token)).resolves.toEqual(NOT_VALID);
    },
  );

  it("is signed with a public key for a secret", async () => {
    const { publicKey } = await generateKeyPair("ES256", { extractable: true });
    const token = await sign(claims(), "HS256", await exportSPKI(publicKey));
    await expect(ask(token)).resolves.toEqual(NOT_VALID);
  });

  it("names another algorithm than that of its signature", async () => {
    for (const alg of ["RS256", "HS512", "ES256"]) {
      await expect(ask(forged({ alg }, claims()))).resolves.toEqual(NOT_VALID);
    }
  });

  it("is signed with another secret, or was changed afterwards", async () => {
    await expect(ask(await sign(claims(), "HS256", `${SECRET}x`))).resolves.toEqual(NOT_VALID);
    const [header, , signature] = (await sign(claims())).split(".");
    const other = encoded(claims({ tenant: "other" }));
    await expect(ask(`${header}.${other}.${signature}`)).resolves.toEqual(NOT_VALID);
  });

  it("asks for an extension that nobody here understands (RFC 7515 section 4.1.11)", async () => {
    await expect(ask(forged({ alg: "HS256", crit: ["x"], x: 1 }, claims()))).resolves.toEqual(
      NOT_VALID,
    );
  });

  it.each([
    ["of another issuer", claims({ iss: "another" })],
    ["of an issuer in other letters", claims({ iss: "Latchkey" })],
    ["without an issuer", without("iss")],
    ["without exp: it would never end", without("exp")],
    ["without jti: it could not be revoked", without("jti")],
    ["without sub", without("sub")],
  ])("is %s", async (_, payload) => {
    await expect(ask(await sign(payload))).resolves.toEqual(NOT_VALID);
  });

  it.each([
    ["an empty jti", claims({ jti: "" })],
    ["an empty subject", claims({ sub: "" })],
    ["a tenant that is a list", { ...claims(), tenant: ["demo", "other"] }],
    ["a tenant that is null", { ...claims(), tenant: null }],
    ["a tenant that is a number", { ...claims(), tenant: 5 }],
    ["scopes that are a list", { ...claims(), scope: ["read"] }],
    ["a jti that is a number", { ...claims(), jti: 5 }],
  ])("has %s", async (_, payload) => {
    await expect(ask(forged({ alg: "HS256" }, payload))).resolves.toEqual(MALFORMED);
  });

  it.each([
    ["exp that is text", { ...claims(), exp: "4000000000" }],
    ["exp that is null", { ...claims(), exp: null }],
    ["exp beyond every number", JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999')],
    ["claims that are a list", "[]"],
    ["claims that are no JSON", "{"],
  ])("has %s", async (_, payload) => {
    await expect(ask(forged({ alg: "HS256" }, payload))).resolves.toMatchObject({ ok: false });
  });

  it("says why it failed without showing a secret, a claim or itself", async () => {
    const token = await sign(claims({ tenant: "a secret tenant" }), "HS256", "another-secret");
    const result = await ask(token);
    expect(JSON.stringify(result)).not.toMatch(/secret|latchkey|eyJ/);
  });
});

describe("30: a token's time", () => {
  it("ends with the second exp itself: not a millisecond later", async () => {
    const token = await sign(claims({ exp: NOW_S }));
    await expect(ask(token, NOW_S - 0.001)).resolves.toMatchObject({ ok: true });
    for (const nowS of [NOW_S, NOW_S + 0.001, NOW_S + 1_000_000]) {
      await expect(ask(token, nowS)).resolves.toEqual(refused("The token has expired."));
    }
  });

  it("begins with nbf, but for clocks that differ a little", async () => {
    const token = await sign(claims({ nbf: NOW_S }));
    await expect(ask(token, NOW_S - TOKEN_CLOCK_TOLERANCE_SECONDS)).resolves.toMatchObject({
      ok: true,
    });
    await expect(ask(token, NOW_S - TOKEN_CLOCK_TOLERANCE_SECONDS - 1)).resolves.toEqual(
      refused("The token is not valid yet."),
    );
  });

  it("is judged on every request, also when the signature was found good before", async () => {
    const token = await sign(claims({ exp: NOW_S + 10, nbf: NOW_S }));
    const ok = async (nowS: number) => (await ask(token, nowS)).ok;
    await expect(ok(NOW_S)).resolves.toBe(true);
    await expect(ok(NOW_S + 10)).resolves.toBe(false);
    await expect(ok(NOW_S + 9)).resolves.toBe(true);
    await expect(ok(NOW_S - 60)).resolves.toBe(false);
  });

  it("that is over when it is first seen is over, too", async () => {
    await expect(ask(await sign(claims({ exp: 1 })))).resolves.toEqual(
      refused("The token has expired."),
    );
    await expect(ask(await sign(claims({ exp: -1 })))).resolves.toMatchObject({ ok: false });
  });
});

describe("a signature that was found good", () => {
  it("was so for its secret and its issuer only: a rotated secret ends it at once", async () => {
    const token = await sign(claims());
    await expect(ask(token)).resolves.toMatchObject({ ok: true });
    const rotated = { ...settings, TOKEN_SECRET: `${SECRET}-rotated` };
    await expect(ask(token, NOW_S, rotated)).resolves.toEqual(NOT_VALID);
    const moved = { ...settings, TOKEN_ISSUER: "another" };
    await expect(ask(token, NOW_S, moved)).resolves.toEqual(NOT_VALID);
    await expect(ask(token)).resolves.toMatchObject({ ok: true });
  });

  it("does not lend itself to a token that begins like it", async () => {
    const token = await sign(claims());
    await expect(ask(token)).resolves.toMatchObject({ ok: true });
    const last = token.slice(-1) === "A" ? "Q" : "A";
    await expect(ask(`${token.slice(0, -1)}${last}`)).resolves.toEqual(NOT_VALID);
    await expect(ask(`${token}A`)).resolves.toEqual(NOT_VALID);
  });

  it("does not move the bounds between secret and issuer", async () => {
    const token = await sign(claims({ iss: "issuer" }), "HS256", `${SECRET}1`);
    const right = { ...settings, TOKEN_SECRET: `${SECRET}1`, TOKEN_ISSUER: "issuer" };
    await expect(ask(token, NOW_S, right)).resolves.toMatchObject({ ok: true });
    const shifted = { ...settings, TOKEN_SECRET: SECRET, TOKEN_ISSUER: "1issuer" };
    await expect(ask(token, NOW_S, shifted)).resolves.toEqual(NOT_VALID);
  });
});

describe("two secrets", () => {
  const NEXT = "test-only-next-token-secret-0123456789abcdefghijkl";
  const rotating = { ...settings, TOKEN_SECRET: NEXT, TOKEN_SECRET_PREVIOUS: SECRET };

  it("28: are both good while they are rotated", async () => {
    for (const secret of [NEXT, SECRET]) {
      const token = await sign(claims(), "HS256", secret);
      await expect(ask(token, NOW_S, rotating)).resolves.toMatchObject({ ok: true });
    }
  });

  it("30: are one when the previous one is taken away, also for tokens that were good before", async () => {
    const token = await sign(claims());
    await expect(ask(token, NOW_S, rotating)).resolves.toMatchObject({ ok: true });
    const { TOKEN_SECRET_PREVIOUS: _, ...rotated } = rotating;
    await expect(ask(token, NOW_S, rotated)).resolves.toEqual(NOT_VALID);
  });

  it("30: open nothing more than one does", async () => {
    for (const token of [
      await sign(claims(), "HS256", `${SECRET}x`),
      await sign(claims(), "HS512", SECRET),
      await sign(claims({ iss: "another" }), "HS256", SECRET),
      await sign(without("exp"), "HS256", SECRET),
      forged({ alg: "none" }, claims()),
    ]) {
      await expect(ask(token, NOW_S, rotating)).resolves.toEqual(NOT_VALID);
    }
    const expired = await sign(claims({ exp: NOW_S - 1 }));
    await expect(ask(expired, NOW_S, rotating)).resolves.toEqual(refused("The token has expired."));
  });
});

describe("another issuer", () => {
  const ACME = "https://id.acme.example";
  /** How long a set is not fetched anew for the sake of a key that it does not have. */
  const COOLING_MS = 30_000;

  let first: SigningKey;
  let second: SigningKey;
  let keySet: KeySetServer;

  beforeAll(async () => {
    [first, second] = await Promise.all([newSigningKey("RS256"), newSigningKey("RS256")]);
  });

  afterEach(async () => {
    vi.useRealTimers();
    await keySet.stop();
  });

  /** Settings with the issuer, whose server is started for the test. */
  const serve = async (...keys: readonly SigningKey[]): Promise<Settings> => {
    keySet = await serveKeySet(...keys);
    return {
      ...settings,
      ISSUERS: [
        { issuer: ACME, jwks: keySet.url, algorithm: "RS256", tenants: ["acme", "acme-eu"] },
      ],
    };
  };

  const ofAcme = (more: JWTPayload = {}) => claims({ iss: ACME, tenant: "acme", ...more });

  const passMs = (ms: number): void => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
  };

  it("names its own tenants, and is named with them", async () => {
    const using = await serve(first);
    const token = await first.sign(ofAcme({ tenant: "acme-eu", jti: "jti-1" }));
    await expect(ask(token, NOW_S, using)).resolves.toEqual({
      ok: true,
      value: {
        tenant: "acme-eu",
        scopes: new Set(["payments:write", "read"]),
        token: { issuer: ACME, jti: "jti-1" },
        who: { issuer: "https://id.acme.example", subject: "someone" },
      },
    });
  });

  it("30: names no other tenant, and ours names none of its", async () => {
    const using = await serve(first);
    const notNamed = refused("The token's issuer may not name this tenant.");
    const foreign = await first.sign(ofAcme({ tenant: "demo" }));
    await expect(ask(foreign, NOW_S, using)).resolves.toEqual(notNamed);
    const own = await sign(claims({ tenant: "acme" }));
    await expect(ask(own, NOW_S, using)).resolves.toEqual(notNamed);
    // The very same token is good where the tenant belongs to nobody else.
    await expect(ask(own)).resolves.toMatchObject({ ok: true });
  });

  it("30: is believed by its pinned algorithm only", async () => {
    const using = await serve(first);
    for (const token of [
      await sign(ofAcme(), "HS256", first.publicText),
      await sign(ofAcme()),
      forged({ alg: "none" }, ofAcme()),
      forged({ alg: "RS256", kid: first.published.kid }, ofAcme()),
      await (await newSigningKey("ES256")).sign(ofAcme()),
    ]) {
      await expect(ask(token, NOW_S, using)).resolves.toEqual(NOT_VALID);
    }
  });

  it("30: is judged by the time of its tokens like ours", async () => {
    const using = await serve(first);
    const token = await first.sign(ofAcme({ exp: NOW_S + 10, nbf: NOW_S }));
    await expect(ask(token, NOW_S, using)).resolves.toMatchObject({ ok: true });
    await expect(ask(token, NOW_S + 10, using)).resolves.toEqual(refused("The token has expired."));
    await expect(ask(token, NOW_S - 60, using)).resolves.toEqual(
      refused("The token is not valid yet."),
    );
  });

  it("has its audience asked for where one is configured, and not where none is", async () => {
    const using = await serve(first);
    const [issuer] = using.ISSUERS;
    const strict = { ...using, ISSUERS: [{ ...issuer, audience: "latchkey" }] } as Settings;
    const asked = async (aud: JWTPayload["aud"], which: Settings) => {
      const token = await first.sign(ofAcme(aud === undefined ? {} : { aud }));
      return (await ask(token, NOW_S, which)).ok;
    };
    expect(await asked("latchkey", strict)).toBe(true);
    expect(await asked(["other", "latchkey"], strict)).toBe(true);
    for (const aud of ["other", "", "latchkey ", undefined]) {
      expect(await asked(aud, strict)).toBe(false);
      expect(await asked(aud, using)).toBe(true);
    }
  });

  it("28: that rotates its keys is followed: the new key is fetched, and the old one ends", async () => {
    const using = await serve(first);
    await expect(ask(await first.sign(ofAcme()), NOW_S, using)).resolves.toMatchObject({
      ok: true,
    });
    keySet.publish(first, second);
    passMs(COOLING_MS);
    for (const key of [second, first]) {
      await expect(ask(await key.sign(ofAcme()), NOW_S, using)).resolves.toMatchObject({
        ok: true,
      });
    }
    expect(keySet.fetches()).toBe(2);

    keySet.publish(second);
    // What is fetched is kept for ten minutes; another unknown key has it fetched before.
    passMs(COOLING_MS);
    const stranger = await newSigningKey("RS256");
    await expect(ask(await stranger.sign(ofAcme()), NOW_S, using)).resolves.toEqual(NOT_VALID);
    await expect(ask(await first.sign(ofAcme()), NOW_S, using)).resolves.toEqual(NOT_VALID);
    await expect(ask(await second.sign(ofAcme()), NOW_S, using)).resolves.toMatchObject({
      ok: true,
    });
  });

  it("66: is not asked for its keys by every token that names an unknown one", async () => {
    const using = await serve(first);
    const stranger = await newSigningKey("RS256");
    for (let i = 0; i < 10; i++) {
      await expect(ask(await stranger.sign(ofAcme()), NOW_S, using)).resolves.toEqual(NOT_VALID);
    }
    expect(keySet.fetches()).toBe(1);
  });

  it.each(["broken", "page", "other json", "moved"] as const)(
    "whose server is %s is neither believed nor refused, and asked again",
    async (mood) => {
      const using = await serve(first);
      keySet.setMood(mood);
      const token = await first.sign(ofAcme());
      await expect(ask(token, NOW_S, using)).rejects.toBeInstanceOf(KeySetUnavailable);
      keySet.setMood("well");
      await expect(ask(token, NOW_S, using)).resolves.toMatchObject({ ok: true });
    },
  );

  it("whose server is away is neither believed nor refused, and our own tokens stay good", async () => {
    const using = await serve(first);
    await keySet.stop();
    const token = await first.sign(ofAcme());
    await expect(ask(token, NOW_S, using)).rejects.toBeInstanceOf(KeySetUnavailable);
    await expect(ask(await sign(claims()), NOW_S, using)).resolves.toMatchObject({ ok: true });
  });

  it("whose server goes away later is served from the keys that are known", async () => {
    const using = await serve(first);
    await expect(ask(await first.sign(ofAcme()), NOW_S, using)).resolves.toMatchObject({
      ok: true,
    });
    await keySet.stop();
    await expect(ask(await first.sign(ofAcme()), NOW_S, using)).resolves.toMatchObject({
      ok: true,
    });
  });
});
