/** Who may pass: 401 before anything is looked up, then 403. */
import type { Scope } from "../contract/scopes.ts";
import { fail, type Result } from "../kernel/result.ts";
import { authenticate, type Caller, KeySetUnavailable } from "./authentication.ts";
import type { HttpContext } from "./context.ts";
import { problemResponse } from "./problem-response.ts";
import { isRevoked } from "./revocation.ts";

/** The caller, if its token is good and grants every scope; else the answer to send. */
export const admit = async (
  c: HttpContext,
  needed: readonly Scope[],
): Promise<Result<Caller, Response>> => {
  let caller: Result<Caller, string>;
  try {
    caller = await authenticate(c.req.header("Authorization"), c.get("settings"), Date.now());
  } catch (error) {
    if (!(error instanceof KeySetUnavailable)) throw error;
    return fail(problemResponse(c, "temporarily-unavailable", { detail: error.message }));
  }
  if (!caller.ok) return fail(unauthenticated(c, caller.failure));
  const revoked = await checkRevocation(c, caller.value);
  if (revoked !== undefined) return fail(revoked);
  const missing = needed.find((scope) => !caller.value.scopes.has(scope));
  return missing === undefined ? caller : fail(forbidden(c, missing));
};

/** The answer to send if the token was revoked, or if that cannot be told. Asked again before a held answer leaves. */
export const checkRevocation = async (
  c: HttpContext,
  caller: Caller,
): Promise<Response | undefined> => {
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

const unauthenticated = (c: HttpContext, detail: string): Response =>
  problemResponse(c, "unauthenticated", {
    detail,
    headers: { "WWW-Authenticate": challenge(c.req.header("Authorization")) },
  });

/** RFC 6750 section 3.1: whoever has shown no bearer token is told what to bring, and of no error. */
const challenge = (authorization: string | undefined): string =>
  /^Bearer\b/i.test(authorization ?? "")
    ? 'Bearer realm="latchkey", error="invalid_token"'
    : 'Bearer realm="latchkey"';

export const forbidden = (c: HttpContext, missing: Scope): Response =>
  problemResponse(c, "forbidden", { detail: `The token lacks the scope ${missing}.` });
