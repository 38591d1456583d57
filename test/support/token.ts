/** Bearer tokens: honest ones, from the project's own minting, and those that a forger would send. */
import { createHmac } from "node:crypto";
import { mint, type TokenRequest } from "../../scripts/mint.ts";
import { TEST_SECRETS } from "./server.ts";

/** Every scope of a tenant; none of an operator. */
export const TENANT_SCOPES = "payments:write orders:write stock:write ledger:fund read";

/** A token that a server with the test's secrets accepts, for an hour. */
export const tokenFor = async (
  tenant: string,
  request: Partial<Omit<TokenRequest, "tenant">> = {},
): Promise<string> =>
  mint({
    secret: TEST_SECRETS.TOKEN_SECRET,
    subject: "test",
    scope: TENANT_SCOPES,
    ttlSeconds: 3600,
    ...request,
    tenant,
  });

export type Forgery = {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Signs with HMAC; without it the token has an empty signature. */
  readonly secret?: string;
  /** Of the HMAC, whatever the header says. */
  readonly hash?: "sha256" | "sha384" | "sha512";
};

/** A JWT made by hand, so that nothing about it has to be right. */
export const forgeToken = ({ header, claims, secret, hash = "sha256" }: Forgery): string => {
  const part = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const signed = `${part(header)}.${part(claims)}`;
  const signature =
    secret === undefined ? "" : createHmac(hash, secret).update(signed).digest("base64url");
  return `${signed}.${signature}`;
};
