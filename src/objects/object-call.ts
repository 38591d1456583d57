/** Calls an object of ours. A broken call is made again: every method that is called so may run twice. */
import { OBJECT_CALLS_MAX } from "../kernel/limits.ts";

/**
 * Throws what the last call threw.
 * @param newStub a stub whose call broke is dead: each try takes a new one
 */
export const callObject = async <Methods, Value>(
  newStub: () => Methods,
  call: (stub: Methods) => Promise<Value>,
): Promise<Value> => {
  let broken: unknown;
  for (let tries = 1; ; tries++) {
    try {
      return await call(newStub());
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
