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
  const isCopied = raw.body !== null && (raw.method === "GET" || raw.method === "HEAD");
  if (isCopied && !raw.headers.has("content-length")) {
    // The runtime would leave it out, and so ask for something else.
    return problemResponse(c, "request-invalid", {
      detail: `The content of a ${raw.method} goes on only with a Content-Length.`,
    });
  }
  const abort = new AbortController();
  // Until the answer begins. What it then streams may take as long as it likes.
  const timer = setTimeout(() => abort.abort(), policy.timeoutMs);
  const url = upstreamUrl(policy.upstream, target);
  const send = fetcherOf(c.env, policy.upstream);
  const init: RequestInit = {
    headers: forwardedHeaders(raw.headers, arrivalOf(c)).map(([name, value]) => [name, value]),
    redirect: "manual",
    signal: abort.signal,
  };
  let answer: Response;
  try {
    // A GET may bring content, if only to say that it has none. No new one may have any; a copy of it may.
    answer = isCopied
      ? await send(new Request(url, raw), init)
      : await send(url, { ...init, method: raw.method, body: raw.body });
  } catch (error) {
    return unanswered(c, policy, changes, error);
  } finally {
    clearTimeout(timer);
  }
  if (!isStatus(answer.status)) {
    await answer.body?.cancel().catch(() => undefined);
    return unanswered(c, policy, changes, `The status ${answer.status} is none.`);
  }
  // Which pages may read it: where the operator has said so, the upstream has no say, or the two would add up.
  const isToldHere = c.get("latchkey.settings").CORS_ORIGINS.length > 0;
  const headers = new Headers(
    returnedHeaders(answer.headers)
      .filter(([name]) => !isToldHere || !name.startsWith("access-control-"))
      .map(([name, value]) => [name, value]),
  );
  if (changes) headers.set(LATCHKEY_PROTECTED, "false");
  return new Response(answer.body, {
    status: answer.status,
    statusText: answer.statusText,
    headers,
  });
};

/** A final one (RFC 9110 section 15): nothing else can be answered with, and 101 is for WebSockets. */
const isStatus = (status: number): boolean => status >= 200 && status <= 599;

/** Nothing came that could be told: what was to change something may have changed it. */
const unanswered = (
  c: HttpContext,
  { route }: ExchangePolicy,
  changes: boolean,
  error: unknown,
): Response => {
  console.error(
    JSON.stringify({
      level: "error",
      event: "upstream-unreachable",
      requestId: c.get("latchkey.requestId"),
      route,
      error: String(error),
    }),
  );
  return problemResponse(c, changes ? "unprotected-call-failed" : "upstream-unreachable", {
    headers: changes ? UNPROTECTED : {},
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
