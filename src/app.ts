/** Mounts every route from the definitions, and maps what goes wrong to the problem table. */
import { Hono } from "hono";
import { REQUEST_ID } from "./contract/headers.ts";
import { type Bindings, parseSettings, type Settings } from "./env.ts";
import type { HttpContext, HttpEnv } from "./http/context.ts";
import { crossOrigin } from "./http/cross-origin.ts";
import { documentationRoutes } from "./http/docs/routes.ts";
import { healthRoute } from "./http/health.ts";
import { keyErasureRoute } from "./http/key-erasure.ts";
import { keyListRoute } from "./http/key-list.ts";
import { keyStatusRoute } from "./http/key-status.ts";
import { keyedOperation } from "./http/keyed-operation.ts";
import { openApiRoute } from "./http/openapi.ts";
import { problemResponse } from "./http/problem-response.ts";
import { queryRoute } from "./http/query-route.ts";
import { revokeTokenRoute } from "./http/revoked-tokens.ts";
import type { Operation } from "./operations/define-operation.ts";
import type { Query } from "./operations/define-query.ts";

export type AppParts = {
  readonly operations: readonly Operation[];
  readonly queries: readonly Query[];
};

export const createApp = ({ operations, queries }: AppParts): Hono<HttpEnv> => {
  const app = new Hono<HttpEnv>();
  const routes = new Map<string, Set<string>>();
  const route = (
    method: string,
    path: string,
    handler: (c: HttpContext) => Response | Promise<Response>,
  ): void => {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ":$1");
    app.on(method, pattern, handler);
    routes.set(pattern, (routes.get(pattern) ?? new Set()).add(method));
  };

  app.use(async (c, next) => {
    c.set("requestId", crypto.randomUUID());
    await next();
    c.res.headers.set(REQUEST_ID, c.get("requestId"));
  });
  route("GET", "/healthz", healthRoute);
  app.use(async (c, next) => {
    c.set("settings", settingsOf(c.env));
    await next();
  });
  app.use(crossOrigin);

  for (const operation of operations)
    route(operation.method, operation.path, keyedOperation(operation));
  for (const query of queries) route(query.method, query.path, queryRoute(query));
  route("GET", "/v1/idempotency-keys/{key}", keyStatusRoute);
  route("GET", "/v1/idempotency-keys", keyListRoute);
  route("DELETE", "/v1/idempotency-keys/{key}/body", keyErasureRoute);
  route("PUT", "/v1/ops/revoked-tokens/{jti}", revokeTokenRoute);
  route("GET", "/openapi.json", openApiRoute({ operations, queries }));
  for (const [path, handler] of documentationRoutes({ operations, queries }))
    route("GET", path, handler);

  for (const [pattern, methods] of routes) {
    const allow = [...methods, ...(methods.has("GET") ? ["HEAD"] : [])].toSorted().join(", ");
    app.all(pattern, (c) =>
      problemResponse(c, "method-not-allowed", { headers: { Allow: allow } }),
    );
  }
  app.notFound((c) => problemResponse(c, "not-found"));
  app.onError((error, c) => {
    // The details stay in the log; the caller gets the id to ask for them.
    console.error(
      JSON.stringify({
        level: "error",
        event: "unhandled",
        requestId: c.get("requestId"),
        error: String(error),
        stack: error.stack,
      }),
    );
    return problemResponse(c, "internal-error");
  });
  return app;
};

/** Parsed once for each set of bindings: in production that is once for each isolate. */
const parsed = new WeakMap<object, Settings>();

const settingsOf = (env: Bindings): Settings => {
  const known = parsed.get(env);
  if (known !== undefined) return known;
  const settings = parseSettings(env);
  parsed.set(env, settings);
  return settings;
};
