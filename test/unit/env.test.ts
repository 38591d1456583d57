import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseSettings } from "../../src/env.ts";

const good = {
  TOKEN_SECRET: "q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3Rg5Py0",
  FINGERPRINT_SECRET: "u2Ce8Ai5Wo1Tz7Kx3Bn9Gd4Vq6Lj0Hs8",
};

/** What a bad setting is answered with. */
const fault = (more: Record<string, unknown>): string => {
  try {
    parseSettings({ ...good, ...more });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "";
};

describe("settings", () => {
  it("have a default for all but the secrets", () => {
    expect(parseSettings(good)).toEqual({
      ...good,
      KEY_OBJECTS: 1,
      IN_FLIGHT_STATUS: 423,
      RESTORE_EPOCH: 0,
      DEFAULT_DATABASE: "DB",
      DATABASE_BYTES_MAX: 9_500_000_000,
      TOKEN_ISSUER: "latchkey",
      ISSUERS: [],
      CORS_ORIGINS: [],
    });
  });

  it("are text in wrangler.toml, and are read as what they mean", () => {
    const texts = {
      KEY_OBJECTS: "16",
      IN_FLIGHT_STATUS: "409",
      RESTORE_EPOCH: "3",
      TOKEN_ISSUER: "me",
    };
    expect(parseSettings({ ...good, ...texts })).toMatchObject({
      KEY_OBJECTS: 16,
      IN_FLIGHT_STATUS: 409,
      RESTORE_EPOCH: 3,
      TOKEN_ISSUER: "me",
    });
    expect(parseSettings({ ...good, KEY_OBJECTS: "per-key" }).KEY_OBJECTS).toBe("per-key");
  });

  it("are read from among the bindings, which are left alone", () => {
    expect(parseSettings({ ...good, DB: {}, KEY_OBJECT: {} })).not.toHaveProperty("DB");
  });

  it.each([
    ["KEY_OBJECTS", "0"],
    ["KEY_OBJECTS", "4097"],
    ["KEY_OBJECTS", "1.5"],
    ["KEY_OBJECTS", "-1"],
    ["KEY_OBJECTS", "per_key"],
    ["KEY_OBJECTS", ""],
    ["IN_FLIGHT_STATUS", "425"],
    ["IN_FLIGHT_STATUS", "200"],
    ["IN_FLIGHT_STATUS", "locked"],
    ["IN_FLIGHT_STATUS", ""],
    ["RESTORE_EPOCH", "-1"],
    ["RESTORE_EPOCH", "1.5"],
    ["RESTORE_EPOCH", "yesterday"],
    ["TOKEN_ISSUER", ""],
    ["TOKEN_ISSUER", "i".repeat(256)],
    ["DEFAULT_DATABASE", "DB_0"],
    ["DEFAULT_DATABASE", "db"],
    ["DEFAULT_DATABASE", "DB_99999"],
    ["DATABASE_BYTES_MAX", "0"],
    ["DATABASE_BYTES_MAX", "10 GB"],
  ])("%s = %j is refused, by its name", (name, value) => {
    expect(fault({ [name]: value })).toMatch(new RegExp(`^Configuration: ${name} .*\\.$`));
  });

  it("82: databases go by number, the default is one of them, and more than one needs a memory", () => {
    const bound = { DB: {}, DB_1: {}, TENANTS: {} };
    expect(fault({ ...bound, DEFAULT_DATABASE: "DB_1" })).toBe("");
    expect(fault({ ...bound, DEFAULT_DATABASE: "DB_2" })).toContain("not bound");
    expect(fault({ DB: {}, DB_1: {} })).toContain("DB_1 needs TENANTS");
    expect(fault({ DB: {}, DB_BACKUP: {} })).toBe("");
  });

  it("that are wrong are all named at once", () => {
    const message = fault({ KEY_OBJECTS: "0", IN_FLIGHT_STATUS: "1", TOKEN_SECRET: "short" });
    for (const name of ["KEY_OBJECTS", "IN_FLIGHT_STATUS", "TOKEN_SECRET"]) {
      expect(message).toContain(name);
    }
    expect(message).not.toContain("FINGERPRINT_SECRET");
  });

  it("that are wrong are never shown: a secret may stand in the wrong place", () => {
    const value = "S3cr3t-Value-That-Must-Not-Be-Seen";
    for (const name of ["KEY_OBJECTS", "IN_FLIGHT_STATUS", "RESTORE_EPOCH"]) {
      expect(fault({ [name]: value })).toContain(name);
      expect(fault({ [name]: value })).not.toContain(value);
    }
    for (const name of ["TOKEN_SECRET", "FINGERPRINT_SECRET"]) {
      expect(fault({ [name]: "hunter2-hunter2" })).not.toContain("hunter2");
      expect(fault({ [name]: 12_345_678 })).not.toContain("12345678");
    }
  });
});

describe.each(["TOKEN_SECRET", "FINGERPRINT_SECRET"] as const)("the secret %s", (name) => {
  it("that is not set is refused, with what to do", () => {
    expect(fault({ [name]: undefined })).toContain(`${name} is not set: see \`npm run dev\``);
  });

  it.each([
    ["is shorter than 32 characters", "q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3Rg5Py"],
    ["is shorter than 32 characters", ""],
    ["is a placeholder", "change-me-q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3"],
    ["is a placeholder", "CHANGEME-q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3"],
    ["is a placeholder", "replace_me_q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6"],
    ["is a placeholder", "your-secret-q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6"],
    ["is a placeholder", "placeholder0123456789abcdefghijklm"],
    ["is a placeholder", "<a random text of 32 characters...>"],
    ["is a placeholder", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
    ["is too regular to be random", "a".repeat(64)],
    ["is too regular to be random", "01234567".repeat(5)],
  ])("%s, and is refused: %s", (reason, value) => {
    expect(fault({ [name]: value })).toContain(`${name} ${reason}`);
  });

  it("of random hex, base64 or base64url is accepted", () => {
    for (let i = 0; i < 200; i++) {
      for (const encoding of ["hex", "base64", "base64url"] as const) {
        // As good as random, and the same in every run: about one in 26,000 has "xxxx" in some case, which
        // is taken for a placeholder.
        const random = createHash("sha256").update(`secret ${i}`).digest(encoding);
        expect(fault({ [name]: random })).toBe("");
      }
    }
  });
});

describe("ISSUERS", () => {
  const acme = {
    issuer: "https://id.acme.example",
    jwks: "https://id.acme.example/jwks.json",
    algorithm: "RS256",
    tenants: ["acme"],
  };
  const globex = { ...acme, issuer: "https://id.globex.example", tenants: ["globex"] };

  it("are read from a JSON list", () => {
    const all = [acme, { ...globex, algorithm: "ES256", audience: "latchkey" }];
    expect(parseSettings({ ...good, ISSUERS: JSON.stringify(all) }).ISSUERS).toEqual(all);
    expect(parseSettings({ ...good, ISSUERS: "[]" }).ISSUERS).toEqual([]);
  });

  it.each<[string, unknown]>([
    ["text that is no JSON", "acme"],
    ["nothing", ""],
    ["no list", acme],
    ["an issuer without a name", [{ ...acme, issuer: "" }]],
    ["no address of its keys", [{ ...acme, jwks: undefined }]],
    ["an address that is none", [{ ...acme, jwks: "id.acme.example" }]],
    ["74: an address that is no web address", [{ ...acme, jwks: "file:///etc/passwd" }]],
    ["74: keys inside their address", [{ ...acme, jwks: 'data:application/json,{"keys":[]}' }]],
    ["30: no algorithm", [{ ...acme, algorithm: undefined }]],
    ["30: a list of algorithms", [{ ...acme, algorithm: ["RS256", "HS256"] }]],
    ["30: an algorithm whose key is a secret", [{ ...acme, algorithm: "HS256" }]],
    ["30: no algorithm at all, by name", [{ ...acme, algorithm: "none" }]],
    ["no tenants", [{ ...acme, tenants: [] }]],
    ["every tenant", [{ ...acme, tenants: ["*"] }]],
    ["a tenant that is no name", [{ ...acme, tenants: ["acme", "../x"] }]],
    ["an empty audience", [{ ...acme, audience: "" }]],
    ["a further member: it may be a misspelt bound", [{ ...acme, tenant: "acme" }]],
  ])("with %s are refused, by their name", (_, value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    expect(fault({ ISSUERS: text })).toMatch(/^Configuration: ISSUERS\b.*\.$/s);
  });

  it("30: that name an issuer twice, a tenant twice, or our own issuer are refused, and say so", () => {
    const of = (...all: object[]) => fault({ ISSUERS: JSON.stringify(all) });
    expect(of(acme, globex)).toBe("");
    expect(of(acme, { ...globex, issuer: acme.issuer })).toContain("names an issuer twice");
    expect(of(acme, { ...globex, tenants: ["globex", "acme"] })).toContain(
      "gives a tenant to two issuers",
    );
    expect(of({ ...acme, tenants: ["acme", "acme"] })).toBe("");
    expect(of({ ...acme, issuer: "latchkey" })).toContain("ISSUERS names TOKEN_ISSUER");
    expect(fault({ ISSUERS: JSON.stringify([acme]), TOKEN_ISSUER: acme.issuer })).toContain(
      "ISSUERS names TOKEN_ISSUER",
    );
  });

  it("that are wrong are not shown", () => {
    const misplaced = [{ ...acme, jwks: "S3cr3t-Value", tenants: ["S3cr3t Value"] }];
    expect(fault({ ISSUERS: JSON.stringify(misplaced) })).not.toContain("S3cr3t");
    expect(fault({ ISSUERS: "S3cr3t-Value" })).not.toContain("S3cr3t");
  });
});

describe("CORS_ORIGINS", () => {
  const read = (text: string) => parseSettings({ ...good, CORS_ORIGINS: text }).CORS_ORIGINS;

  it("are origins apart by commas, *, or none", () => {
    expect(read("https://shop.example")).toEqual(["https://shop.example"]);
    expect(read(" https://shop.example , http://localhost:5173,")).toEqual([
      "https://shop.example",
      "http://localhost:5173",
    ]);
    expect(read("*")).toEqual(["*"]);
    expect(read("")).toEqual([]);
    expect(read(" , ")).toEqual([]);
  });

  it.each([
    "shop.example",
    "https://",
    "https://*.shop.example",
    "https://shop.example/",
    "https://shop.example/checkout",
    "https://shop.example?x",
    "https://Shop.example",
    "https://shop.example:443",
    "https://user@shop.example",
    "ftp://shop.example",
    "null",
    "https://shop.example;https://other.example",
  ])("%s is refused: no browser sends it, and it would allow nobody", (text) => {
    expect(fault({ CORS_ORIGINS: text })).toMatch(/^Configuration: CORS_ORIGINS\b.*\.$/s);
  });
});

describe("TOKEN_SECRET_PREVIOUS", () => {
  it("may be set while rotating, and is held to what a secret is held to", () => {
    const previous = "w3Rt6Yu9Io2Pa5Sd8Fg1Hj4Kl7Zx0Cv3";
    expect(parseSettings(good)).not.toHaveProperty("TOKEN_SECRET_PREVIOUS");
    expect(parseSettings({ ...good, TOKEN_SECRET_PREVIOUS: previous }).TOKEN_SECRET_PREVIOUS).toBe(
      previous,
    );
    for (const value of ["shrt", "change-me-q7Zt0Vd2Hs8Lk4Xw9Nc1Jb6Fm3", "a".repeat(64)]) {
      const message = fault({ TOKEN_SECRET_PREVIOUS: value });
      expect(message).toContain("TOKEN_SECRET_PREVIOUS");
      expect(message).not.toContain(value);
    }
  });
});
