/** What POST /v1/retry-advice and the agents' tool for it take and give: a failure and what came of a retry; advice. */
import { z } from "zod";
import { ADVISOR_CODE_LENGTH_MAX } from "../kernel/limits.ts";

/** What a prediction rests on: the class, the length of outages, or that the origin is up again. */
export const PREDICTION_CONTEXTS = ["class", "outage", "released"] as const;

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
  context: z.enum(PREDICTION_CONTEXTS),
  raw: z.number().min(0).max(1),
});

const described = z.strictObject({
  origin: z.string().min(1).max(120).optional().meta({
    description: "Who failed, as you name it: a host. This service itself, unless said",
  }),
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

/** What this service meets itself is not reported to it, and has no parts that a caller names. */
export const retryAdviceInput = described.refine(
  ({ origin, route, next }) => origin !== undefined || (route === undefined && next === undefined),
  { path: ["origin"], error: "Who is it? `route` and `next` need an origin." },
);

/** The members of `retryAdviceInput`. */
export const retryAdviceMembers = described.shape;

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
