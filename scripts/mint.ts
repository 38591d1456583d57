import { randomUUID } from "node:crypto";
import { SignJWT } from "jose";

export type TokenRequest = {
  readonly secret: string;
  readonly tenant: string;
  /** Who the token stands for, in the audit. */
  readonly subject: string;
  /** Scopes, separated by spaces. */
  readonly scope: string;
  readonly ttlSeconds: number;
  readonly issuer?: string;
};

/** Signs a bearer token as the Worker expects it by default: HS256, with every claim it asks for. */
export const mint = async (request: TokenRequest): Promise<string> =>
  new SignJWT({ tenant: request.tenant, scope: request.scope })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(request.issuer ?? "latchkey")
    .setSubject(request.subject)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + request.ttlSeconds)
    .sign(new TextEncoder().encode(request.secret));
