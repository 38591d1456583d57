/**
 * The budget of retries. Only a first try that succeeds refills it, so retries cannot feed themselves: an origin that
 * answers nobody gets no more of them than were saved up.
 */
import { ADVISOR_TOKENS_MAX } from "../kernel/limits.ts";

export type Tokens = { left: number };

export const fullTokens = (): Tokens => ({ left: ADVISOR_TOKENS_MAX });

/** Two first tries that succeed pay for a retry: an origin that fails a third of the time is still helped. */
const REFILL = 0.5;

export const refill = (tokens: Tokens): void => {
  tokens.left = Math.min(ADVISOR_TOKENS_MAX, tokens.left + REFILL);
};

export const spend = (tokens: Tokens): void => {
  tokens.left = Math.max(0, tokens.left - 1);
};

/** What a retry must be worth, in successes: what it costs the origin, and more as the budget runs out. */
export const priceOf = ({ left }: Tokens): number => {
  const spent = 1 - left / ADVISOR_TOKENS_MAX;
  return PRICE * (1 + SCARCITY * spent * spent);
};

const PRICE = 0.04;
const SCARCITY = 9;
