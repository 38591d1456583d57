/** What every handler finds in its context. */
import type { Context } from "hono";
import type { Bindings, Settings } from "../env.ts";

export type HttpEnv = {
  Bindings: Bindings;
  Variables: { requestId: string; settings: Settings };
};

export type HttpContext = Context<HttpEnv>;

/** Where this Worker is reached, without a trailing slash. */
export const originOf = (c: HttpContext): string => new URL(c.req.url).origin;
