/**
 * POST /mcp: a message read as strictly as any other body, and what its tool asks for sent through the app's own routes
 * with the caller's own credentials. So a tool has the rights, the limits and the checks of the request that it stands for.
 */
import type { Hono } from "hono";
import { fail, type Result, succeed } from "../kernel/result.ts";
import { type Json, parseJson } from "../kernel/json.ts";
import { admit } from "./access.ts";
import { type HttpContext, type HttpEnv, originOf } from "./context.ts";
import { checkMediaType, decodeText, readBytes } from "./json-body.ts";
import { problemResponse } from "./problem-response.ts";

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
    const media = checkMediaType(c.req.raw.headers);
    if (!media.ok) return problemResponse(c, media.failure.code, media.failure);
    const bytes = await readBytes(c.req.raw);
    if (!bytes.ok) return problemResponse(c, bytes.failure.code, bytes.failure);
    const message = parseMessage(bytes.value);
    if (!message.ok) return problemResponse(c, "request-invalid", { detail: message.failure });
    return agents.serve(c.req.raw, message.value, async ({ method, path, headers, body }) => {
      const request = new Request(originOf(c) + path, {
        method,
        headers: { ...headers, Authorization: c.req.header("Authorization") ?? "" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return routes.fetch(request, c.env, c.executionCtx);
    });
  };

const parseMessage = (bytes: Uint8Array): Result<Json, string> => {
  const text = decodeText(bytes);
  if (!text.ok) return fail(text.failure.detail);
  const parsed = parseJson(text.value);
  return parsed.ok ? succeed(parsed.value) : parsed;
};
