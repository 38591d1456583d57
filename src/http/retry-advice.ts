/**
 * POST /v1/retry-advice: a client describes a failure that it met anywhere, and may report what came of a retry; it hears
 * whether, when and how to try again. It takes no Idempotency-Key: it makes and moves nothing, and a report that arrives
 * twice only counts twice in the statistics of its own tenant.
 */
import { z } from "zod";
import type { Advice } from "../advisor/advice.ts";
import { CONTEXTS } from "../advisor/calibration.ts";
import type { Failure } from "../advisor/failure.ts";
import { mayHaveHappened } from "../advisor/safety.ts";
import { retryAfterSeconds } from "../contract/problems.ts";
import { advisor } from "../objects/advice.ts";
import { ADVISOR_CODE_LENGTH_MAX } from "../kernel/limits.ts";
import { admit } from "./access.ts";
import type { HttpContext } from "./context.ts";
import { explain } from "./explanation.ts";
import { tellLater } from "./experience.ts";
import { readInput } from "./input.ts";

/** Thirty days: as long as a tombstone stands. */
const MS_MAX = 30 * 24 * 60 * 60 * 1000;
const ms = z.int().min(0).max(MS_MAX);
const status = z
  .int()
  .min(0)
  .max(599)
  .refine((value) => value === 0 || value >= 100, "is no HTTP status")
  .meta({ description: "HTTP status; 0 if no answer came" });
const code = z
  .string()
  .max(ADVISOR_CODE_LENGTH_MAX)
  .meta({ description: "The error's own code; without an answer `timeout`, `reset` or `refused`" });
const prediction = z.strictObject({
  context: z.enum(CONTEXTS),
  raw: z.number().min(0).max(1),
});

export const retryAdviceInput = z.strictObject({
  origin: z.string().min(1).max(120).meta({ description: "Who failed, as you name it: a host" }),
  route: z.string().min(1).max(60).optional().meta({ description: "And which part of it" }),
  status,
  code: code.optional(),
  retries: z.int().min(0).max(10_000).default(0).meta({ description: "Made before this failure" }),
  ageMs: ms.default(0).meta({ description: "Since the first failure" }),
  retryAfterMs: ms.optional().meta({ description: "What the origin asked to wait: a floor" }),
  deadlineMs: ms.optional().meta({ description: "From now; after it a success is worth nothing" }),
  keyed: z.boolean().meta({ description: "Whether the request carries an idempotency key" }),
  honoursKeys: z
    .boolean()
    .default(true)
    .meta({ description: "Whether the origin answers a retry under the same key once" }),
  safeMethod: z.boolean().default(false).meta({ description: "It only reads" }),
  bodyChanged: z.boolean().default(false),
  uncertain: z.boolean().optional().meta({
    description: "Whether it may have happened all the same; told from the status unless said",
  }),
  next: z
    .strictObject({
      afterMs: ms,
      succeeded: z.boolean(),
      status: status.optional(),
      code: code.optional(),
      durationMs: ms.default(0),
      prediction: prediction.optional(),
    })
    .optional()
    .meta({ description: "What came of a retry that was made `afterMs` after this failure" }),
  explain: z.boolean().default(false).meta({ description: "Also in a sentence for people" }),
});

const probability = z.number().min(0).max(1);

export const retryAdviceOutput = z.object({
  retry: z.boolean(),
  use: z.enum(["same-key", "new-key", "never"]),
  afterMs: z.int().min(0),
  notBefore: z.string().nullable(),
  giveUpAfter: z.string().nullable(),
  successProbability: probability,
  interval: z.array(probability).length(2),
  confidence: probability,
  class: z.string(),
  policy: z.enum(["rule", "prior", "learned", "exploring"]),
  reason: z.string(),
  prediction: prediction
    .nullable()
    .meta({ description: "Give it back in `next.prediction`, so that it can be calibrated" }),
  explanation: z.object({ text: z.string(), by: z.enum(["model", "template"]) }).optional(),
});

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
  const group = groupOf(input);
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
const groupOf = ({ origin, route }: Input): string =>
  `at ${origin.toLowerCase()}${route === undefined ? "" : ` ${route}`}`;

const SUCCEEDED: Advice = {
  retry: false,
  use: "same-key",
  afterMs: 0,
  giveUpAfterMs: 0,
  successProbability: 1,
  interval: [1, 1],
  confidence: 1,
  class: "spent",
  policy: "rule",
  reason: "It has succeeded.",
  predicted: undefined,
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
