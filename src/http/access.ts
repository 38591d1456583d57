/** Who may pass: 401 before anything is looked up, then 403. */
import type { Scope } from "../contract/scopes.ts";
import { fail, type Result } from "../kernel/result.ts";
import { authenticate, type Caller } from "./authentication.ts";
import type { HttpContext } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

/** The caller, if its token is good and grants every scope; else the answer to send. */
export const admit = async (
  c: HttpContext,
  needed: readonly Scope[],
): Promise<Result<Caller, Response>> => {
  const caller = await authenticate(c.req.header("Authorization"), c.get("settings"), Date.now());
  if (!caller.ok) {
    return fail(
      problemResponse(c, "unauthenticated", {
        detail: caller.failure,
        // RFC 6750 section 3.
        headers: { "WWW-Authenticate": 'Bearer realm="latchkey", error="invalid_token"' },
      }),
    );
  }
  const missing = needed.find((scope) => !caller.value.scopes.has(scope));
  return missing === undefined ? caller : fail(forbidden(c, missing));
};

export const forbidden = (c: HttpContext, missing: Scope): Response =>
  problemResponse(c, "forbidden", { detail: `The token lacks the scope ${missing}.` });
