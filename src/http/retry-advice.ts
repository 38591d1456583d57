/**
 * POST /v1/retry-advice: a client describes a failure that it met anywhere, and may report what came of a retry; it hears
 * whether, when and how to try again. It takes no Idempotency-Key: it makes and moves nothing, and a report that arrives
 * twice only counts twice in the statistics of its own tenant.
 */
import type { z } from "zod";
import type { Advice } from "../advisor/advice.ts";
import type { Failure } from "../advisor/failure.ts";
import { mayHaveHappened } from "../advisor/safety.ts";
import { isProblemCode, PROBLEMS, retryAfterSeconds } from "../contract/problems.ts";
import { retryAdviceInput } from "../contract/retry-advice.ts";
import { advisor, OWN_GROUP } from "../objects/advice.ts";
import { admit } from "./access.ts";
import type { HttpContext } from "./context.ts";
import { explain } from "./explanation.ts";
import { tellLater } from "./experience.ts";
import { readInput } from "./input.ts";

type Input = z.output<typeof retryAdviceInput>;

export const retryAdviceRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["read"]);
  if (!admitted.ok) return admitted.failure;
  const input = await readInput(c, retryAdviceInput);
  if (!input.ok) return input.failure;
  const { tenant } = admitted.value;
  const nowMs = Date.now();
  const advice = adviseOn(tenant, input.value, nowMs);
  tellLater(c, tenant);
  const explanation = input.value.explain ? await explain(advice, c.env.AI) : undefined;
  const retryAfter: Record<string, string> = advice.retry
    ? { "Retry-After": String(retryAfterSeconds(advice.afterMs)) }
    : {};
  return c.json(
    { ...viewOf(advice, nowMs), ...(explanation === undefined ? {} : { explanation }) },
    200,
    { "Cache-Control": "no-store", ...retryAfter },
  );
};

const adviseOn = (tenant: string, input: Input, nowMs: number): Advice => {
  const { origin } = input;
  return origin === undefined
    ? adviseOnOwn(tenant, input)
    : adviseOnOther(tenant, groupOf(origin, input.route), input, nowMs);
};

/** This service has seen what it answered: nothing is learned from being told. The table says what is safe. */
const adviseOnOwn = (tenant: string, input: Input): Advice => {
  const { status, code = "", retries, ageMs } = input;
  const problem = isProblemCode(code) ? PROBLEMS[code] : undefined;
  if (problem !== undefined && !problem.shouldRetry) {
    return { ...RULE, use: problem.use, class: "unsafe", reason: problem.cure };
  }
  return advisor.advise(tenant, OWN_GROUP, questionOf(input, { status, code }, retries, ageMs));
};

const adviseOnOther = (tenant: string, group: string, input: Input, nowMs: number): Advice => {
  const first: Failure = { status: input.status, code: input.code ?? "" };
  const { next, retries, ageMs } = input;
  if (next === undefined) {
    // A retry that failed is reported with the failure before it, as `next`.
    if (retries === 0) {
      advisor.observe(tenant, group, {
        atMs: nowMs,
        durationMs: 0,
        failure: first,
        partial: true,
      });
    }
    return advisor.advise(tenant, group, questionOf(input, first, retries, ageMs));
  }
  const failure = next.succeeded ? undefined : { status: next.status ?? 0, code: next.code ?? "" };
  advisor.observe(tenant, group, {
    atMs: nowMs,
    durationMs: next.durationMs,
    failure,
    before: { failure: first, ageMs, toAgeMs: ageMs + next.afterMs },
    predicted: next.prediction,
    partial: true,
  });
  return failure === undefined
    ? SUCCEEDED
    : advisor.advise(tenant, group, questionOf(input, failure, retries + 1, ageMs + next.afterMs));
};

const questionOf = (input: Input, failure: Failure, retries: number, ageMs: number) => ({
  failure,
  retries,
  ageMs,
  hintMs: input.retryAfterMs,
  deadlineMs: input.deadlineMs,
  circumstances: {
    keyed: input.keyed,
    honoursKeys: input.honoursKeys,
    safeMethod: input.safeMethod,
    bodyChanged: input.bodyChanged,
    uncertain: input.uncertain ?? mayHaveHappened(failure),
    overloaded: false,
  },
});

/** What a tenant names is its own, and never the name of what the service knows of itself. */
const groupOf = (origin: string, route: string | undefined): string =>
  `at ${origin.toLowerCase()}${route === undefined ? "" : ` ${route}`}`;

const RULE: Advice = {
  retry: false,
  use: "same-key",
  afterMs: 0,
  giveUpAfterMs: 0,
  successProbability: 0,
  interval: [0, 0],
  confidence: 1,
  class: "spent",
  policy: "rule",
  reason: "",
  predicted: undefined,
};

const SUCCEEDED: Advice = {
  ...RULE,
  successProbability: 1,
  interval: [1, 1],
  reason: "It has succeeded.",
};

const viewOf = (advice: Advice, nowMs: number) => {
  const { retry, afterMs, giveUpAfterMs } = advice;
  const at = (inMs: number): string | null => (retry ? new Date(nowMs + inMs).toISOString() : null);
  return {
    retry,
    use: advice.use,
    afterMs: Math.ceil(afterMs),
    notBefore: at(afterMs),
    giveUpAfter: at(giveUpAfterMs),
    successProbability: rounded(advice.successProbability),
    interval: advice.interval.map(rounded),
    confidence: rounded(advice.confidence),
    class: advice.class,
    policy: advice.policy,
    reason: advice.reason,
    prediction: advice.predicted ?? null,
  };
};

const rounded = (figure: number): number => Math.round(figure * 1_000) / 1_000;
