/** Who may pass: 401 before anything is looked up, then 403. Who calls is told by our own tokens, or by the host. */
import type { Scope } from "../contract/scopes.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import { authenticate, type Caller, KeySetUnavailable } from "./authentication.ts";
import type { Authenticator, HttpContext } from "./context.ts";
import { problemResponse } from "./problem-response.ts";
import { isRevoked } from "./revocation.ts";
import { settingsOf } from "./settings.ts";

/** The caller, if it is known and granted every scope; else the answer to send. */
export const admit = async (
  c: HttpContext,
  needed: readonly Scope[],
): Promise<Result<Caller, Response>> => {
  const caller = await c.get("latchkey.authenticator")(c);
  if (!caller.ok) return caller;
  c.set("latchkey.tenant", caller.value.tenant);
  const missing = needed.find((scope) => !caller.value.scopes.has(scope));
  return missing === undefined ? caller : fail(forbidden(c, missing));
};

/** By a token of ours or of a configured issuer, unless it was revoked. */
export const byToken: Authenticator = async (c) => {
  let caller: Result<Caller, string>;
  try {
    caller = await authenticate(c.req.header("Authorization"), settingsOf(c.env), Date.now());
  } catch (error) {
    if (!(error instanceof KeySetUnavailable)) throw error;
    return fail(problemResponse(c, "temporarily-unavailable", { detail: error.message }));
  }
  if (!caller.ok) return fail(unauthenticated(c, caller.failure));
  const revoked = await checkRevocation(c, caller.value);
  return revoked === undefined ? succeed(caller.value) : fail(revoked);
};

/** The answer to send if the token was revoked, or if that cannot be told. Asked again before a held answer leaves. */
export const checkRevocation = async (
  c: HttpContext,
  caller: Caller,
): Promise<Response | undefined> => {
  if (caller.token === undefined) return undefined;
  const revoked = await isRevoked(c.env, caller.token, Date.now(), (work) =>
    c.executionCtx.waitUntil(work),
  );
  if (revoked === "unknown") {
    return problemResponse(c, "temporarily-unavailable", {
      detail: "Whether the token was revoked could not be checked.",
    });
  }
  return revoked ? unauthenticated(c, "The token was revoked.") : undefined;
};

/** @param challenge how to authenticate (RFC 9110 section 11.6.1) */
export const unauthenticated = (
  c: HttpContext,
  detail: string,
  challenge = tokenChallenge(c, "invalid_token"),
): Response =>
  problemResponse(c, "unauthenticated", { detail, headers: { "WWW-Authenticate": challenge } });

/** RFC 6750 section 3.1: whoever has shown no bearer token is told what to bring, and of no error. */
const tokenChallenge = (c: HttpContext, error: string): string =>
  /^Bearer\b/i.test(c.req.header("Authorization") ?? "")
    ? `Bearer realm="latchkey", error="${error}"`
    : 'Bearer realm="latchkey"';

export const forbidden = (c: HttpContext, missing: Scope): Response =>
  problemResponse(c, "forbidden", { detail: `The token lacks the scope ${missing}.` });
