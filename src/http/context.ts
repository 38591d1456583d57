/** What every handler finds in its context. */
import type { Context } from "hono";
import { basePath } from "hono/route";
import type { ProblemCode } from "../contract/problems.ts";
import type { Bindings, EngineSettings } from "../env.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { PLACES_REMEMBERED } from "../kernel/limits.ts";
import type { Result } from "../kernel/result.ts";
import type { Caller } from "./authentication.ts";

export type HttpEnv = {
  Bindings: Bindings;
  /** Named apart from those of an app that we are mounted in. */
  Variables: {
    "latchkey.requestId": string;
    /** Set once it is known who calls. */
    "latchkey.tenant": string | undefined;
    "latchkey.settings": EngineSettings;
    "latchkey.authenticator": Authenticator;
    /** Where our own routes are, if not where the handler is: the gateway's. */
    "latchkey.home"?: string;
    /** The shortest key that is one; the contract's, unless said. */
    "latchkey.keyLengthMin"?: number;
    /** The problem that is answered, if it is one that is not stored. */
    "latchkey.problem"?: ProblemCode;
  };
};

export type HttpContext = Context<HttpEnv>;

/** Who calls, or the answer to send. Asked once for each request, before anything is looked up. */
export type Authenticator = (c: HttpContext) => Promise<Result<Caller, Response>>;

/** The parameters that a definition's path names; the path that it is mounted at may have others, which are its host's. */
export const paramsOf = (c: HttpContext, path: string): Record<string, string> => {
  const given: Record<string, string> = c.req.param();
  return Object.fromEntries(
    [...path.matchAll(/\{(\w+)\}/g)].flatMap(([, name = ""]) =>
      given[name] === undefined ? [] : [[name, given[name]]],
    ),
  );
};

/** Path and query, as sent. Read from the text: see `originOf`. */
export const targetOf = (c: HttpContext): string => {
  const [text = ""] = c.req.url.split("#", 1);
  const target = text.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, "");
  return target.startsWith("/") ? target : `/${target}`;
};

/** The query's pairs, in order. Read from the text: see `originOf`. */
export const queryOf = (c: HttpContext): [name: string, value: string][] => {
  const [target = ""] = c.req.url.split("#", 1);
  const at = target.indexOf("?");
  return at < 0 ? [] : [...new URLSearchParams(target.slice(at))];
};

/** Where this app is reached: the host, and the path at which another app mounts it; without a trailing slash. */
export const originOf = (c: HttpContext): string => (placeOf(c)?.origin ?? "") + homeOf(c);

/** Where a request arrived, without its path. */
export type Place = Readonly<Pick<URL, "origin" | "protocol" | "host">>;

/** Null: a Host that is no host makes a URL that cannot be parsed; a problem is still told, with paths. */
export const placeOf = (c: HttpContext): Place | null => {
  const { url } = c.req;
  const start = /^[^:/?#]+:\/\/[^/?#]*/.exec(url)?.[0] ?? url;
  const known = places.get(start);
  if (known !== undefined) return known;
  const parsed = URL.parse(start);
  if (parsed === null) return null;
  const { origin, protocol, host } = parsed;
  const place = { origin, protocol, host };
  places.set(start, place);
  return place;
};

/** Parsing costs more than the rest of reading a request, and an isolate is reached by the same few names. */
const places = new BoundedMap<string, Place>(PLACES_REMEMBERED);

/** The path at which another app mounts this one; without a trailing slash, and empty at the root. */
export const homeOf = (c: HttpContext): string =>
  (c.get("latchkey.home") ?? basePath(c)).replace(/\/$/, "");
