/**
 * What an upstream's answer means. Only what is certainly an outcome is kept for ever; only what certainly was not
 * executed may be sent again by everybody; whatever is in doubt may have been executed.
 */
import type { ExchangePolicy } from "./exchange.ts";

export type Verdict =
  /** The outcome: replayed from now on. */
  | "final"
  /** The upstream says, or the connection proves, that it did not run: it may be sent again. */
  | "not-executed"
  /** Nobody can tell: healed as the policy allows, else uncertain. */
  | "maybe-executed";

/** The upstream's own time-out, "too early" and rate limit (RFC 9110 section 15.5.9, RFC 8470, RFC 6585). */
const NOT_FINAL = new Set([408, 425, 429]);

/**
 * What an upstream that knows keys says to a key that it is still working on: 409 (the IETF draft, Stripe), 423, 425. It
 * is no outcome of the request, but only to one that was sent before.
 */
const STILL_RUNNING = new Set([409, 423, 425]);

/**
 * @param isRepeat whether an earlier try of the key may have been executed
 */
export const verdictOn = (
  status: number,
  { finalStatuses, honoursKey }: Pick<ExchangePolicy, "finalStatuses" | "honoursKey">,
  isRepeat: boolean,
): Verdict => {
  if (finalStatuses !== null) {
    if (finalStatuses.includes(status)) return "final";
    return status === 429 ? "not-executed" : "maybe-executed";
  }
  if (isRepeat && honoursKey && STILL_RUNNING.has(status)) return "maybe-executed";
  if (status === 429) return "not-executed";
  return status >= 200 && status < 500 && !NOT_FINAL.has(status) ? "final" : "maybe-executed";
};

/**
 * What a call that threw proves. workerd says "Network connection lost." of a refused connection, of a reset before a
 * byte was sent, and of one after the request was carried out, with the same `retryable` and `remote` on all of them and
 * nothing else (tried with a server that does each): so nothing, once the request was handed to the runtime.
 */
export const verdictOnFailure = (wasSent: boolean): Verdict =>
  wasSent ? "maybe-executed" : "not-executed";

/** What the answer to "what became of this key?" says. Only a 200 is an outcome; a 404 is the word for "I know of none". */
export const findingOn = (status: number): "outcome" | "absent" | "unknown" =>
  status === 200 ? "outcome" : status === 404 ? "absent" : "unknown";
