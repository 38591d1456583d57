/**
 * The `Prefer` header (RFC 7240): `wait=N` asks to hold the request while its key is in flight, `respond-async` to accept
 * it and answer at once.
 */
import { WAIT_SECONDS_MAX } from "../kernel/limits.ts";

/**
 * Milliseconds that the caller is ready to wait.
 * @param unasked if it did not say, or not understandably
 */
export const waitMsOf = (prefer: string | undefined, unasked = 0): number => {
  const seconds = /(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?:;[^,]*)?(?:,|$)/i.exec(prefer ?? "")?.[1];
  return seconds === undefined ? unasked : Math.min(Number(seconds), WAIT_SECONDS_MAX) * 1000;
};

/** RFC 7240 section 4.1. */
export const prefersAsync = (prefer: string | undefined): boolean =>
  /(?:^|,)\s*respond-async\s*(?:;[^,]*)?(?:,|$)/i.test(prefer ?? "");
