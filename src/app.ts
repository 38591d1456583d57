/**
 * Mounts every route from the definitions, and maps what goes wrong to the problem table: as an app of its own, or as
 * routes in another app, at any path, where everything else stays that app's.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { REQUEST_ID } from "./contract/headers.ts";
import { byToken } from "./http/access.ts";
import type { HttpContext, HttpEnv } from "./http/context.ts";
import { crossOrigin } from "./http/cross-origin.ts";
import { documentationRoutes } from "./http/docs/routes.ts";
import { healthRoute, hostSchema, ownSchema } from "./http/health.ts";
import { byHost, type HostAuthenticate } from "./http/host-authentication.ts";
import { keyErasureRoute } from "./http/key-erasure.ts";
import { keyListRoute } from "./http/key-list.ts";
import { keyStatusRoute } from "./http/key-status.ts";
import { keyedOperation } from "./http/keyed-operation.ts";
import { changeIssueRoute } from "./http/ops/reconciliation.ts";
import { OPS_READS } from "./http/ops/routes.ts";
import { openApiRoute } from "./http/openapi.ts";
import type { Schema } from "./http/openapi-components.ts";
import { problemResponse } from "./http/problem-response.ts";
import { queryRoute } from "./http/query-route.ts";
import { metricsRoute } from "./http/ops/metrics.ts";
import { measured } from "./http/telemetry.ts";
import { revokeTokenRoute } from "./http/revoked-tokens.ts";
import { engineSettingsOf, settingsOf } from "./http/settings.ts";
import { type Catalogue, checkCatalogue, pathShape } from "./operations/catalogue.ts";

/** A Worker that Latchkey is used in. */
export type Host<Env> = {
  /** Who calls, instead of our own tokens: then neither TOKEN_SECRET nor REVOCATIONS is needed. */
  readonly authenticate?: HostAuthenticate<Env>;
  /** What the OpenAPI document says of it: a Security Scheme Object; a bearer token, unless said. */
  readonly securityScheme?: Schema;
};

/** A face beside the API: its routes, of this app alone and not of a mount. */
export type Face = readonly (readonly [
  method: "GET" | "POST",
  path: string,
  handler: (c: HttpContext) => Response | Promise<Response>,
])[];

export type AppParts<Env = unknown> = Catalogue & {
  readonly host?: Host<Env>;
  readonly face?: Face;
};

/** The whole app: what it has no route for is not found. */
export const createApp = (parts: Catalogue & { readonly face?: Face }): Hono<HttpEnv> =>
  createRoutes(parts, "every request").notFound((c) => problemResponse(c, "not-found"));

/** The routes alone, for `app.route("/api", …)`. Whatever they do not name falls through to the app around them. */
export const createMount = <Env>(parts: AppParts<Env>): Hono<HttpEnv> =>
  createRoutes(parts, "each route");

/** @param before where middleware stands: a mount has no say in the other requests of its host */
const createRoutes = <Env>(
  { operations, queries, host, face = [] }: AppParts<Env>,
  before: "every request" | "each route",
): Hono<HttpEnv> => {
  checkCatalogue({ operations, queries });
  const routes = new Hono<HttpEnv>();
  const hasOwnTokens = host?.authenticate === undefined;
  const readSettings = hasOwnTokens ? settingsOf : engineSettingsOf;
  const authenticator = host?.authenticate === undefined ? byToken : byHost(host.authenticate);
  const configured: MiddlewareHandler<HttpEnv> = async (c, next) => {
    c.set("latchkey.settings", readSettings(c.env));
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
  route("GET", "/healthz", healthRoute(readSettings, host === undefined ? ownSchema : hostSchema));
  use(configured);
  use(crossOrigin);
  for (const operation of operations)
    route(operation.method, operation.path, measured(operation.name, keyedOperation(operation)));
  for (const query of queries) route(query.method, query.path, queryRoute(query));
  route("GET", "/v1/idempotency-keys/{key}", keyStatusRoute);
  route("GET", "/v1/idempotency-keys", keyListRoute);
  route("DELETE", "/v1/idempotency-keys/{key}/body", keyErasureRoute);
  if (hasOwnTokens) {
    route("PUT", "/v1/ops/revoked-tokens/{jti}", revokeTokenRoute);
    route("PUT", "/v1/ops/issues/{id}", changeIssueRoute);
    route("GET", "/metrics", metricsRoute);
    for (const read of OPS_READS) route("GET", read.path, read.route);
  }
  for (const [method, path, handler] of face) route(method, path, handler);
  const securityScheme = hasOwnTokens ? undefined : (host?.securityScheme ?? HOST_SCHEME);
  const definitions = { operations, queries, securityScheme };
  route("GET", "/openapi.json", openApiRoute(definitions));
  // Of a mount's host it is the host's own.
  if (before === "every request") route("GET", "/", (c) => c.redirect("docs", 302));
  for (const [path, handler] of documentationRoutes(definitions)) route("GET", path, handler);

  for (const { pattern, methods } of methodsOf.values()) {
    const allow = [...methods, ...(methods.has("GET") ? ["HEAD"] : [])].toSorted().join(", ");
    const refuse: MiddlewareHandler<HttpEnv> = (c) =>
      Promise.resolve(problemResponse(c, "method-not-allowed", { headers: { Allow: allow } }));
    routes.on("ALL", [pattern], ...[...around, refuse].map(unlessServedBehind));
  }
  routes.onError((error, c) => {
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
  });
  return routes;
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
