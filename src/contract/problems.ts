/**
 * The one table of problems: code → status, title, which key to use next, whether a retry can help, cause
 * and cure. The error mapper, OpenAPI, the documentation pages and the client all read it.
 * Documents follow RFC 9457.
 */
import type { JsonObject } from "../kernel/json.ts";

/**
 * What a caller may do with the key: `same-key` (send again, unchanged or, where said, corrected),
 * `new-key` (this key is spent or unusable), `never` (sending again cannot help).
 */
export type KeyUse = "same-key" | "new-key" | "never";

export type Problem = {
  readonly status: number;
  readonly title: string;
  readonly use: KeyUse;
  readonly shouldRetry: boolean;
  readonly cause: string;
  readonly cure: string;
};

export const PROBLEMS = {
  "idempotency-key-missing": {
    status: 400,
    title: "Idempotency-Key is required",
    use: "new-key",
    shouldRetry: false,
    cause: "The request changes something and carries no Idempotency-Key.",
    cure: "Make one key per intended operation, store it with the intent, and send it with every try.",
  },
  "idempotency-key-invalid": {
    status: 400,
    title: "Idempotency-Key is not usable",
    use: "new-key",
    shouldRetry: false,
    cause:
      'A key is 16 to 255 printable ASCII characters without space, ", comma, semicolon or backslash, in one header line, bare or as a quoted structured-field string.',
    cure: "Use a UUID. Send the header once.",
  },
  "request-invalid": {
    status: 400,
    title: "The request is not valid",
    use: "same-key",
    shouldRetry: false,
    cause: "The body or the query does not have the form that this operation documents.",
    cure: "Correct it, and keep the key: this try changed nothing.",
  },
  unauthenticated: {
    status: 401,
    title: "No valid credentials",
    use: "same-key",
    shouldRetry: false,
    cause: "The bearer token is missing, malformed, expired or not from a configured issuer.",
    cure: "Get a new token and send the same request again.",
  },
  forbidden: {
    status: 403,
    title: "The token lacks a scope",
    use: "same-key",
    shouldRetry: false,
    cause: "The token is valid, but does not grant what this request needs.",
    cure: "Use a token with the scope that the detail names.",
  },
  "not-found": {
    status: 404,
    title: "Nothing here",
    use: "never",
    shouldRetry: false,
    cause: "The path, or the thing it names, does not exist for this tenant.",
    cure: "Check the path and the id.",
  },
  "method-not-allowed": {
    status: 405,
    title: "Method not allowed",
    use: "never",
    shouldRetry: false,
    cause: "The path exists, but not with this method.",
    cure: "Use a method that the Allow header lists.",
  },
  "body-too-large": {
    status: 413,
    title: "The body is too large",
    use: "same-key",
    shouldRetry: false,
    cause: "The body is longer than this API reads.",
    cure: "Send a smaller body, with the same key: this try changed nothing.",
  },
  "unsupported-media-type": {
    status: 415,
    title: "The body is not plain JSON",
    use: "same-key",
    shouldRetry: false,
    cause:
      "The body must be application/json in UTF-8, without a byte order mark or Content-Encoding.",
    cure: "Set Content-Type: application/json and send the JSON as it is.",
  },
  "idempotency-key-reused": {
    status: 422,
    title: "This key belongs to another request",
    use: "new-key",
    shouldRetry: false,
    cause:
      "The key was used before with another operation, path, query or body. That request stands as it is.",
    cure: "Take a new key for a new intent. To retry the old one, send exactly what was sent first.",
  },
  "request-in-flight": {
    status: 423,
    title: "The first request with this key is still running",
    use: "same-key",
    shouldRetry: true,
    cause: "Another request with this key is being executed right now.",
    cure: "Send the same request again after Retry-After, or with Prefer: wait=20.",
  },
  "idempotency-key-expired": {
    status: 410,
    title: "This key has expired",
    use: "new-key",
    shouldRetry: false,
    cause: "The key was used, and its stored answer is past its lifetime. It will not run again.",
    cure: "Look at what the key made (the link) before you decide on a new key.",
  },
  "outcome-erased": {
    status: 410,
    title: "The stored answer was erased",
    use: "never",
    shouldRetry: false,
    cause: "The answer of this key was erased on request. It will not run again.",
    cure: "Look at what the key made (the link).",
  },
  "outcome-uncertain": {
    status: 409,
    title: "The outcome is uncertain",
    use: "never",
    shouldRetry: false,
    cause: "An external effect may have happened, and nobody can tell yet.",
    cure: "It has to be resolved by a person; then the same key returns the resolution.",
  },
  "response-not-stored": {
    status: 409,
    title: "The answer was too large to store",
    use: "never",
    shouldRetry: false,
    cause: "The request ran once; its answer was larger than what is kept.",
    cure: "Look at what the key made (the link).",
  },
  "resolution-refused": {
    status: 409,
    title: "The key is not there to be resolved",
    use: "never",
    shouldRetry: false,
    cause:
      "Only an uncertain key can be resolved, and only once: this one is in flight, has an outcome, or was resolved otherwise.",
    cure: "Look the key up: what it says stands.",
  },
  "nothing-to-redrive": {
    status: 409,
    title: "There is no work to take up again",
    use: "never",
    shouldRetry: false,
    cause: "The issue is resolved, or is about something that no object carries on by itself.",
    cure: "Look the issue up. What is in the books is put right by hand; an uncertain key is resolved.",
  },
  "insufficient-funds": {
    status: 402,
    title: "Insufficient funds",
    use: "new-key",
    shouldRetry: false,
    cause: "The paying account would fall below its limit.",
    cure: "Fund the account, then use a new key.",
  },
  "unknown-account": {
    status: 409,
    title: "Unknown account",
    use: "new-key",
    shouldRetry: false,
    cause: "An account that the request names does not exist.",
    cure: "Create the account, then use a new key.",
  },
  "unknown-payment": {
    status: 404,
    title: "Unknown payment",
    use: "new-key",
    shouldRetry: false,
    cause: "The payment that the request names does not exist.",
    cure: "Check the payment's id, then use a new key.",
  },
  "unknown-product": {
    status: 404,
    title: "Unknown product",
    use: "new-key",
    shouldRetry: false,
    cause: "A product that the request names does not exist.",
    cure: "Check the SKU, then use a new key.",
  },
  "unknown-order": {
    status: 404,
    title: "Unknown order",
    use: "new-key",
    shouldRetry: false,
    cause: "The order that the request names does not exist.",
    cure: "Check the order's id, then use a new key.",
  },
  "order-already-cancelled": {
    status: 409,
    title: "The order is cancelled already",
    use: "new-key",
    shouldRetry: false,
    cause: "Another request with another key has cancelled this order.",
    cure: "Nothing is left to do: look at the order.",
  },
  "already-exists": {
    status: 409,
    title: "Already exists",
    use: "new-key",
    shouldRetry: false,
    cause: "Something with this id was made before, by another key.",
    cure: "Use the existing one, or another id with a new key.",
  },
  "currency-mismatch": {
    status: 409,
    title: "Currency mismatch",
    use: "new-key",
    shouldRetry: false,
    cause: "The accounts do not hold the currency of the request.",
    cure: "Use accounts of one currency, with a new key.",
  },
  "refund-exceeds-payment": {
    status: 409,
    title: "The refund exceeds the payment",
    use: "new-key",
    shouldRetry: false,
    cause: "The refunds of a payment may not add up to more than the payment.",
    cure: "Look at what is left to refund, then use a new key.",
  },
  "out-of-stock": {
    status: 409,
    title: "Out of stock",
    use: "new-key",
    shouldRetry: false,
    cause: "There is less in stock than the request takes.",
    cure: "Wait for stock, or take less, with a new key.",
  },
  "limit-exceeded": {
    status: 409,
    title: "A limit of the ledger would be exceeded",
    use: "new-key",
    shouldRetry: false,
    cause: "A balance or a quantity would leave the range that is stored exactly.",
    cure: "Use smaller amounts, with a new key.",
  },
  "rate-limited": {
    status: 429,
    title: "Too many new keys",
    use: "same-key",
    shouldRetry: true,
    cause: "The tenant used more new keys than its limit in the last minute.",
    cure: "Send the same request again after Retry-After.",
  },
  "operation-failed": {
    status: 500,
    title: "The operation could not be carried out",
    use: "new-key",
    shouldRetry: false,
    cause:
      "The database refused the effect for a reason that no rule foresaw. Nothing was changed; this answer is stored.",
    cure: "Look into the request id in the logs first; then use a new key.",
  },
  "internal-error": {
    status: 500,
    title: "Internal error",
    use: "same-key",
    shouldRetry: true,
    cause: "Something broke on our side before this try ran anything.",
    cure: "Send the same request again with the same key.",
  },
  "temporarily-unavailable": {
    status: 503,
    title: "Temporarily unavailable",
    use: "same-key",
    shouldRetry: true,
    cause:
      "This try was not carried out: the database, or the API behind, was away or too busy. An earlier try with this key may have been.",
    cure: "Send the same request again with the same key after Retry-After.",
  },
  "upstream-unreachable": {
    status: 502,
    title: "The upstream did not answer",
    use: "same-key",
    shouldRetry: true,
    cause:
      "The API behind this gateway could not be reached, or did not answer in time. This request changes nothing.",
    cure: "Send the same request again.",
  },
  "unprotected-call-failed": {
    status: 502,
    title: "An unprotected request got no answer",
    use: "never",
    shouldRetry: false,
    cause:
      "The API behind this gateway did not answer. The request was not protected by a key, so it may have been carried out.",
    cure: "Look at what it was to change before you send it again. With an Idempotency-Key a retry would be safe.",
  },
  "outcome-unknown-yet": {
    status: 503,
    title: "The outcome is not known yet",
    use: "same-key",
    shouldRetry: true,
    cause:
      "The request was sent to the database and no answer came back. It may have been carried out.",
    cure: "Send the same request again with the same key: it can not happen twice. Never use a new key.",
  },
} as const satisfies Record<string, Problem>;

export type ProblemCode = keyof typeof PROBLEMS;

export const isProblemCode = (code: string): code is ProblemCode => Object.hasOwn(PROBLEMS, code);

/** What varies between two occurrences of one problem. */
export type ProblemDetails = {
  /** For a code that the table does not have: a refusal that an operation declares itself. */
  readonly problem?: Problem;
  readonly detail?: string;
  /** Path of the resource that tells more: the key's, or the request's. */
  readonly instance?: string;
  /** Learned or measured; only in answers that are not stored. Milliseconds. */
  readonly afterMs?: number;
  /** Of a retry after `afterMs`, 0 to 1. Learned, like the reason. */
  readonly successProbability?: number;
  /** Why then, in place of the table's cure. */
  readonly reason?: string;
  /** Further members: `errors`, `mismatched`, `link`. */
  readonly members?: JsonObject;
};

/**
 * The RFC 9457 document.
 * @param origin where this Worker serves `/problems/{code}`, without a trailing slash
 */
export const problemDocument = (
  code: string,
  origin: string,
  details: ProblemDetails = {},
): JsonObject => {
  const problem: Problem =
    details.problem ?? PROBLEMS[isProblemCode(code) ? code : "internal-error"];
  return {
    type: `${origin}/problems/${code}`,
    title: problem.title,
    status: problem.status,
    detail: details.detail ?? problem.cause,
    ...(details.instance === undefined ? {} : { instance: details.instance }),
    code,
    retry: {
      use: problem.use,
      ...(details.afterMs === undefined ? {} : { afterMs: details.afterMs }),
      ...(details.successProbability === undefined
        ? {}
        : { successProbability: details.successProbability }),
      reason: details.reason ?? problem.cure,
    },
    ...details.members,
  };
};

/** `Retry-After` is whole seconds (RFC 9110 section 10.2.3), rounded up: never too early, never 0. */
export const retryAfterSeconds = (afterMs: number): number =>
  Math.max(1, Math.ceil(afterMs / 1000));
