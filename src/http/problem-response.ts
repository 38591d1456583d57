/** A problem as an HTTP answer: status, document and the headers that tell a client whether to retry. */
import { PROBLEM_TYPE, SHOULD_RETRY } from "../contract/headers.ts";
import {
  type ProblemCode,
  type ProblemDetails,
  problemDocument,
  PROBLEMS,
  retryAfterSeconds,
} from "../contract/problems.ts";
import { advisor, OWN_GROUP, toldOf } from "../objects/advice.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../kernel/limits.ts";
import { type HttpContext, originOf } from "./context.ts";

export type ProblemReply = ProblemDetails & {
  readonly headers?: Readonly<Record<string, string>>;
};

export const problemResponse = (
  c: HttpContext,
  code: ProblemCode,
  given: ProblemReply = {},
): Response => {
  const { shouldRetry } = PROBLEMS[code];
  const advised = LEARNED.has(code) ? learned(c, code, given) : given;
  const { headers, ...details } = advised;
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
  // Stripe's clients, and those made after them, take whatever has no `error` for what they asked for, also at 409.
  const error =
    c.get("latchkey.home") === undefined
      ? {}
      : { error: { type: errorType(code, status), code, message: document["detail"] } };
  return new Response(JSON.stringify({ ...document, status, ...error }), {
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

/** In the words of Stripe's API. */
const errorType = (code: ProblemCode, status: number): string =>
  code.startsWith("idempotency-key-")
    ? "idempotency_error"
    : status < 500
      ? "invalid_request_error"
      : "api_error";
/** Of these it is learned when to come back; the others know: a limit has its period, a run in flight its length. */
const LEARNED: ReadonlySet<ProblemCode> = new Set([
  "internal-error",
  "temporarily-unavailable",
  "outcome-unknown-yet",
]);

/** Unless the object that ran it has said already. What else is given is a floor. */
const learned = (c: HttpContext, code: ProblemCode, given: ProblemReply): ProblemReply => {
  const tenant = c.get("latchkey.tenant");
  if (tenant === undefined || given.successProbability !== undefined) return given;
  const advice = advisor.advise(tenant, OWN_GROUP, {
    failure: { status: PROBLEMS[code].status, code },
    retries: 0,
    ageMs: 0,
    hintMs: given.afterMs,
  });
  return { ...given, ...toldOf(advice) };
};

/** On every answer that is not a 2xx: unchanged SDKs obey them. */
export const shouldRetryHeaders = (shouldRetry: boolean): Record<string, string> =>
  Object.fromEntries(SHOULD_RETRY.map((name) => [name, String(shouldRetry)]));
