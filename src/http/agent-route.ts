/**
 * POST /mcp: a message read as strictly as any other body, and what its tool asks for sent through the app's own routes
 * with the caller's own credentials. So a tool has the rights, the limits and the checks of the request that it stands for.
 */
import { Hono } from "hono";
import { baseRoutePath } from "hono/route";
import { admit } from "./access.ts";
import { type HttpContext, type HttpEnv, originOf } from "./context.ts";
import { readJson } from "./input.ts";

/** What a tool wants sent. */
type InnerRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
};

/** Speaks the protocol; knows nothing of HTTP's checks. */
export type Agents = {
  readonly serve: (
    request: Request,
    body: unknown,
    dispatch: (request: InnerRequest) => Promise<Response>,
  ) => Promise<Response>;
  readonly guide: string;
};

/** @param routes of the app that the tools call, where it is mounted or not */
export const agentRoute = (agents: Agents, routes: Hono<HttpEnv>) => {
  /** The same routes at the path where a host, or the gateway, has mounted them: their links begin there. */
  const mounted = new Map<string, Hono<HttpEnv>>();
  const routesAt = (base: string, keyLengthMin: number | undefined): Hono<HttpEnv> => {
    const known = mounted.get(base);
    if (known !== undefined) return known;
    const app = new Hono<HttpEnv>();
    if (keyLengthMin !== undefined) {
      app.use(async (inner, next) => {
        inner.set("latchkey.keyLengthMin", keyLengthMin);
        await next();
      });
    }
    mounted.set(base, app.route(base, routes));
    return app;
  };
  return async (c: HttpContext): Promise<Response> => {
    const admitted = await admit(c, []);
    if (!admitted.ok) return admitted.failure;
    const message = await readJson(c);
    if (!message.ok) return message.failure;
    return agents.serve(c.req.raw, message.value, async ({ method, path, headers, body }) => {
      const request = new Request(originOf(c) + path, {
        method,
        headers: innerHeaders(c.req.raw.headers, headers),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const here = routesAt(baseRoutePath(c), c.get("latchkey.keyLengthMin"));
      return here.fetch(request, c.env, c.executionCtx);
    });
  };
};

/** Of the message, not of the caller: what a tool is asked for is in its arguments. */
const OF_THE_MESSAGE =
  /^(accept(-.+)?|content-.+|transfer-encoding|idempotency-key|prefer|if-.+|range|mcp-.+|last-event-id)$/;

/** Who calls may be said by any header, a host's own included; so may the trace that it belongs to. */
const innerHeaders = (
  received: Headers,
  wanted: Readonly<Record<string, string>>,
): [string, string][] => [
  ...[...received].filter(([name]) => !OF_THE_MESSAGE.test(name)),
  ...Object.entries(wanted),
];
