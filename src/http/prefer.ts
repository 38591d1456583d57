/** The `Prefer` header (RFC 7240): `wait=N` asks to hold the request while its key is in flight. */
import { WAIT_SECONDS_MAX } from "../kernel/limits.ts";

/** Milliseconds that the caller is ready to wait; 0 if it did not ask, or not understandably. */
export const waitMsOf = (prefer: string | undefined): number => {
  const seconds = /(?:^|,)\s*wait\s*=\s*"?(\d+)"?\s*(?:;[^,]*)?(?:,|$)/i.exec(prefer ?? "")?.[1];
  return seconds === undefined ? 0 : Math.min(Number(seconds), WAIT_SECONDS_MAX) * 1000;
};
