/** An operator's browser without a window: a session of the console, with what its forms hold. */
import type { Server } from "./server.ts";
import { type Answer, answerOf } from "./tenant.ts";
import { tokenFor } from "./token.ts";

export type Console = {
  readonly cookie: string;
  readonly setCookie: string;
  readonly get: (path: string) => Promise<Answer>;
  /** Sends exactly these fields and headers, and the session's cookie. */
  readonly post: (
    path: string,
    fields: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
  /** The hidden fields of the page's main form. */
  readonly fieldsOf: (path: string) => Promise<Record<string, string>>;
  /** The token that the session's forms carry. */
  readonly formToken: () => Promise<string>;
};

/** Signs in, as ada. */
export const openConsole = async (
  { origin }: Server,
  {
    scope,
    ttlSeconds,
    token: given,
    home = "",
  }: {
    readonly scope: string;
    readonly ttlSeconds?: number;
    /** Instead of one that is made for this. */
    readonly token?: string;
    /** Where our own routes are: the gateway's. */
    readonly home?: string;
  },
): Promise<Console> => {
  const lifetime = ttlSeconds === undefined ? {} : { ttlSeconds };
  const token = given ?? (await tokenFor("operators", { scope, subject: "ada", ...lifetime }));
  const signedIn = await fetch(`${origin}${home}/console/sign-in`, {
    method: "POST",
    redirect: "manual",
    headers: { Origin: origin },
    body: new URLSearchParams({ token }),
  });
  const setCookie = signedIn.headers.get("Set-Cookie") ?? "";
  const [cookie = ""] = setCookie.split(";");
  const send = async (path: string, init: RequestInit): Promise<Answer> => {
    const response = await fetch(origin + path, { redirect: "manual", ...init });
    return answerOf(response.status, response.headers, await response.text());
  };
  const get = (path: string) => send(path, { headers: { Cookie: cookie } });
  const hiddenIn = (html: string): Record<string, string> =>
    Object.fromEntries(
      [...html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)].map(
        ([, name = "", value = ""]) => [name, value],
      ),
    );
  return {
    cookie,
    setCookie,
    get,
    post: (path, fields, headers) =>
      send(path, {
        method: "POST",
        headers: { ...headers, Cookie: cookie },
        body: new URLSearchParams(fields),
      }),
    fieldsOf: async (path) => hiddenIn((await get(path)).text.split("</main>")[0] ?? ""),
    formToken: async () => hiddenIn((await get(`${home}/console/issues`)).text)["form"] ?? "",
  };
};
