/**
 * Who calls through the gateway, and so whose keys are asked for.
 *
 * `auth: jwt`: a token of ours in `Latchkey-Authorization`; what the upstream's own credential is concerns the upstream.
 * `auth: passthrough`: nobody is asked. The tenant is a keyed hash of the credential that the upstream will judge, so
 * whoever does not have the credential cannot name the tenant, and a made-up one has an empty space of keys to itself.
 * Another credential is another tenant, also the new one of the same customer: see docs/gateway.md.
 */
import { createHash, createHmac } from "node:crypto";
import { CREDENTIAL_TENANT, type Gateway, type RouteAuth } from "../gateway/route-policy.ts";
import { LATCHKEY_AUTHORIZATION } from "../gateway/headers.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { ASSIGNED_TENANTS_MAX } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import { byToken, byTokenIn, forbidden, unauthenticated } from "./access.ts";
import { type Caller, namesKnownIssuer } from "./authentication.ts";
import type { Authenticator, HttpContext } from "./context.ts";
import { gatewayOf, settingsOf } from "./settings.ts";

/** What a token has to grant for a call through a route with `auth: jwt`. */
const GATEWAY_SCOPE = "gateway:call";

export type GatewayCaller = {
  readonly tenant: string;
  /** Whose new keys are counted together. */
  readonly counter: string;
  /** Lower-case name of the header with the upstream's credential. */
  readonly credential: string;
  /** The key as the upstream is told. */
  readonly upstreamKey: (key: string) => string;
  /** For what is checked again before a held answer leaves; null where no token was brought. */
  readonly caller: Caller | null;
};

/** 401 and 403, before anything is looked up. */
export const admitToRoute = async (
  c: HttpContext,
  auth: RouteAuth,
): Promise<Result<GatewayCaller, Response>> => {
  if (auth.kind === "jwt") {
    const caller = await byTokenIn(c, LATCHKEY_AUTHORIZATION);
    if (!caller.ok) return caller;
    if (!caller.value.scopes.has(GATEWAY_SCOPE)) return fail(forbidden(c, GATEWAY_SCOPE));
    const { tenant } = caller.value;
    return succeed({
      tenant,
      counter: tenant,
      credential: "authorization",
      // Tenants may share one credential of the upstream's: there, their keys must not meet.
      upstreamKey: (key) => derivedKey(tenant, key),
      caller: caller.value,
    });
  }
  const credential = c.req.header(auth.header);
  if (auth.tenant === null && (credential ?? "") === "") {
    return fail(
      unauthenticated(
        c,
        `Send the upstream's credential in ${auth.header}.`,
        'Bearer realm="latchkey"',
      ),
    );
  }
  if (auth.tenant === null && isGarbled(credential)) {
    return fail(unauthenticated(c, `${auth.header} is not UTF-8.`, 'Bearer realm="latchkey"'));
  }
  return succeed({
    tenant: auth.tenant ?? credentialTenant(auth.header, credential ?? "", secretOf(c)),
    // A credential that nobody has judged proves no tenant: else each made-up one would have a limit of its own.
    counter: auth.tenant ?? `address ${c.req.header("CF-Connecting-IP") ?? "unknown"}`,
    credential: auth.header,
    upstreamKey: (key) => key,
    caller: null,
  });
};

/**
 * For our own routes under the gateway: our tokens, in `Latchkey-Authorization` or as usual; and a credential of the
 * upstream's for the keys that were made with it, and for nothing else of ours.
 */
export const byTokenOrCredential: Authenticator = async (c) => {
  if (c.req.header(LATCHKEY_AUTHORIZATION) !== undefined) {
    return byTokenIn(c, LATCHKEY_AUTHORIZATION);
  }
  const isOfKeys = /\/v1\/idempotency-keys(\/|$)/.test(c.req.path);
  if (!isOfKeys || namesKnownIssuer(c.req.header("Authorization"), settingsOf(c.env))) {
    return byToken(c);
  }
  const header = credentialHeaders(gatewayOf(c.env)).find(
    (name) => (c.req.header(name) ?? "") !== "",
  );
  if (header === undefined || isGarbled(c.req.header(header))) return byToken(c);
  return succeed({
    tenant: credentialTenant(header, c.req.header(header) ?? "", secretOf(c)),
    scopes: new Set(["read", "payments:write"] as const),
  });
};

/** The headers that may name whose keys are asked for; lower-case. */
export const credentialHeadersOf = (c: HttpContext): readonly string[] =>
  credentialHeaders(gatewayOf(c.env));

/** Of all routes whose tenants are hashed credentials. */
const credentialHeaders = ({ routes, fallback }: Gateway): string[] => [
  ...new Set(
    [...routes, ...(fallback === null ? [] : [fallback])].flatMap(({ auth }) =>
      auth.kind === "passthrough" && auth.tenant === null ? [auth.header] : [],
    ),
  ),
];

/** The runtime reads a byte that is no UTF-8 as U+FFFD: two credentials would be one, and so two tenants. */
const isGarbled = (credential: string | undefined): boolean =>
  (credential ?? "").includes("\uFFFD");

/** Another secret makes other tenants: it is the one that is never rotated. */
const secretOf = (c: HttpContext): string => {
  const { CREDENTIAL_SECRET, FINGERPRINT_SECRET } = c.get("latchkey.settings");
  return CREDENTIAL_SECRET ?? FINGERPRINT_SECRET;
};

/** By header, secret and credential: an isolate sees the same few again and again. */
const tenants = new BoundedMap<string, string>(ASSIGNED_TENANTS_MAX);

const credentialTenant = (header: string, credential: string, secret: string): string => {
  const hashed = `latchkey-credential-1\n${header}\n${credential}`;
  const name = `${secret}\n${hashed}`;
  const known = tenants.get(name);
  if (known !== undefined) return known;
  const tenant =
    CREDENTIAL_TENANT + createHmac("sha256", secret).update(hashed).digest("base64url");
  tenants.set(name, tenant);
  return tenant;
};

/** The lengths stand before the parts, so that no two pairs spell one text. */
const derivedKey = (tenant: string, key: string): string =>
  createHash("sha256")
    .update(`latchkey-key-1\n${tenant.length}:${tenant}/${key}`)
    .digest("base64url");
