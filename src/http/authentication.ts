/**
 * Bearer tokens (RFC 6750) that are JWTs (RFC 7519), verified by jose with one pinned algorithm. The tenant comes
 * from the token alone: no header, path or body can name another.
 */
import { errors, jwtVerify } from "jose";
import { z } from "zod";
import { isScope, type Scope } from "../contract/scopes.ts";
import type { Settings } from "../env.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { TOKEN_CLOCK_TOLERANCE_SECONDS, VERIFIED_TOKENS_MAX } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";

export type Caller = {
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
};

/** A tenant's name: short, printable, and free of what would need escaping anywhere. */
const tenantName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/);

const claimsSchema = z.object({
  iss: z.string(),
  sub: z.string().min(1),
  tenant: z.string().optional(),
  scope: z.string().default(""),
  exp: z.number(),
  nbf: z.number().optional(),
  jti: z.string().min(1),
});

type Claims = z.output<typeof claimsSchema>;

/** Tokens whose signature was found good, for this secret. Times are judged on every request. */
const verified = new BoundedMap<string, Claims>(VERIFIED_TOKENS_MAX);

/** Who calls, or a sentence why the token is not accepted. */
export const authenticate = async (
  authorization: string | undefined,
  settings: Settings,
  nowMs: number,
): Promise<Result<Caller, string>> => {
  const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) return fail("Send Authorization: Bearer followed by a JWT.");
  const cacheKey = `${settings.TOKEN_SECRET.length}:${settings.TOKEN_SECRET}${settings.TOKEN_ISSUER} ${token}`;
  let claims = verified.get(cacheKey);
  if (claims === undefined) {
    const checked = await verifySignature(token, settings);
    if (!checked.ok) return checked;
    claims = checked.value;
    verified.set(cacheKey, claims);
  }
  const nowS = nowMs / 1000;
  if (claims.exp <= nowS) return fail("The token has expired.");
  if (claims.nbf !== undefined && claims.nbf > nowS + TOKEN_CLOCK_TOLERANCE_SECONDS) {
    return fail("The token is not valid yet.");
  }
  const tenant = tenantName.safeParse(claims.tenant ?? claims.sub);
  if (!tenant.success) return fail("The token names no usable tenant.");
  return succeed({
    tenant: tenant.data,
    scopes: new Set(claims.scope.split(" ").filter(isScope)),
  });
};

const verifySignature = async (
  token: string,
  settings: Settings,
): Promise<Result<Claims, string>> => {
  try {
    const { payload } = await jwtVerify(token, new TextEncoder().encode(settings.TOKEN_SECRET), {
      // Pinned: what the token says of its own algorithm is not asked.
      algorithms: ["HS256"],
      issuer: settings.TOKEN_ISSUER,
      requiredClaims: ["exp", "jti", "sub"],
      // Judged by us on every request, also for a cached signature.
      currentDate: new Date(0),
      clockTolerance: Number.MAX_SAFE_INTEGER,
    });
    const claims = claimsSchema.safeParse(payload);
    return claims.success ? succeed(claims.data) : fail("The token's claims are malformed.");
  } catch (error) {
    if (error instanceof errors.JOSEError) return fail("The token is not valid.");
    throw error;
  }
};
