/** A problem as an HTTP answer: status, document and the headers that tell a client whether to retry. */
import { PROBLEM_TYPE, SHOULD_RETRY } from "../contract/headers.ts";
import {
  type ProblemCode,
  type ProblemDetails,
  problemDocument,
  PROBLEMS,
  retryAfterSeconds,
} from "../contract/problems.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../kernel/limits.ts";
import { type HttpContext, originOf } from "./context.ts";

export type ProblemReply = ProblemDetails & {
  readonly headers?: Readonly<Record<string, string>>;
};

export const problemResponse = (
  c: HttpContext,
  code: ProblemCode,
  { headers, ...details }: ProblemReply = {},
): Response => {
  const { shouldRetry } = PROBLEMS[code];
  c.set("latchkey.problem", code);
  // One answer of the table has two statuses to choose from: clients that know only one of them exist.
  const status =
    code === "request-in-flight"
      ? c.get("latchkey.settings").IN_FLIGHT_STATUS
      : PROBLEMS[code].status;
  const afterMs = shouldRetry ? (details.afterMs ?? RETRY_AFTER_DEFAULT_MS) : undefined;
  const document = problemDocument(code, originOf(c), {
    ...details,
    instance: details.instance ?? `urn:latchkey:request:${c.get("latchkey.requestId")}`,
    ...(afterMs === undefined ? {} : { afterMs: Math.ceil(afterMs) }),
  });
  return new Response(JSON.stringify({ ...document, status }), {
    status,
    headers: {
      "Content-Type": PROBLEM_TYPE,
      "Cache-Control": "no-store",
      ...shouldRetryHeaders(shouldRetry),
      ...(afterMs === undefined ? {} : { "Retry-After": String(retryAfterSeconds(afterMs)) }),
      ...headers,
    },
  });
};

/** On every answer that is not a 2xx: unchanged SDKs obey them. */
export const shouldRetryHeaders = (shouldRetry: boolean): Record<string, string> =>
  Object.fromEntries(SHOULD_RETRY.map((name) => [name, String(shouldRetry)]));
