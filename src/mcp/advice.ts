/** Advice for an agent that failed. Fixed by the problem table; one that learns has the same form. */
import { type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import type { JsonObject } from "../kernel/json.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../kernel/limits.ts";

export type Failure = {
  /** None: no answer came. */
  readonly code: ProblemCode | undefined;
  readonly attempts: number;
};

export type Advise = (failure: Failure) => JsonObject;

/** No later than this: an agent's turn does not last for ever. Milliseconds. */
const AFTER_MS_MAX = 30_000;

export const fixedAdvice: Advise = ({ code, attempts }) => {
  const problem = PROBLEMS[code ?? "outcome-unknown-yet"];
  return {
    retry: problem.shouldRetry,
    use: problem.use,
    ...(problem.shouldRetry
      ? {
          afterMs: Math.min(
            AFTER_MS_MAX,
            RETRY_AFTER_DEFAULT_MS * 2 ** (Math.min(attempts, 16) - 1),
          ),
        }
      : {}),
    reason: problem.cure,
    policy: "fixed",
  };
};
