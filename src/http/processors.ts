/** The processors of operations with an external step: judged with the other settings, before anything is served. */
import type { Bindings } from "../env.ts";
import { parseProcessor } from "../gateway/processor.ts";
import type { Operation } from "../operations/define-operation.ts";

/** Bindings that were found to be right, for which operations. */
const checked = new WeakMap<readonly Operation[], WeakSet<Bindings>>();

/** Throws an Error that names every setting that is wrong, every time. */
export const checkProcessors = (operations: readonly Operation[], env: Bindings): void => {
  const known = checked.get(operations) ?? new WeakSet();
  if (known.has(env)) return;
  for (const { external, keyLifetimeSeconds } of operations) {
    if (external !== null) parseProcessor(env, external.processor, keyLifetimeSeconds);
  }
  checked.set(operations, known.add(env));
};
