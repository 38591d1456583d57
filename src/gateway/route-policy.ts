/**
 * Which upstream a request goes to, and how it is called, judged and kept: what the vars `UPSTREAM_ORIGIN` and
 * `GATEWAY_ROUTES` say, parsed once. Every mistake is named, and with a mistake nothing is served: a route that was
 * meant to protect and does not would be found out by a customer who paid twice.
 *
 * Guarantees: a request goes to an upstream that the configuration names, or nowhere; a POST or PATCH is unprotected
 * only where a route says `protect: false`, or lets a missing key pass.
 */
import { z } from "zod";
import { jsonText } from "../kernel/json-text.ts";
import {
  HEAL_ATTEMPTS_DEFAULT,
  HEAL_ATTEMPTS_MAX,
  HEAL_ELAPSED_SECONDS_DEFAULT,
  KEY_LIFETIME_SECONDS,
  KEY_LIFETIME_SECONDS_MAX,
  ROUTE_KEY_LIFETIME_SECONDS_MIN,
  ROUTE_TOMBSTONE_SECONDS_MAX,
  ROUTES_MAX,
  STATUS_QUIET_MS_DEFAULT,
  STATUS_QUIET_MS_MAX,
  TOMBSTONE_SECONDS,
  UPSTREAM_TIMEOUT_MS_DEFAULT,
  UPSTREAM_TIMEOUT_MS_MAX,
  UPSTREAM_TIMEOUT_MS_MIN,
  WAIT_SECONDS_MAX,
} from "../kernel/limits.ts";
import type { ExchangePolicy, Upstream } from "./exchange.ts";
import { isNeverKept } from "./headers.ts";
import { isPathPattern, matchesPath } from "./path-pattern.ts";
import { originFault } from "./upstream-origin.ts";

/** Who a caller is: a tenant of ours by a token, or whoever brings one and the same credential of the upstream's. */
export type RouteAuth =
  | { readonly kind: "jwt" }
  | {
      readonly kind: "passthrough";
      /** Lower-case name of the header whose value is the credential. */
      readonly header: string;
      /** Whose keys they are, whatever credential comes; null: each credential's own. */
      readonly tenant: string | null;
    };

export type Route = {
  readonly method: RouteMethod;
  readonly path: string;
  readonly auth: RouteAuth;
  /** False: what the route matches passes through, whatever its method and key. */
  readonly protect: boolean;
  /** What a POST or PATCH without a key gets: 400, or a pass-through that is marked as unprotected. */
  readonly missingKey: "reject" | "pass";
  /**
   * How long a caller that does not say holds while its key is in flight, milliseconds. For clients that give up on 423:
   * they hear the outcome instead, if it comes by then.
   */
  readonly waitMs: number;
  readonly policy: ExchangePolicy;
};

export type Gateway = {
  /** In order; the first that matches counts. */
  readonly routes: readonly Route[];
  /** For what no route matches; null: that is not found. */
  readonly fallback: Route | null;
};

const METHODS = ["*", "GET", "POST", "PUT", "PATCH", "DELETE"] as const;
type RouteMethod = (typeof METHODS)[number];

/** The route that counts for a request. HEAD is judged like GET, OPTIONS by its path alone. */
export const routeFor = (gateway: Gateway, method: string, path: string): Route | null =>
  gateway.routes.find(
    (route) => matchesMethod(route.method, method) && matchesPath(route.path, path),
  ) ?? gateway.fallback;

const matchesMethod = (wanted: RouteMethod, method: string): boolean =>
  wanted === "*" ||
  method === "OPTIONS" ||
  wanted === method ||
  (wanted === "GET" && method === "HEAD");

/** Whether the vars ask for the gateway at all. An empty text is a var that is not set. */
export const isGateway = (env: object): boolean =>
  textOf(env, "UPSTREAM_ORIGIN") !== "" || !["", "[]"].includes(textOf(env, "GATEWAY_ROUTES"));

/** Throws an Error that names every setting that is wrong, and never the value of a secret. */
export const parseGateway = (env: object): Gateway => {
  const faults: string[] = [];
  const origin = textOf(env, "UPSTREAM_ORIGIN");
  if (origin !== "") {
    const fault = originFault(origin);
    if (fault !== undefined) faults.push(`UPSTREAM_ORIGIN ${fault}`);
  }
  const parsed = routesSchema.safeParse(textOf(env, "GATEWAY_ROUTES") || "[]");
  if (!parsed.success) {
    faults.push(
      ...parsed.error.issues.map(
        ({ path, message }) => `${["GATEWAY_ROUTES", ...path].join(".")} ${message}`,
      ),
    );
  }
  const found = (parsed.data ?? []).map((route, i) => toRoute(route, i, origin, env));
  faults.push(...found.flatMap((one) => one.faults));
  if (faults.length > 0) throw new Error(`Configuration: ${faults.join("; ")}.`);
  const routes = found.flatMap(({ route }) => (route === undefined ? [] : [route]));
  const fallback =
    origin === ""
      ? null
      : (toRoute(routeSchema.parse({ path: "/**", name: "default" }), 0, origin, env).route ??
        null);
  return { routes, fallback };
};

export const textOf = (env: object, name: string): string => {
  const value: unknown = Reflect.get(env, name);
  return typeof value === "string" ? value.trim() : "";
};

const seconds = (min: number, max: number) => z.number().int().min(min).max(max);
const headerName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, "is not the name of a header")
  .transform((name) => name.toLowerCase());
const status = z.number().int().min(200).max(599);

/** The text of a tenant that a route fixes: as short and printable as any, and never that of a hashed credential. */
const fixedTenant = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/, "is not the name of a tenant")
  .refine((name) => !name.startsWith(CREDENTIAL_TENANT), "begins like a hashed credential");

/** What the tenant is called whose keys belong to one credential: this, and a keyed hash. */
export const CREDENTIAL_TENANT = "credential:";

/** How an upstream is called and judged. */
export const policyMembers = {
  timeoutMs: z
    .number()
    .int()
    .min(UPSTREAM_TIMEOUT_MS_MIN)
    .max(UPSTREAM_TIMEOUT_MS_MAX)
    .default(UPSTREAM_TIMEOUT_MS_DEFAULT),
  finalStatuses: z.array(status).min(1).nullable().default(null),
  honoursKey: z.boolean().default(false),
  status: z
    .strictObject({
      path: z
        .string()
        .regex(/^\/[^\s#]*$/, "is not a path")
        .refine((path) => path.includes("{key}"), "does not say where the {key} goes"),
      absenceIsFinal: z.boolean().default(false),
      quietMs: z.number().int().min(0).max(STATUS_QUIET_MS_MAX).default(STATUS_QUIET_MS_DEFAULT),
    })
    .nullable()
    .default(null),
  heal: z
    .strictObject({
      attemptsMax: z.number().int().min(0).max(HEAL_ATTEMPTS_MAX).default(HEAL_ATTEMPTS_DEFAULT),
      elapsedSecondsMax: z
        .number()
        .int()
        .min(0)
        .max(KEY_LIFETIME_SECONDS_MAX)
        .default(HEAL_ELAPSED_SECONDS_DEFAULT),
    })
    .prefault({}),
};

const policySchema = z.object(policyMembers);

/** The same, as an exchange goes by it. */
export const policyOf = ({
  timeoutMs,
  finalStatuses,
  honoursKey,
  status: asked,
  heal,
}: z.output<typeof policySchema>): Pick<
  ExchangePolicy,
  "timeoutMs" | "finalStatuses" | "honoursKey" | "status" | "heal"
> => ({
  timeoutMs,
  finalStatuses,
  honoursKey,
  status: asked,
  heal: { attemptsMax: heal.attemptsMax, elapsedMsMax: heal.elapsedSecondsMax * 1000 },
});

const routeSchema = z
  .strictObject({
    name: z.string().min(1).max(64).optional(),
    method: z.enum(METHODS).default("*"),
    path: z
      .string()
      .refine(
        isPathPattern,
        "is not a path pattern: segments, * for one segment, ** at the end for the rest",
      ),
    upstream: z.string().optional(),
    ...policyMembers,
    keyLifetimeSeconds: seconds(ROUTE_KEY_LIFETIME_SECONDS_MIN, KEY_LIFETIME_SECONDS_MAX).default(
      KEY_LIFETIME_SECONDS,
    ),
    tombstoneSeconds: seconds(0, ROUTE_TOMBSTONE_SECONDS_MAX).default(TOMBSTONE_SECONDS),
    keepHeaders: z
      .array(headerName.refine((name) => !isNeverKept(name), "names a header that is never kept"))
      .max(100)
      .nullable()
      .default(null),
    missingKey: z.enum(["reject", "pass"]).default("reject"),
    protect: z.boolean().default(true),
    waitSeconds: z.number().int().min(0).max(WAIT_SECONDS_MAX).default(0),
    auth: z.enum(["jwt", "passthrough"]).default("passthrough"),
    credentialHeader: headerName
      .refine((name) => name !== "cookie", "is cookie, which changes from request to request")
      .default("authorization"),
    tenant: fixedTenant.nullable().default(null),
    webhook: z
      .strictObject({
        url: z.url(),
        secretName: z.string().regex(/^[A-Z][A-Z0-9_]*$/, "is not the name of a secret"),
      })
      .nullable()
      .default(null),
  })
  .refine(({ auth, tenant }) => auth !== "jwt" || tenant === null, {
    path: ["tenant"],
    message: "is what the token says where auth is jwt",
  })
  // A key that is forgotten while it is still being healed would run again.
  .refine(
    ({ heal, keyLifetimeSeconds, status: asked, timeoutMs }) =>
      heal.elapsedSecondsMax + (timeoutMs + (asked?.quietMs ?? 0)) / 1000 <= keyLifetimeSeconds,
    {
      path: ["heal", "elapsedSecondsMax"],
      message: "with the time-out and the quiet period is longer than the key lives",
    },
  );

type RouteInput = z.output<typeof routeSchema>;

const routesSchema = jsonText.pipe(z.array(routeSchema).max(ROUTES_MAX));

/** What the schema cannot judge: whether what a route names exists here. */
const toRoute = (
  input: RouteInput,
  i: number,
  defaultOrigin: string,
  env: object,
): { readonly route?: Route; readonly faults: readonly string[] } => {
  const place = `GATEWAY_ROUTES.${i}`;
  const faults: string[] = [];
  const named = input.upstream ?? defaultOrigin;
  const upstream = upstreamOf(named, env);
  if (typeof upstream === "string") faults.push(`${place}.upstream ${upstream}`);
  if (input.webhook !== null) {
    const fault = originFault(URL.parse(input.webhook.url)?.origin ?? "");
    if (fault !== undefined) faults.push(`${place}.webhook.url ${fault}`);
    if (textOf(env, input.webhook.secretName) === "") {
      faults.push(`${place}.webhook.secretName names a secret that is not set`);
    }
  }
  if (typeof upstream === "string" || faults.length > 0) return { faults };
  return {
    faults,
    route: {
      method: input.method,
      path: input.path,
      protect: input.protect,
      missingKey: input.missingKey,
      waitMs: input.waitSeconds * 1000,
      auth:
        input.auth === "jwt"
          ? { kind: "jwt" }
          : { kind: "passthrough", header: input.credentialHeader, tenant: input.tenant },
      policy: {
        route: input.name ?? `${input.method} ${input.path}`,
        upstream,
        ...policyOf(input),
        keyLifetimeSeconds: input.keyLifetimeSeconds,
        tombstoneSeconds: input.tombstoneSeconds,
        keepHeaders: input.keepHeaders,
        webhook: input.webhook,
      },
    },
  };
};

/** Where it is, or why it is nowhere. */
export const upstreamOf = (text: string, env: object): Upstream | string => {
  if (text === "") return "is not set, and there is no UPSTREAM_ORIGIN";
  const binding = /^service:(\w+)$/.exec(text)?.[1];
  if (binding !== undefined) {
    const service: unknown = Reflect.get(env, binding);
    return typeof service === "object" && service !== null && "fetch" in service
      ? { kind: "service", binding }
      : `names the service binding ${binding}, which is not bound`;
  }
  const fault = originFault(text);
  return fault ?? { kind: "origin", origin: text };
};
