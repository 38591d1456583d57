/**
 * Who calls, told by the Worker that Latchkey is used in. What it says is parsed like a token's claims: a tenant that
 * could not be stored is nobody, and operators' scopes are not the host's to grant.
 */
import { isOperators, isScope } from "../contract/scopes.ts";
import { tenantName } from "../env.ts";
import { fail, succeed } from "../kernel/result.ts";
import { unauthenticated } from "./access.ts";
import type { Authenticator } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

/** Whose request this is and what it may do; or a sentence why it is nobody's, for the 401. */
export type HostCaller =
  /** Scopes that are none, or operators', are dropped. */
  | {
      readonly tenant: string;
      readonly scopes: readonly string[] | ReadonlySet<string>;
      /** Who of the tenant it is; the audit log keeps a hash of it. */
      readonly subject?: string;
    }
  | {
      readonly refused: string;
      /** The `WWW-Authenticate` of the 401; "Bearer" unless said. */
      readonly challenge?: string;
    };

/**
 * Asked once for each request. If it throws, nobody was judged: 503, and the caller tries again.
 * @param request its body is not the authenticator's to read
 */
export type HostAuthenticate<Env> = (
  request: Request,
  env: Env,
) => HostCaller | Promise<HostCaller>;

export const byHost =
  <Env>(authenticate: HostAuthenticate<Env>): Authenticator =>
  async (c) => {
    let caller: HostCaller;
    try {
      // The host names its bindings' type where it hands the authenticator over.
      caller = await authenticate(c.req.raw, c.env as Env);
    } catch (error) {
      console.error(
        JSON.stringify({
          level: "error",
          event: "authenticator-failed",
          requestId: c.get("latchkey.requestId"),
          error: String(error),
        }),
      );
      return fail(
        problemResponse(c, "temporarily-unavailable", {
          detail: "Who calls could not be checked.",
        }),
      );
    }
    if ("refused" in caller) {
      return fail(unauthenticated(c, caller.refused, caller.challenge ?? "Bearer"));
    }
    const tenant = tenantName.safeParse(caller.tenant);
    if (!tenant.success) {
      return fail(unauthenticated(c, "The credentials name no usable tenant.", "Bearer"));
    }
    const granted = [...caller.scopes].filter(isScope).filter((scope) => !isOperators(scope));
    const { subject } = caller;
    return succeed({
      tenant: tenant.data,
      scopes: new Set(granted),
      ...(subject === undefined ? {} : { who: { issuer: "host", subject } }),
    });
  };
