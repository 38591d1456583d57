/**
 * Who calls, told by the Worker that Latchkey is used in. What it says is parsed like a token's claims: a tenant that
 * could not be stored is nobody. Operators' rights are never among scopes, which a host may have from its tenants' own
 * tokens: it grants them by a member of their own.
 */
import { isOperators, isScope, type Scope } from "../contract/scopes.ts";
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
      /** Who of the tenant it is; the audit log keeps a hash of it, and of an operator the name. */
      readonly subject?: string;
      /**
       * Of the host's own staff: sees the uncertain keys of all tenants (`read`), and resolves them, too (`act`). Grants
       * nothing without a `subject`: an operator is named in the audit log.
       */
      readonly operator?: "read" | "act";
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
    const { subject, operator } = caller;
    return succeed({
      tenant: tenant.data,
      scopes: new Set([...granted, ...operatorScopes(operator, subject)]),
      ...(subject === undefined ? {} : { who: { issuer: "host", subject } }),
    });
  };

/** Another value, of a host without types, grants nothing. */
const operatorScopes = (operator: unknown, subject: string | undefined): readonly Scope[] => {
  if ((subject ?? "") === "") return [];
  return operator === "act" ? ["ops:read", "ops:act"] : operator === "read" ? ["ops:read"] : [];
};
