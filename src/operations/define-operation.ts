/**
 * One definition is one exactly-once endpoint: its route, validation, OpenAPI entry and idempotency follow from
 * it. What is wrong with a definition is said when it is made, not when it is called.
 */
import { z } from "zod";
import { isProblemCode, type KeyUse, type Problem, PROBLEMS } from "../contract/problems.ts";
import { isScope, type Scope } from "../contract/scopes.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { Json } from "../kernel/json.ts";
import {
  KEY_LIFETIME_SECONDS,
  KEY_LIFETIME_SECONDS_MAX,
  TOMBSTONE_SECONDS,
} from "../kernel/limits.ts";
import { type Plan, type Refused, refusedPlan } from "../kernel/plan.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import type { Reader } from "../journal/reader.ts";
import type { OperationStep } from "./external-step.ts";

/** What a plan may use besides its input: all of it fixed for the request, so that a plan can be made again. */
export type PlanContext<Params> = {
  readonly params: Params;
  /** The same ids, in the same order, for every plan of this request. */
  readonly ids: IdSource;
  /** When the request started, milliseconds since the epoch. */
  readonly nowMs: number;
  /** The idempotency key, to be stored beside what it made. */
  readonly key: string;
};

/** A refusal of an operation's own, for a code that the problem table does not have. */
export type OwnRefusal = {
  readonly status: number;
  readonly title: string;
  readonly cause: string;
  readonly cure: string;
};

export type Definition<
  Params extends z.ZodType<Record<string, string>>,
  Input extends z.ZodType,
  Output extends z.ZodType,
  Facts,
  Refusal extends string,
> = {
  /** `payments.create`: part of the fingerprint, so it is never changed. */
  readonly name: string;
  readonly method: "POST" | "PATCH" | "PUT" | "DELETE";
  /** OpenAPI form: `/v1/payments/{id}/refunds`. */
  readonly path: string;
  readonly summary: string;
  /** Needed by every request; `moreScopes` adds what a particular body needs. */
  readonly scope: Scope;
  readonly moreScopes?: (body: Json) => readonly Scope[];
  /** Only PUT and DELETE may make it optional. */
  readonly idempotencyKey?: "required" | "optional";
  /** Of the answer, as OpenAPI promises it: 201 of a POST and 200 of the others, unless said. */
  readonly status?: Plan["answer"]["status"];
  /** How long the answer is replayed; 24 hours unless said. */
  readonly keyLifetimeSeconds?: number;
  readonly params: Params;
  readonly input: Input;
  readonly output: Output;
  /** Every code that the plan may refuse with: the table's status, or a problem of the operation's own. */
  readonly refusals: Readonly<Record<Refusal, number | OwnRefusal>>;
  /** What a violated constraint of the schema stands for; any other is a stored 500. */
  readonly constraints?: Readonly<Record<string, NoInfer<Refusal>>>;
  /** Before the batch. Every fact that the plan uses, it must also name among its `facts`. */
  readonly read?: (
    input: z.output<Input>,
    reader: Reader,
    context: PlanContext<z.output<Params>>,
  ) => Promise<Facts>;
  /** Pure. */
  readonly plan: (
    input: z.output<Input>,
    facts: NoInfer<Facts>,
    context: PlanContext<z.output<Params>>,
  ) =>
    | (Plan<NoInfer<Refusal>> & { readonly answer: { readonly body: z.input<Output> } })
    | Refused<NoInfer<Refusal>>;
};

/** A member that is wrong, as a JSON pointer (RFC 6901), and why. */
export type InputIssue = { readonly pointer: string; readonly detail: string };

/** A request that has passed validation. */
export type ReadyOperation = {
  readonly reads: boolean;
  readonly plan: (reader: Reader, context: Omit<PlanContext<never>, "params">) => Promise<Plan>;
};

/** A definition, checked, with its types folded away. */
export type Operation = {
  readonly name: string;
  readonly method: "POST" | "PATCH" | "PUT" | "DELETE";
  readonly path: string;
  readonly summary: string;
  readonly scope: Scope;
  readonly moreScopes: (body: Json) => readonly Scope[];
  readonly keyRequired: boolean;
  /** Of every answer that is no refusal. */
  readonly status: Plan["answer"]["status"];
  readonly keyLifetimeSeconds: number;
  /** How long after that a key is known to be used. */
  readonly tombstoneSeconds: number;
  readonly params: z.ZodType<Record<string, string>>;
  readonly input: z.ZodType;
  readonly output: z.ZodType;
  readonly refusals: Readonly<Record<string, Problem>>;
  readonly refusalOf: (constraint: string) => string;
  /** What it does outside the database; null: nothing. */
  readonly external: OperationStep | null;
  readonly validate: (
    params: Readonly<Record<string, string>>,
    body: Json,
  ) => Result<ReadyOperation, readonly InputIssue[]>;
};

/** What is defined, and what it may be called with: clients are typed by it. */
export type DefinedOperation<
  Method extends Operation["method"],
  Path extends string,
  Params extends Operation["params"],
  Input extends z.ZodType,
  Output extends z.ZodType,
> = Operation & {
  readonly method: Method;
  readonly path: Path;
  readonly params: Params;
  readonly input: Input;
  readonly output: Output;
};

/** The literal types of a definition's method and path, for clients to be typed by. */
export type Endpoint<Method, Path> = { readonly method: Method; readonly path: Path };

/** Throws an Error that names the operation if the definition breaks a rule. */
export const defineOperation = <
  Method extends Operation["method"],
  Path extends string,
  Params extends z.ZodType<Record<string, string>>,
  Input extends z.ZodType,
  Output extends z.ZodType,
  Facts,
  Refusal extends string,
>(
  definition: Definition<Params, Input, Output, Facts, Refusal> & Endpoint<Method, Path>,
): DefinedOperation<Method, Path, Params, Input, Output> => {
  const { name, plan } = definition;
  const status = statusOf(definition);
  return foldDefinition(definition, null, (input, facts, context) => {
    const planned = plan(input, facts, context);
    if ("refusal" in planned) return refusedPlan(planned);
    if (planned.answer.status !== status) {
      throw new Error(
        `Operation ${name}: the plan answers ${planned.answer.status}, the definition ${status}.`,
      );
    }
    return planned;
  });
};

/** Of every answer that is no refusal. */
export const statusOf = ({
  method,
  status,
}: {
  readonly method: string;
  readonly status?: Plan["answer"]["status"];
}): Plan["answer"]["status"] => status ?? (method === "POST" ? 201 : 200);

/** Checks what every definition has, and folds its types away around how it is planned. */
export const foldDefinition = <
  Method extends Operation["method"],
  Path extends string,
  Params extends z.ZodType<Record<string, string>>,
  Input extends z.ZodType,
  Output extends z.ZodType,
  Facts,
  Refusal extends string,
>(
  definition: Omit<Definition<Params, Input, Output, Facts, Refusal>, "plan"> &
    Endpoint<Method, Path>,
  external: OperationStep | null,
  plan: (input: z.output<Input>, facts: Facts, context: PlanContext<z.output<Params>>) => Plan,
): DefinedOperation<Method, Path, Params, Input, Output> => {
  const { name, method, path, read } = definition;
  const refusals = checkDefinition(definition);
  const status = statusOf(definition);
  return {
    name,
    method,
    path,
    summary: definition.summary,
    scope: definition.scope,
    moreScopes: definition.moreScopes ?? (() => []),
    keyRequired: isKeyRequired(definition),
    status,
    keyLifetimeSeconds: definition.keyLifetimeSeconds ?? KEY_LIFETIME_SECONDS,
    tombstoneSeconds: TOMBSTONE_SECONDS,
    params: definition.params,
    input: definition.input,
    output: definition.output,
    refusals,
    refusalOf: (constraint) => definition.constraints?.[constraint] ?? "operation-failed",
    external,
    validate: (rawParams, body) => {
      const params = definition.params.safeParse(rawParams);
      const input = definition.input.safeParse(body);
      if (!params.success || !input.success) {
        return fail([...issuesOf(params.error), ...issuesOf(input.error)]);
      }
      return succeed({
        reads: read !== undefined,
        plan: async (reader, rest) => {
          const context = { ...rest, params: params.data };
          // Without `read`, the plan asks for no facts, and `Facts` is inferred as undefined.
          const facts = (await read?.(input.data, reader, context)) as Facts;
          rest.ids.rewind();
          return plan(input.data, facts, context);
        },
      });
    },
  };
};

const isKeyRequired = (d: { method: string; idempotencyKey?: "required" | "optional" }): boolean =>
  (d.idempotencyKey ?? (d.method === "POST" || d.method === "PATCH" ? "required" : "optional")) ===
  "required";

const checkDefinition = (d: {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly scope: string;
  readonly idempotencyKey?: "required" | "optional";
  readonly keyLifetimeSeconds?: number;
  readonly refusals: Readonly<Record<string, number | OwnRefusal>>;
  readonly constraints?: Readonly<Record<string, string>>;
}): Record<string, Problem> => {
  const rule = (holds: boolean, text: string): void => {
    if (!holds) throw new Error(`Operation ${d.name}: ${text}`);
  };
  rule(/^[a-z][a-z-]*\.[a-z][a-z-]*$/.test(d.name), 'the name must look like "payments.create".');
  rule(
    /^(\/([a-z0-9-]+|\{[a-zA-Z]+\}))+$/.test(d.path),
    'the path must look like "/v1/things/{id}".',
  );
  rule(
    isScope(d.scope),
    `no token can grant the scope "${d.scope}": it must look like "seats:write".`,
  );
  rule(
    isKeyRequired(d) || (d.method !== "POST" && d.method !== "PATCH"),
    `a ${d.method} must require an Idempotency-Key.`,
  );
  const lifetime = d.keyLifetimeSeconds ?? KEY_LIFETIME_SECONDS;
  rule(
    Number.isInteger(lifetime) && lifetime > 0 && lifetime <= KEY_LIFETIME_SECONDS_MAX,
    `keyLifetimeSeconds must be a whole number from 1 to ${KEY_LIFETIME_SECONDS_MAX}.`,
  );
  const refusals: Record<string, Problem> = {};
  for (const [code, refusal] of Object.entries(d.refusals)) {
    rule(
      /^[a-z]+(-[a-z]+)*$/.test(code),
      `the refusal code "${code}" must be lower-case words with dashes.`,
    );
    if (typeof refusal === "number") {
      rule(isProblemCode(code), `"${code}" is not in the problem table: describe it here.`);
      if (!isProblemCode(code)) continue;
      rule(
        PROBLEMS[code].status === refusal,
        `"${code}" has status ${PROBLEMS[code].status} in the problem table.`,
      );
      refusals[code] = PROBLEMS[code];
    } else {
      rule(!isProblemCode(code), `"${code}" is in the problem table: give its status only.`);
      rule(
        refusal.status >= 400 && refusal.status < 500,
        `the refusal "${code}" must have a 4xx status.`,
      );
      const use: KeyUse = "new-key";
      refusals[code] = { ...refusal, use, shouldRetry: false };
    }
  }
  for (const [constraint, code] of Object.entries(d.constraints ?? {})) {
    rule(
      Object.hasOwn(refusals, code),
      `the constraint ${constraint} stands for "${code}", which is not among the refusals.`,
    );
  }
  return refusals;
};

/** Where an input is wrong, and how. */
export const issuesOf = (error: z.ZodError | undefined): InputIssue[] =>
  (error?.issues ?? []).map((issue) => ({
    pointer: issue.path
      .map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`)
      .join(""),
    detail: issue.message,
  }));

/** For paths without parameters. */
export const noParams = z.strictObject({});
