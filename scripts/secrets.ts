/**
 * The two secrets, outside Cloudflare: `.dev.vars` for local work, the environment for scripts and
 * deployments. Values are random bytes that nobody chose; nothing here ever prints one.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { Complaint, root } from "./tool.ts";

const SECRETS = ["TOKEN_SECRET", "FINGERPRINT_SECRET"] as const;
const devVars = join(root, ".dev.vars");

/** HS256 wants a key as long as its hash (RFC 7518, section 3.2). The Worker asks for the same. */
const SECRET_LENGTH_MIN = 32;

/** Writes `.dev.vars` with fresh secrets where there is none. Returns whether it did. */
export const ensureDevVars = (): boolean => {
  if (existsSync(devVars)) {
    const missing = SECRETS.filter((name) => !readDevVars()[name]);
    if (missing.length > 0) {
      throw new Complaint(
        `.dev.vars has no ${missing.join(" and no ")}. Delete the file to have a new one written, or add the lines.`,
      );
    }
    return false;
  }
  const lines = SECRETS.map((name) => `${name}=${randomSecret()}`);
  writeFileSync(
    devVars,
    `# Local secrets, made at random. Not for any deployment, never committed.\n${lines.join("\n")}\n`,
    { mode: 0o600, flag: "wx" },
  );
  return true;
};

/** The secret that tokens are signed with: from the environment, else from `.dev.vars`. */
export const tokenSecret = (): string => {
  const secret = process.env["TOKEN_SECRET"] ?? readDevVars()["TOKEN_SECRET"];
  if (!secret) {
    throw new Complaint(
      "No TOKEN_SECRET: there is none in the environment and none in .dev.vars. `npm run dev` writes one.",
    );
  }
  const fault = faultOf(secret);
  if (fault !== undefined) throw new Complaint(`TOKEN_SECRET ${fault}.`);
  return secret;
};

/** Why a value cannot be a secret, to be read after its name; undefined if it can. */
export const faultOf = (value: string): string | undefined => {
  if (value.length < SECRET_LENGTH_MIN) return `is shorter than ${SECRET_LENGTH_MIN} characters`;
  if (/change.?me|replace.?me|placeholder|your[-_ ]|xxxx|<|>/i.test(value))
    return "is a placeholder";
  if (new Set(value).size < 10) return "is too regular to be random";
  return undefined;
};

const randomSecret = (): string => {
  const value = randomBytes(48).toString("base64url");
  // Chance spells a suspicious word now and then.
  return faultOf(value) === undefined ? value : randomSecret();
};

const readDevVars = (): NodeJS.Dict<string> =>
  existsSync(devVars) ? parseEnv(readFileSync(devVars, "utf8")) : {};
