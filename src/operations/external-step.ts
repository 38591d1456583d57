/**
 * An operation with an external step: its effect is only in part in this database. It is carried out as
 *
 * 1. **hold**: the plan, committed with the key's claim, takes what the step needs (funds leave the account) and says
 *    in `held` all that the rest goes by;
 * 2. **call**: a processor is called as the gateway calls an upstream: once by all that can be known, with a key of its
 *    own, healed as the processor's policy allows, and else shown as uncertain;
 * 3. **settle**, or **release**: committed with the key becoming final, or free. Both are functions of what was held and
 *    of what the processor said, and of nothing else: they may be asked for more than once, and must say the same.
 *
 * What is refused: an optional key (who has none could never be told what became of the call), and an answer that SQL
 * completes (it is told as soon as it is durable, which is before the settlement has reached the database).
 */
import type { z } from "zod";
import type { Json, JsonObject } from "../kernel/json.ts";
import {
  type Answer,
  type Condition,
  type Effect,
  type Guard,
  type Refused,
  refusedPlan,
} from "../kernel/plan.ts";
import {
  type DefinedOperation,
  type Definition,
  type Endpoint,
  foldDefinition,
  type Operation,
  type PlanContext,
  statusOf,
} from "./define-operation.ts";

/** What is sent to the processor. */
export type ProcessorCall = {
  readonly method: "POST" | "PUT" | "PATCH";
  /** Path and query. */
  readonly path: string;
  readonly body: JsonObject;
};

/** What the processor said for good. By a status path or a person, too: then the status may be theirs. */
export type ProcessorAnswer = {
  readonly status: number;
  /** Undefined if it was no JSON, or too long to be one object. */
  readonly body?: Json | undefined;
};

/** The answer of the operation, without what only SQL could say. */
type SettledAnswer<Body = JsonObject> = Omit<Answer, "computed" | "body"> & { readonly body: Body };

export type StepEnd<Refusal extends string = string, Body = JsonObject> =
  | { readonly effects: readonly Effect[]; readonly answer: SettledAnswer<Body> }
  /** The processor did not do it, and never will: what was held is released, and this is what retries get. */
  | { readonly refusal: Refusal; readonly detail: string };

/** The processor will not do it. */
export const declined = <Refusal extends string>(
  refusal: Refusal,
  detail: string,
): { readonly refusal: Refusal; readonly detail: string } => ({ refusal, detail });

export type ExternalStep<Held, Body, Refusal extends string> = {
  /** Its settings are the vars that begin so: `PAYOUT_PROCESSOR_ORIGIN`, `…_POLICY`, and the secret `…_TOKEN`. */
  readonly processor: string;
  /**
   * The same for the same input: a key that was set free may run again, and the processor may know its key.
   * @param processorKey what the processor is told as `Idempotency-Key`; not the client's own
   */
  readonly call: (held: Held, processorKey: string) => ProcessorCall;
  /** Pure. @param nowMs when the processor's answer was recorded, milliseconds since the epoch */
  readonly settle: (held: Held, answer: ProcessorAnswer, nowMs: number) => StepEnd<Refusal, Body>;
  /** Gives back what was held. Pure. */
  readonly release: (held: Held, nowMs: number) => readonly Effect[];
};

export type ExternalDefinition<
  Params extends z.ZodType<Record<string, string>>,
  Input extends z.ZodType,
  Output extends z.ZodType,
  Facts,
  Refusal extends string,
  Held extends z.ZodType<JsonObject>,
> = Omit<Definition<Params, Input, Output, Facts, Refusal>, "plan" | "idempotencyKey"> & {
  /** What `plan` hands on; it comes back from where it was kept. */
  readonly held: Held;
  /** Pure. */
  readonly plan: (
    input: z.output<Input>,
    facts: NoInfer<Facts>,
    context: PlanContext<z.output<Params>>,
  ) =>
    | {
        readonly facts?: readonly Condition[];
        readonly guards: readonly Guard<NoInfer<Refusal>>[];
        readonly effects: readonly Effect[];
        readonly held: z.output<Held>;
      }
    | Refused<NoInfer<Refusal>>;
  readonly external: ExternalStep<z.output<Held>, z.input<Output>, NoInfer<Refusal>>;
};

/** An external step, with its types folded away. Each throws if what was held is not what the definition says. */
export type OperationStep = {
  readonly processor: string;
  readonly call: (held: Json, processorKey: string) => ProcessorCall;
  readonly settle: (held: Json, answer: ProcessorAnswer, nowMs: number) => StepEnd;
  readonly release: (held: Json, nowMs: number) => readonly Effect[];
};

/** Throws an Error that names the operation if the definition breaks a rule. */
export const defineExternalOperation = <
  Method extends Operation["method"],
  Path extends string,
  Params extends z.ZodType<Record<string, string>>,
  Input extends z.ZodType,
  Output extends z.ZodType<JsonObject>,
  Facts,
  Refusal extends string,
  Held extends z.ZodType<JsonObject>,
>(
  definition: ExternalDefinition<Params, Input, Output, Facts, Refusal, Held> &
    Endpoint<Method, Path>,
): DefinedOperation<Method, Path, Params, Input, Output> => {
  const { name, held, plan, external } = definition;
  const status = statusOf(definition);
  if (!/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/.test(external.processor)) {
    throw new Error(
      `Operation ${name}: the processor must be named like its vars: "PAYOUT_PROCESSOR".`,
    );
  }
  if ("idempotencyKey" in definition && definition.idempotencyKey === "optional") {
    throw new Error(`Operation ${name}: an external step must require an Idempotency-Key.`);
  }
  const step: OperationStep = {
    processor: external.processor,
    call: (kept, processorKey) => external.call(held.parse(kept), processorKey),
    settle: (kept, answer, nowMs) => {
      const end = external.settle(held.parse(kept), answer, nowMs);
      if ("refusal" in end) return end;
      if (end.answer.status !== status) {
        throw new Error(
          `Operation ${name}: it settles with ${end.answer.status}, the definition says ${status}.`,
        );
      }
      return { ...end, answer: { ...end.answer, body: end.answer.body as JsonObject } };
    },
    release: (kept, nowMs) => external.release(held.parse(kept), nowMs),
  };
  const keyed = { ...definition, idempotencyKey: "required" as const };
  return foldDefinition(keyed, step, (input, facts, context) => {
    const planned = plan(input, facts, context);
    if ("refusal" in planned) return refusedPlan(planned);
    // What it answers comes with the settlement.
    return { ...planned, answer: { status, link: "", body: {} } };
  });
};
