/** Which object holds a key. The only place that knows. */
import type { Bindings, Settings } from "../env.ts";
import { sha256Of } from "../kernel/hash.ts";
import type { KeyObjectMethods } from "./key-object.ts";

/**
 * The name of the object: one for each key, or one of N for each tenant. Lengths stand before the parts, so that
 * tenant `a` with key `b:c` and tenant `a:b` with key `c` never meet; keys are hashed, so that no text of a
 * client becomes a name.
 */
export const objectFor = (
  tenant: string,
  key: string,
  keyObjects: Settings["KEY_OBJECTS"],
): string => {
  const whose = `${tenant.length}:${tenant}`;
  if (keyObjects === 1) return `bucket/${whose}/0`;
  const hash = sha256Of(`${whose}/${key}`);
  if (keyObjects === "per-key") return `key/${whose}/${hash}`;
  // 48 bits: exact as a double, and even over any N that is allowed.
  return `bucket/${whose}/${Number.parseInt(hash.slice(0, 12), 16) % keyObjects}`;
};

/** For `callObject`: a new stub of that object each time. */
export const keyObjectNamed = (env: Bindings, name: string) => (): KeyObjectMethods =>
  // The namespace is bound to our own class (wrangler.toml); the binding's type cannot say so.
  env.KEY_OBJECT.getByName(name) as unknown as KeyObjectMethods;
