/** Which answers a fuzz run should have seen: what the document declares, less what requests alone cannot bring about. */
import type { Documented } from "./fuzz-document.ts";

/** Declared, and out of reach of requests alone: faults of the database, time, configuration. */
const OUT_OF_REACH = new Set([
  // The limiter is off: it would hide what lies behind it.
  "rate-limited",
  "idempotency-key-expired",
  "operation-failed",
  "internal-error",
  "temporarily-unavailable",
  "outcome-unknown-yet",
]);

/** Declared for what the data cannot come to: a second line behind a guard, or a rule of all reads. */
const NEVER: Readonly<Record<string, readonly string[]>> = {
  "refunds.create": ["unknown-account", "currency-mismatch", "limit-exceeded"],
  "orders.cancel": [
    "unknown-account",
    "currency-mismatch",
    "refund-exceeds-payment",
    "out-of-stock",
  ],
  "idempotency-keys.get": ["not-found", "request-invalid"],
  "idempotency-keys.erase": ["request-invalid"],
  "ops.revoke-token": ["not-found"],
};

/** Every answer that an operation can be brought to give, as `operation status code`. */
export const wantedOf = (operation: Documented): string[] => {
  const { id, keyed, success, problems, parameters, path } = operation;
  const hasId = path.includes("{");
  const reachable = problems.filter(
    ({ code, status }) =>
      !OUT_OF_REACH.has(code) &&
      !(NEVER[id]?.includes(code) ?? false) &&
      !(code === "request-in-flight" && status === 409) &&
      !(code === "not-found" && (keyed || !hasId)),
  );
  return [
    `${id} ${success} done`,
    ...(keyed ? [`${id} ${success} replayed`, `${id} 202 done`] : []),
    ...reachable
      .filter(
        ({ code }) =>
          parameters.length > 0 || keyed || code !== "request-invalid" || id === "ops.revoke-token",
      )
      .map(({ status, code }) => `${id} ${status} ${code}`),
  ];
};
