/** What every handler finds in its context. */
import type { Context } from "hono";
import type { Bindings, Settings } from "../env.ts";

export type HttpEnv = {
  Bindings: Bindings;
  Variables: { requestId: string; settings: Settings };
};

export type HttpContext = Context<HttpEnv>;

/** The query's pairs, in order. Read from the text: see `originOf`. */
export const queryOf = (c: HttpContext): [name: string, value: string][] => {
  const [target = ""] = c.req.url.split("#", 1);
  const at = target.indexOf("?");
  return at < 0 ? [] : [...new URLSearchParams(target.slice(at))];
};

/** Where this Worker is reached, without a trailing slash. */
export const originOf = (c: HttpContext): string =>
  // A Host that is no host makes a URL that cannot be parsed; a problem is still told, with paths.
  URL.parse(c.req.url)?.origin ?? "";
