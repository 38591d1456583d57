/**
 * A request that goes to the upstream as it came, and its answer as it comes: streamed both ways, nothing kept, nothing
 * repeated. Redirects are the caller's to follow.
 */
import type { ExchangePolicy } from "../gateway/exchange.ts";
import {
  type Arrival,
  forwardedHeaders,
  LATCHKEY_PROTECTED,
  returnedHeaders,
} from "../gateway/headers.ts";
import { upstreamUrl } from "../gateway/upstream-origin.ts";
import { fetcherOf } from "../objects/exchange-upstream.ts";
import { type HttpContext, placeOf } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

/**
 * @param target path and query
 * @param changes whether the request may change something, so that nobody may repeat it unasked
 */
export const passThrough = async (
  c: HttpContext,
  policy: ExchangePolicy,
  target: string,
  changes: boolean,
): Promise<Response> => {
  const { raw } = c.req;
  const abort = new AbortController();
  // Until the answer begins. What it then streams may take as long as it likes.
  const timer = setTimeout(() => abort.abort(), policy.timeoutMs);
  let answer: Response;
  try {
    answer = await fetcherOf(c.env, policy.upstream)(upstreamUrl(policy.upstream, target), {
      method: raw.method,
      headers: forwardedHeaders(raw.headers, arrivalOf(c)).map(([name, value]) => [name, value]),
      body: raw.body,
      redirect: "manual",
      signal: abort.signal,
    });
  } catch (error) {
    console.error(
      JSON.stringify({
        level: "error",
        event: "upstream-unreachable",
        requestId: c.get("latchkey.requestId"),
        route: policy.route,
        error: String(error),
      }),
    );
    return problemResponse(c, changes ? "unprotected-call-failed" : "upstream-unreachable", {
      headers: changes ? UNPROTECTED : {},
    });
  } finally {
    clearTimeout(timer);
  }
  const headers = new Headers(
    returnedHeaders(answer.headers).map(([name, value]) => [name, value]),
  );
  if (changes) headers.set(LATCHKEY_PROTECTED, "false");
  return new Response(answer.body, {
    status: answer.status,
    statusText: answer.statusText,
    headers,
  });
};

const UNPROTECTED = { [LATCHKEY_PROTECTED]: "false" };

/** Where the caller came from. The address is Cloudflare's word, and there is none elsewhere. */
export const arrivalOf = (c: HttpContext): Arrival => {
  const place = placeOf(c);
  return {
    address: c.req.header("CF-Connecting-IP") ?? null,
    protocol: place?.protocol === "https:" ? "https" : "http",
    host: place?.host ?? "",
  };
};
