/**
 * Mounts every route from the definitions, and maps what goes wrong to the problem table: as an app of its own, or as
 * routes in another app, at any path, where everything else stays that app's.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { REQUEST_ID } from "./contract/headers.ts";
import type { Bindings, EngineSettings } from "./env.ts";
import { byToken } from "./http/access.ts";
import { agentRoute, type Agents } from "./http/agent-route.ts";
import type { Authenticator, HttpContext, HttpEnv } from "./http/context.ts";
import { crossOrigin } from "./http/cross-origin.ts";
import { documentationRoutes } from "./http/docs/routes.ts";
import { healthRoute, hostSchema, ownSchema } from "./http/health.ts";
import { byHost, type HostAuthenticate } from "./http/host-authentication.ts";
import { keyErasureRoute } from "./http/key-erasure.ts";
import { keyListRoute } from "./http/key-list.ts";
import { keyStatusRoute } from "./http/key-status.ts";
import { keyedOperation } from "./http/keyed-operation.ts";
import { changeIssueRoute } from "./http/ops/reconciliation.ts";
import { redriveRoute } from "./http/ops/redrive.ts";
import { OPS_READS } from "./http/ops/routes.ts";
import { openApiRoute } from "./http/openapi.ts";
import type { Schema } from "./http/openapi-components.ts";
import { opsRetryAdviceRoute } from "./http/ops-retry-advice.ts";
import { problemResponse } from "./http/problem-response.ts";
import { queryRoute } from "./http/query-route.ts";
import { retryAdviceRoute } from "./http/retry-advice.ts";
import { metricsRoute } from "./http/ops/metrics.ts";
import { measured } from "./http/telemetry.ts";
import { revokeTokenRoute } from "./http/revoked-tokens.ts";
import { checkProcessors } from "./http/processors.ts";
import { engineSettingsOf, gatewayOf, settingsOf } from "./http/settings.ts";
import { resolutionRoute, uncertainKeysRoute } from "./http/uncertain-keys.ts";
import { type Catalogue, checkCatalogue, pathShape } from "./operations/catalogue.ts";
import { isGateway } from "./gateway/route-policy.ts";
import { byTokenOrCredential, credentialHeadersOf } from "./http/gateway-caller.ts";
import { gatewayRoute } from "./http/gateway.ts";
import { GATEWAY_KEY_LENGTH_MIN } from "./kernel/limits.ts";

/** A Worker that Latchkey is used in. */
export type Host<Env> = {
  /** Who calls, instead of our own tokens: then neither TOKEN_SECRET nor REVOCATIONS is needed. */
  readonly authenticate?: HostAuthenticate<Env>;
  /** What the OpenAPI document says of it: a Security Scheme Object; a bearer token, unless said. */
  readonly securityScheme?: Schema;
};

/** A face beside the API: its routes, of our own Worker and not of a mount. */
export type Face = readonly (readonly [
  method: "GET" | "POST",
  path: string,
  handler: (c: HttpContext) => Response | Promise<Response>,
])[];

/** Of a Worker of our own. */
export type OwnParts = Catalogue & {
  /** Serves agents at `/mcp`. Passed in, so that a Worker without it carries none of the protocol. */
  readonly agents?: Agents | undefined;
  /** Pages beside the API. */
  readonly face?: Face;
};

export type AppParts<Env = unknown> = OwnParts & { readonly host?: Host<Env> };

/** Our own Worker: the gateway where the vars ask for one, else the app alone. Made when the first request asks. */
export const createService = (
  parts: OwnParts,
): { readonly fetch: ExportedHandlerFetchHandler<Bindings> } => {
  let made: { readonly gateway: boolean; readonly app: Hono<HttpEnv> } | undefined;
  return {
    fetch: (request, env, context) => {
      const gateway = isGateway(env);
      if (made?.gateway !== gateway) {
        made = { gateway, app: gateway ? createGateway(parts) : createApp(parts) };
      }
      return made.app.fetch(request, env, context);
    },
  };
};

/** Where our own routes are while everything else is the upstream's. */
const GATEWAY_HOME = "/_latchkey";

/** Everything is the upstream's but what is under `/_latchkey`: there, the whole app as it is elsewhere. */
export const createGateway = (parts: OwnParts): Hono<HttpEnv> => {
  const app = new Hono<HttpEnv>();
  app.use(async (c, next) => {
    c.set("latchkey.requestId", crypto.randomUUID());
    c.set("latchkey.keyLengthMin", GATEWAY_KEY_LENGTH_MIN);
    await next();
    // An answer that passes through may have the upstream's own.
    if (!c.res.headers.has(REQUEST_ID)) {
      c.res.headers.set(REQUEST_ID, c.get("latchkey.requestId"));
    }
  });
  const own = createRoutes(parts, "each route", {
    readSettings: (env) => {
      gatewayOf(env);
      return settingsOf(env);
    },
    authenticator: byTokenOrCredential,
    credentialHeadersOf,
  });
  app.get(GATEWAY_HOME, (c) => c.redirect(`${GATEWAY_HOME}/docs`, 302));
  app.route(GATEWAY_HOME, own);
  const atHome: MiddlewareHandler<HttpEnv> = async (c, next) => {
    c.set("latchkey.home", GATEWAY_HOME);
    c.set("latchkey.settings", settingsOf(c.env));
    await next();
  };
  app.all(`${GATEWAY_HOME}/*`, atHome, (c) => problemResponse(c, "not-found"));
  app.all("*", atHome, crossOrigin, gatewayRoute);
  return app.onError(answerError);
};

/** The whole app: what it has no route for is not found. */
export const createApp = (parts: OwnParts): Hono<HttpEnv> =>
  createRoutes(parts, "every request").notFound((c) => problemResponse(c, "not-found"));

/** The routes alone, for `app.route("/api", …)`. Whatever they do not name falls through to the app around them. */
export const createMount = <Env>(parts: AppParts<Env>): Hono<HttpEnv> =>
  createRoutes(parts, "each route");

/** What the gateway has other than usual. */
type RouteParts = {
  /** Throws an Error that names every setting that is wrong. */
  readonly readSettings?: (env: Bindings) => EngineSettings;
  readonly authenticator?: Authenticator;
  /** Where the upstream's credentials are that tell whose keys are asked for. */
  readonly credentialHeadersOf?: (c: HttpContext) => readonly string[];
};

/** @param before where middleware stands: a mount has no say in the other requests of its host */
const createRoutes = <Env>(
  { operations, queries, host, agents, face = [] }: AppParts<Env>,
  before: "every request" | "each route",
  {
    readSettings = host?.authenticate === undefined ? settingsOf : engineSettingsOf,
    authenticator = host?.authenticate === undefined ? byToken : byHost(host.authenticate),
    credentialHeadersOf: credentialHeaders,
  }: RouteParts = {},
): Hono<HttpEnv> => {
  checkCatalogue({ operations, queries });
  const read = (env: Bindings): EngineSettings => {
    checkProcessors(operations, env);
    return readSettings(env);
  };
  const routes = new Hono<HttpEnv>();
  const hasOwnTokens = host?.authenticate === undefined;
  const opens = operations.some(({ external }) => external !== null);
  const configured: MiddlewareHandler<HttpEnv> = async (c, next) => {
    c.set("latchkey.settings", read(c.env));
    c.set("latchkey.authenticator", authenticator);
    await next();
  };
  const around: MiddlewareHandler<HttpEnv>[] = [];
  const use = (middleware: MiddlewareHandler<HttpEnv>): void => {
    if (before === "every request") routes.use(middleware);
    else around.push(middleware);
  };
  const methodsOf = new Map<string, { readonly pattern: string; readonly methods: Set<string> }>();
  const route = (
    method: string,
    path: string,
    handler: (c: HttpContext) => Response | Promise<Response>,
  ): void => {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ":$1");
    const shape = pathShape(path);
    const { methods } = methodsOf.get(shape) ?? { methods: new Set<string>() };
    if (methods.has(method)) throw new Error(`The route ${method} ${path} is the service's own.`);
    methodsOf.set(shape, { pattern, methods: methods.add(method) });
    routes.on(method, [pattern], ...around, handler);
  };

  use(identified);
  // It has to answer where nothing else does: with settings that are wrong.
  route("GET", "/healthz", healthRoute(read, host === undefined ? ownSchema : hostSchema(opens)));
  use(configured);
  use(crossOrigin);
  for (const operation of operations)
    route(operation.method, operation.path, measured(operation.name, keyedOperation(operation)));
  for (const query of queries) route(query.method, query.path, queryRoute(query));
  route("GET", "/v1/idempotency-keys/{key}", keyStatusRoute);
  route("GET", "/v1/idempotency-keys", keyListRoute);
  route("DELETE", "/v1/idempotency-keys/{key}/body", keyErasureRoute);
  route("POST", "/v1/retry-advice", retryAdviceRoute);
  if (hasOwnTokens) {
    route("PUT", "/v1/ops/revoked-tokens/{jti}", revokeTokenRoute);
    route("GET", "/v1/ops/retry-advice", opsRetryAdviceRoute);
    route("PUT", "/v1/ops/issues/{id}", changeIssueRoute);
    route("POST", "/v1/ops/issues/{id}/redrive", redriveRoute);
    route("GET", "/metrics", metricsRoute);
    for (const { path, route: handler } of OPS_READS) route("GET", path, handler);
  }
  // A host whose operations are all in its database has none.
  if (hasOwnTokens || opens) {
    route("GET", "/v1/ops/uncertain-keys", uncertainKeysRoute);
    route("PUT", "/v1/ops/uncertain-keys/{tenant}/{key}/resolution", resolutionRoute);
  }
  for (const [method, path, handler] of face) route(method, path, handler);
  const securityScheme = hasOwnTokens ? undefined : (host?.securityScheme ?? HOST_SCHEME);
  const definitions = { operations, queries, securityScheme };
  route("GET", "/openapi.json", openApiRoute(definitions, credentialHeaders));
  if (agents !== undefined) {
    route("POST", "/mcp", agentRoute(agents, routes));
    route("GET", "/llms.txt", (c) => c.text(agents.guide));
  }
  // Of a mount's host it is the host's own.
  if (before === "every request") route("GET", "/", (c) => c.redirect("docs", 302));
  for (const [path, handler] of documentationRoutes(definitions)) route("GET", path, handler);

  for (const { pattern, methods } of methodsOf.values()) {
    const allow = [...methods, ...(methods.has("GET") ? ["HEAD"] : [])].toSorted().join(", ");
    const refuse: MiddlewareHandler<HttpEnv> = (c) =>
      Promise.resolve(problemResponse(c, "method-not-allowed", { headers: { Allow: allow } }));
    routes.on("ALL", [pattern], ...[...around, refuse].map(unlessServedBehind));
  }
  return routes.onError(answerError);
};

const answerError = (error: Error, c: HttpContext): Response => {
  // The details stay in the log; the caller gets the id to ask for them.
  console.error(
    JSON.stringify({
      level: "error",
      event: "unhandled",
      requestId: c.get("latchkey.requestId"),
      error: String(error),
      stack: error.stack,
    }),
  );
  return problemResponse(c, "internal-error");
};

const identified: MiddlewareHandler<HttpEnv> = async (c, next) => {
  c.set("latchkey.requestId", crypto.randomUUID());
  await next();
  c.res.headers.set(REQUEST_ID, c.get("latchkey.requestId"));
};

/** The host may have a route of its own for another method of our path, also one that it adds after the mount. */
const unlessServedBehind =
  (handler: MiddlewareHandler<HttpEnv>): MiddlewareHandler<HttpEnv> =>
  async (c, next) => {
    const behind = matchedRoutes(c).slice(c.req.routeIndex + 1);
    // What answers to every method is middleware, our own included, and no route.
    if (behind.every(({ method }) => method === "ALL")) return handler(c, next);
    await next();
  };

const HOST_SCHEME: Schema = { type: "http", scheme: "bearer" };
