/**
 * Bearer tokens (RFC 6750) that are JWTs (RFC 7519), verified by jose with one algorithm pinned for each issuer. The
 * tenant comes from the token alone: no header, path or body can name another, and an issuer can name only its own.
 */
import { createRemoteJWKSet, decodeJwt, errors, type JWTVerifyOptions, jwtVerify } from "jose";
import { z } from "zod";
import { isOperators, isScope, type Scope } from "../contract/scopes.ts";
import { type Settings, tenantName } from "../env.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import {
  JWKS_TIMEOUT_MS,
  TOKEN_CLOCK_TOLERANCE_SECONDS,
  TOKEN_ID_LENGTH_MAX,
  VERIFIED_TOKENS_MAX,
} from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";

export type Caller = {
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
  /** What a revocation names. None: a host that knows its callers by itself revokes by itself. */
  readonly token?: Token;
  /** Who it is, for the audit log. None: a host that does not say. */
  readonly who?: Who;
};

export type Who = { readonly issuer: string; readonly subject: string };

export type Token = { readonly issuer: string; readonly jti: string };

const claimsSchema = z.object({
  iss: z.string(),
  sub: z.string().min(1),
  tenant: z.string().optional(),
  scope: z.string().default(""),
  exp: z.number(),
  nbf: z.number().optional(),
  // As much as can be named when it is revoked.
  jti: z.string().min(1).max(TOKEN_ID_LENGTH_MAX),
});

type Claims = z.output<typeof claimsSchema>;

/**
 * Tokens whose signature was found good, under these very settings. Only the signature is remembered: times are judged
 * on every request, and so is revocation.
 */
const verified = new WeakMap<Settings, BoundedMap<string, Claims>>();

/**
 * Who calls, or a sentence why the token is not accepted.
 * @param header where it was to be found
 */
export const authenticate = async (
  authorization: string | undefined,
  settings: Settings,
  nowMs: number,
  header = "Authorization",
): Promise<Result<Caller, string>> => {
  const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) return fail(`Send ${header}: Bearer followed by a JWT.`);
  const known = verified.get(settings) ?? new BoundedMap(VERIFIED_TOKENS_MAX);
  verified.set(settings, known);
  let claims = known.get(token);
  if (claims === undefined) {
    const checked = await verifySignature(token, settings);
    if (!checked.ok) return checked;
    claims = checked.value;
    known.set(token, claims);
  }
  const nowS = nowMs / 1000;
  if (claims.exp <= nowS) return fail("The token has expired.");
  if (claims.nbf !== undefined && claims.nbf > nowS + TOKEN_CLOCK_TOLERANCE_SECONDS) {
    return fail("The token is not valid yet.");
  }
  const tenant = tenantName.safeParse(claims.tenant ?? claims.sub);
  if (!tenant.success) return fail("The token names no usable tenant.");
  if (!mayName(claims.iss, tenant.data, settings)) {
    return fail("The token's issuer may not name this tenant.");
  }
  return succeed({
    tenant: tenant.data,
    scopes: scopesOf(claims, settings),
    token: { issuer: claims.iss, jti: claims.jti },
    who: { issuer: claims.iss, subject: claims.sub },
  });
};

/** Operators' rights reach beyond a tenant: only our own issuer grants them. */
const scopesOf = ({ iss, scope }: Claims, settings: Settings): ReadonlySet<Scope> => {
  const isForeign = foreignIssuer(iss, settings) !== undefined;
  const granted = scope.split(" ").filter(isScope);
  return new Set(granted.filter((one) => !(isForeign && isOperators(one))));
};

/** Somebody else's issuer, by its name; undefined for our own, and for one that nobody knows. */
const foreignIssuer = (name: string | undefined, { ISSUERS }: Settings) =>
  ISSUERS.find(({ issuer }) => issuer === name);

/** Our own issuer names any tenant but those that belong to another's. */
const mayName = (issuer: string, tenant: string, settings: Settings): boolean => {
  const owner = settings.ISSUERS.find(({ tenants }) => tenants.includes(tenant));
  const foreign = foreignIssuer(issuer, settings);
  return foreign === undefined ? owner === undefined : foreign.tenants.includes(tenant);
};

/** Whether an Authorization header holds a token that says it is by an issuer whom we know. It is not verified here. */
export const namesKnownIssuer = (
  authorization: string | undefined,
  settings: Settings,
): boolean => {
  const token = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) return false;
  try {
    const { iss } = decodeJwt(token);
    return iss === settings.TOKEN_ISSUER || foreignIssuer(iss, settings) !== undefined;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
};

const verifySignature = async (
  token: string,
  settings: Settings,
): Promise<Result<Claims, string>> => {
  try {
    // Read before it is verified, only to choose the key; what is returned comes from the verification.
    const { iss } = decodeJwt(token);
    const foreign = foreignIssuer(iss, settings);
    const options: JWTVerifyOptions = {
      issuer: foreign?.issuer ?? settings.TOKEN_ISSUER,
      // Pinned: what the token says of its own algorithm is not asked.
      algorithms: [foreign?.algorithm ?? "HS256"],
      requiredClaims: ["exp", "jti", "sub"],
      // Judged by us on every request, also for a cached signature.
      currentDate: new Date(0),
      clockTolerance: Number.MAX_SAFE_INTEGER,
      ...(foreign?.audience === undefined ? {} : { audience: foreign.audience }),
    };
    const { payload } =
      foreign === undefined
        ? await verifyWithSecrets(token, settings, options)
        : await verifyWithKeySet(token, foreign.jwks, options);
    const claims = claimsSchema.safeParse(payload);
    return claims.success ? succeed(claims.data) : fail("The token's claims are malformed.");
  } catch (error) {
    if (error instanceof errors.JOSEError) return fail("The token is not valid.");
    throw error;
  }
};

/** The current secret, and while rotating the previous one. */
const verifyWithSecrets = async (
  token: string,
  { TOKEN_SECRET, TOKEN_SECRET_PREVIOUS }: Settings,
  options: JWTVerifyOptions,
) => {
  try {
    return await jwtVerify(token, new TextEncoder().encode(TOKEN_SECRET), options);
  } catch (error) {
    const other = TOKEN_SECRET_PREVIOUS;
    if (!(error instanceof errors.JWSSignatureVerificationFailed) || other === undefined)
      throw error;
    return jwtVerify(token, new TextEncoder().encode(other), options);
  }
};

/** An issuer's keys could not be had: the token is neither good nor bad. */
export class KeySetUnavailable extends Error {
  override readonly name = "KeySetUnavailable";
}

const verifyWithKeySet = async (token: string, url: string, options: JWTVerifyOptions) => {
  try {
    return await jwtVerify(token, remoteKeys(url), options);
  } catch (error) {
    const judged = error instanceof errors.JOSEError && !isFetchFailure(error);
    throw judged
      ? error
      : new KeySetUnavailable("The issuer's keys could not be fetched.", { cause: error });
  }
};

/** jose says so with the plain base class when the answer is no JSON, and with classes of its own for the rest. */
const isFetchFailure = (error: Error): boolean =>
  error instanceof errors.JWKSTimeout ||
  error instanceof errors.JWKSInvalid ||
  error.constructor === errors.JOSEError;

/** Fetched when needed, kept by jose, fetched anew when a token names a key that is not among them. */
const keySets = new Map<string, ReturnType<typeof createRemoteJWKSet>>();

const remoteKeys = (url: string) => {
  const known = keySets.get(url);
  if (known !== undefined) return known;
  const made = createRemoteJWKSet(new URL(url), { timeoutDuration: JWKS_TIMEOUT_MS });
  keySets.set(url, made);
  return made;
};
