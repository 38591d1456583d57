/**
 * Whether a retry is safe, before any model is asked. What is refused here no learned figure can allow: the model
 * decides when, never whether it is safe.
 */
import type { KeyUse } from "../contract/problems.ts";
import type { Failure } from "./failure.ts";

/** What the caller knows of the request that failed. */
export type Circumstances = {
  /** It carries an idempotency key. */
  readonly keyed: boolean;
  /** Repeating it changes nothing by itself: a read. */
  readonly safeMethod: boolean;
  /** The origin gives a retry under the same key the first answer. */
  readonly honoursKeys: boolean;
  /** The body would differ from the first try's. */
  readonly bodyChanged: boolean;
  /** An external effect may have happened. */
  readonly uncertain: boolean;
  /** The runtime refused a call to an object as overloaded: another only adds to the load. */
  readonly overloaded: boolean;
};

export const SAFE: Circumstances = {
  keyed: true,
  safeMethod: false,
  honoursKeys: true,
  bodyChanged: false,
  uncertain: false,
  overloaded: false,
};

/** Whether the request may have had its effect, though it failed: only a refusal says that it has not. */
export const mayHaveHappened = ({ status, code }: Failure): boolean =>
  (status === 0 && code !== "refused") || status === 408 || status === 425 || status >= 500;

export type Refusal = { readonly use: KeyUse; readonly reason: string };

/** Codes that mean no, whoever asks again: a card's issuer, or this API's own refusals of a key. */
const HARD: Readonly<Record<string, Refusal>> = {
  "idempotency-key-reused": {
    use: "new-key",
    reason: "The key belongs to another request: a new intent needs a new key.",
  },
  "idempotency-key-expired": {
    use: "new-key",
    reason: "The key has expired: look at what it made before a new key is used.",
  },
  "outcome-uncertain": {
    use: "never",
    reason: "The outcome is uncertain: it has to be resolved first.",
  },
  "outcome-erased": { use: "never", reason: "The stored answer was erased." },
  "response-not-stored": { use: "never", reason: "It ran; its answer was too large to keep." },
};

const DECLINES: ReadonlySet<string> = new Set([
  "do_not_honor",
  "fraudulent",
  "lost_card",
  "stolen_card",
  "pickup_card",
  "restricted_card",
  "revocation_of_authorization",
  "revocation_of_all_authorizations",
  "security_violation",
  "transaction_not_allowed",
  "stop_payment_order",
  "account_closed",
  "no_account",
]);

/** Why it must not be sent again, or undefined. In order: the first that holds decides. */
export const refusalOf = (
  { keyed, safeMethod, honoursKeys, bodyChanged, uncertain, overloaded }: Circumstances,
  code: string,
): Refusal | undefined => {
  if (bodyChanged) {
    return { use: "new-key", reason: "The body has changed: that is another intent." };
  }
  const hard = Object.hasOwn(HARD, code) ? HARD[code] : undefined;
  if (hard !== undefined) return hard;
  if (DECLINES.has(code.replaceAll("-", "_"))) {
    return { use: "never", reason: "A hard decline: asking again will not change it." };
  }
  if (overloaded) {
    return { use: "never", reason: "The object is overloaded: this call is not repeated." };
  }
  if (safeMethod) return undefined;
  if (!keyed) {
    return { use: "never", reason: "Without a key, a second try may be a second effect." };
  }
  if (uncertain && !honoursKeys) {
    return {
      use: "never",
      reason: "It may have happened, and the origin does not honour keys: resolve it first.",
    };
  }
  return undefined;
};
