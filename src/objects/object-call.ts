/** Calls the object that holds a key. A broken call is made again: every method may run twice. */
import type { Bindings } from "../env.ts";
import type { KeyObjectMethods } from "../objects/key-object.ts";
import { OBJECT_CALLS_MAX } from "../kernel/limits.ts";

/** Throws what the last call threw. */
export const callObject = async <Value>(
  env: Bindings,
  object: string,
  call: (stub: KeyObjectMethods) => Promise<Value>,
): Promise<Value> => {
  let broken: unknown;
  for (let tries = 1; ; tries++) {
    // A stub whose call broke is dead: each try takes a new one.
    // The namespace is bound to our own class (wrangler.toml); the binding's type cannot say so.
    const stub = env.KEY_OBJECT.getByName(object) as unknown as KeyObjectMethods;
    try {
      return await call(stub);
    } catch (error) {
      // A call that broke may have been carried out, whatever became of those after it.
      if (!isOverloaded(error)) broken = error;
      if (tries === OBJECT_CALLS_MAX || !isWorthRepeating(error)) throw broken ?? error;
    }
  }
};

/** The runtime refused the call: it did not reach the object, and another would only add to the load. */
export const isOverloaded = (error: unknown): boolean => flag(error, "overloaded");

const isWorthRepeating = (error: unknown): boolean =>
  flag(error, "retryable") && !isOverloaded(error);

/** The runtime marks the errors of stubs with booleans. */
const flag = (error: unknown, name: "retryable" | "overloaded"): boolean =>
  typeof error === "object" && error !== null && Reflect.get(error, name) === true;
