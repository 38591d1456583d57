/** What every handler finds in its context. */
import type { Context } from "hono";
import type { Bindings, Settings } from "../env.ts";

export type HttpEnv = {
  Bindings: Bindings;
  Variables: { requestId: string; settings: Settings };
};

export type HttpContext = Context<HttpEnv>;

/** Where this Worker is reached, without a trailing slash. */
export const originOf = (c: HttpContext): string =>
  // A Host that is no host makes a URL that cannot be parsed; a problem is still told, with paths.
  URL.parse(c.req.url)?.origin ?? "";
