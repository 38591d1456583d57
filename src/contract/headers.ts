/** Names of the headers that the contract speaks of, and media types, each written once. */

export const IDEMPOTENCY_KEY = "Idempotency-Key";
export const IDEMPOTENT_REPLAYED = "Idempotent-Replayed";
export const IDEMPOTENCY_EXPIRES = "Idempotency-Expires";
export const REQUEST_ID = "X-Request-Id";
/** Two names for one hint: Stripe's clients read the first, Stainless-generated ones the second. */
export const SHOULD_RETRY = ["Stripe-Should-Retry", "X-Should-Retry"] as const;

export const JSON_TYPE = "application/json";
export const PROBLEM_TYPE = "application/problem+json";

/** RFC 9110 section 5.6.7 (IMF-fixdate). */
export const httpDate = (epochSeconds: number): string =>
  new Date(epochSeconds * 1000).toUTCString();
