/**
 * POST /mcp: a message read as strictly as any other body, and what its tool asks for sent through the app's own routes
 * with the caller's own credentials. So a tool has the rights, the limits and the checks of the request that it stands for.
 */
import type { Hono } from "hono";
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

export const agentRoute =
  (agents: Agents, routes: Hono<HttpEnv>) =>
  async (c: HttpContext): Promise<Response> => {
    const admitted = await admit(c, []);
    if (!admitted.ok) return admitted.failure;
    const message = await readJson(c);
    if (!message.ok) return message.failure;
    return agents.serve(c.req.raw, message.value, async ({ method, path, headers, body }) => {
      const request = new Request(originOf(c) + path, {
        method,
        headers: { ...headers, Authorization: c.req.header("Authorization") ?? "" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return routes.fetch(request, c.env, c.executionCtx);
    });
  };
