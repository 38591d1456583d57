/** The team's own authentication: an API key in a header, its hash in a table. Latchkey hears whose it is. */
import type { HostAuthenticate } from "latchkey";
import type { KeyObject } from "./worker";

/** As `wrangler types` would write it. */
export interface Env {
  DB: D1Database;
  KEY_OBJECT: DurableObjectNamespace<KeyObject>;
  FINGERPRINT_SECRET: string;
}

export const authenticate: HostAuthenticate<Env> = async (request, env) => {
  const challenge = 'ApiKey realm="booking"';
  const key = request.headers.get("X-Api-Key");
  if (key === null) return { refused: "Send your API key as X-Api-Key.", challenge };
  const caller = await env.DB.prepare("SELECT tenant, scopes FROM api_keys WHERE hash = ?")
    .bind(await sha256(key))
    .first<{ tenant: string; scopes: string }>();
  if (caller === null) return { refused: "The API key is not known.", challenge };
  return { tenant: caller.tenant, scopes: caller.scopes.split(" ") };
};

const sha256 = async (text: string): Promise<string> => {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
};
