/**
 * How many new keys a tenant may use in a minute, counted before any object is touched. Counting is per location
 * and approximate; a key that this isolate has counted is a retry, and is not counted again.
 */
import { BoundedMap } from "../kernel/bounded-map.ts";
import { COUNTED_KEYS_MAX, KEY_LENGTH_MAX } from "../kernel/limits.ts";

/** The period of the rate limiting binding in `wrangler.toml`. */
export const RATE_PERIOD_MS = 60_000;

const counted = new BoundedMap<string, true>(COUNTED_KEYS_MAX);

/** @param counter whose keys are counted together: the tenant's, unless nobody has proven that it is one */
export const isOverNewKeyLimit = async (
  limiter: RateLimit | undefined,
  tenant: string,
  key: string | undefined,
  counter: string = tenant,
): Promise<boolean> => {
  // What is no key is refused anyway, and is not worth remembering.
  if (limiter === undefined || key === undefined || key.length > KEY_LENGTH_MAX + 2) return false;
  const name = `${tenant} ${key}`;
  if (counted.get(name) === true) return false;
  const { success } = await limiter.limit({ key: counter });
  if (success) counted.set(name, true);
  return !success;
};
