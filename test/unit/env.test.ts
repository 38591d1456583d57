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
  ])("%s = %j is refused, by its name", (name, value) => {
    expect(fault({ [name]: value })).toMatch(new RegExp(`^Configuration: ${name} .*\\.$`));
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
