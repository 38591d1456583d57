/**
 * The tools, made from the definitions: one for each operation and each query, and five about keys. A tool is a request in
 * another form: what it stands for is sent through the very routes that HTTP uses, so that it has the same checks in the
 * same order, and no rule exists twice. Schemas are told to the agent and judged by the routes: for a key that is known,
 * after its state, as the contract has it.
 */
import { z } from "zod";
import { IDEMPOTENCY_KEY } from "../contract/headers.ts";
import { PROBLEMS, isProblemCode } from "../contract/problems.ts";
import { retryAdviceMembers } from "../contract/retry-advice.ts";
import type { JsonObject } from "../kernel/json.ts";
import { PAGE_ROWS_MAX, WAIT_SECONDS_MAX } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import type { Catalogue } from "../operations/catalogue.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { Query } from "../operations/define-query.ts";

export type ToolRequest = {
  readonly method: string;
  /** With its query, from where the app is reached. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** It changes nothing and has no key: its answer is the result as it is. */
  readonly reads: boolean;
};

export type Arguments = Readonly<Record<string, unknown>>;

/** What a call comes to: a request, several whose answers are pages of one result, or an answer that needs none. */
export type ToolPlan =
  | { readonly send: ToolRequest }
  | { readonly pages: readonly { readonly of: JsonObject; readonly send: ToolRequest }[] }
  | { readonly answer: JsonObject };

export type Tool = {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly inputSchema: JsonObject & { readonly type: "object" };
  readonly annotations: {
    readonly readOnlyHint: boolean;
    readonly idempotentHint: boolean;
    readonly destructiveHint: boolean;
    readonly openWorldHint: false;
  };
  /** Fails with a sentence if the arguments do not even make a request. */
  readonly plan: (given: Arguments) => Result<ToolPlan, string>;
};

export type ToolParts = {
  readonly newKey: () => string;
};

export const toolsOf = ({ operations, queries }: Catalogue, parts: ToolParts): readonly Tool[] => [
  beginOperation(operations, parts),
  getOperation(),
  retryOperation(operations),
  adviseRetry(),
  listAttention(),
  ...operations.map(operationTool),
  ...queries.map(queryTool),
];

/** Clients accept letters, digits, `_` and `-`, and no dot. */
const toolName = (definition: { readonly name: string }): string =>
  definition.name.replaceAll(/[.-]/g, "_");

const READS = {
  readOnlyHint: true,
  idempotentHint: true,
  destructiveHint: false,
  openWorldHint: false,
} as const;

/** Idempotent because the key is required and enforced. */
const WRITES = {
  readOnlyHint: false,
  idempotentHint: true,
  destructiveHint: true,
  openWorldHint: false,
} as const;

const key = z.string().meta({
  description:
    "The intent's key: from your runtime or begin_operation, kept before the first call. Every retry sends the same one.",
});

const operationTool = (operation: Operation): Tool => ({
  name: toolName(operation),
  title: operation.summary,
  description: `${operation.summary}. Happens once per idempotencyKey: call again with the same key and arguments if no result came; structured content tells replayed, outcome and retry.`,
  inputSchema: schemaOf({
    idempotencyKey: key,
    ...paramsPart(operation.params),
    body: operation.input,
  }),
  annotations: WRITES,
  plan: (given) => toSend(operationRequest(operation, given)),
});

const queryTool = (query: Query): Tool => ({
  name: toolName(query),
  title: query.summary,
  description: query.summary,
  inputSchema: schemaOf({ ...paramsPart(query.params), search: query.search.optional() }),
  annotations: READS,
  plan: ({ params, search }) => {
    const path = fillPath(query.path, params);
    if (!path.ok) return path;
    const pairs = Object.entries(isRecord(search) ? search : {});
    const text = new URLSearchParams(
      pairs.map(([name, value]) => [name, String(value)]),
    ).toString();
    return succeed({ send: reading(path.value + (text === "" ? "" : `?${text}`)) });
  },
});

const beginOperation = (operations: readonly Operation[], { newKey }: ToolParts): Tool => ({
  name: "begin_operation",
  title: "Get a key for one intent",
  description:
    "Mints an idempotency key. Keep it with what you are about to do before you call the tool; nothing is remembered here.",
  inputSchema: schemaOf({ operation: z.enum(operations.map(toolName)).optional() }),
  annotations: { ...READS, idempotentHint: false },
  plan: ({ operation }) => {
    const found = operations.find((one) => toolName(one) === operation);
    if (operation !== undefined && found === undefined) return fail("There is no such operation.");
    return succeed({
      answer: {
        idempotencyKey: newKey(),
        tool: found === undefined ? null : toolName(found),
        scope: "your tenant: the same key with another tool or other arguments is refused",
        keyLifetimeSeconds: found?.keyLifetimeSeconds ?? null,
        next: "Keep the key, then call the tool with it. If no result comes, call it again with the same key.",
      },
    });
  },
});

const getOperation = (): Tool => ({
  name: "get_operation",
  title: "What became of a key",
  description:
    "State, outcome and link of a key: ask before you send anything again, and never take a new key while it is unknown-yet, in-flight or uncertain.",
  inputSchema: schemaOf({ idempotencyKey: key }),
  annotations: READS,
  plan: ({ idempotencyKey }) =>
    typeof idempotencyKey === "string"
      ? succeed({ send: reading(keyPathOf(idempotencyKey)) })
      : fail("idempotencyKey is missing."),
});

const retryOperation = (operations: readonly Operation[]): Tool => ({
  name: "retry_operation",
  title: "Send an operation again, with its key",
  description:
    "The same call with the same key and arguments. Waits for a first try that still runs, and gives its result. Never runs twice.",
  inputSchema: schemaOf({
    idempotencyKey: key,
    operation: z.enum(operations.map(toolName)),
    params: z.record(z.string(), z.string()).optional(),
    body: z.record(z.string(), z.unknown()),
  }),
  annotations: WRITES,
  plan: (given) => {
    const operation = operations.find((one) => toolName(one) === given["operation"]);
    if (operation === undefined) return fail("There is no such operation.");
    return toSend(operationRequest(operation, given, { Prefer: `wait=${WAIT_SECONDS_MAX}` }));
  },
});

/** The members of POST /v1/retry-advice, whose route judges them; of a failure of this API its code is enough. */
const adviseRetry = (): Tool => ({
  name: "advise_retry",
  title: "Whether and when to try again",
  description:
    "For a failure that you saw, here or elsewhere: whether to retry, with which key, and when, learned from what became of retries. Of a problem of this API its code is enough; nothing at all means that no answer came. Advice never makes an unsafe retry safe.",
  inputSchema: schemaOf({
    ...retryAdviceMembers,
    status: retryAdviceMembers.status.optional(),
    keyed: retryAdviceMembers.keyed.default(true),
  }),
  // What is reported twice counts twice.
  annotations: { ...READS, idempotentHint: false },
  plan: (given) => {
    const { origin, code } = given;
    const known = typeof code === "string" && isProblemCode(code) ? PROBLEMS[code] : undefined;
    if (origin === undefined && code !== undefined && known === undefined) {
      return fail(`Without an origin, the code is one of ${Object.keys(PROBLEMS).join(", ")}.`);
    }
    return succeed({
      send: {
        method: "POST",
        path: "/v1/retry-advice",
        headers: { "Content-Type": "application/json" },
        body: { status: known?.status ?? 0, keyed: true, ...given },
        reads: true,
      },
    });
  },
});

const ATTENTION = ["uncertain", "in-flight"] as const;

const listAttention = (): Tool => ({
  name: "list_attention",
  title: "Keys that need attention",
  description:
    "Your keys that are in flight, and those whose outcome is uncertain: a person has to resolve these. Each page tells its state, and in next where the following one begins: give both back as state and after.",
  inputSchema: schemaOf({
    state: z.enum(ATTENTION).optional().meta({ description: "Of this state alone" }),
    after: z.string().optional().meta({ description: "The next of a page of that state" }),
    limit: z.int().min(1).max(PAGE_ROWS_MAX).optional(),
  }),
  annotations: READS,
  plan: ({ state, after, limit }) => {
    if (after !== undefined && state === undefined) return fail("after is of a state: give both.");
    const states: readonly unknown[] = state === undefined ? ATTENTION : [state];
    return succeed({
      pages: states.map((one) => {
        const search = Object.entries({ state: one, after, limit })
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => [name, String(value)]);
        return {
          of: { state: String(one) },
          send: reading(`/v1/idempotency-keys?${new URLSearchParams(search).toString()}`),
        };
      }),
    });
  },
});

const operationRequest = (
  operation: Operation,
  { idempotencyKey, params, body }: Arguments,
  headers: Readonly<Record<string, string>> = {},
): Result<ToolRequest, string> => {
  const path = fillPath(operation.path, params);
  if (!path.ok) return path;
  if (idempotencyKey !== undefined && !isHeaderValue(idempotencyKey)) {
    return fail("idempotencyKey must be text of printable ASCII.");
  }
  return succeed({
    method: operation.method,
    path: path.value,
    headers: {
      ...headers,
      "Content-Type": "application/json",
      ...(idempotencyKey === undefined ? {} : { [IDEMPOTENCY_KEY]: idempotencyKey }),
    },
    body: body ?? {},
    reads: false,
  });
};

const reading = (path: string): ToolRequest => ({
  method: "GET",
  path,
  headers: {},
  reads: true,
});

const toSend = (request: Result<ToolRequest, string>): Result<ToolPlan, string> =>
  request.ok ? succeed({ send: request.value }) : request;

const keyPathOf = (text: string): string =>
  `/v1/idempotency-keys/${isDots(text) ? "none" : encodeURIComponent(text.toWellFormed())}`;

/** Whatever else it is would be cut out of the headers, or would not go into them. */
const isHeaderValue = (value: unknown): value is string =>
  typeof value === "string" && /^[\u0020-\u007e]*$/.test(value);

const fillPath = (path: string, params: unknown): Result<string, string> => {
  const given = isRecord(params) ? params : {};
  let missing: string | undefined;
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    // A parameter of dots would be a step in the path, encoded or not.
    if (typeof value === "string" && value !== "" && !isDots(value)) {
      return encodeURIComponent(value.toWellFormed());
    }
    missing ??= name;
    return "";
  });
  return missing === undefined ? succeed(filled) : fail(`params.${missing} is missing.`);
};

const isDots = (text: string): boolean => /^\.{0,2}$/.test(text);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const paramsPart = (params: z.ZodType): Readonly<Record<string, z.ZodType>> =>
  // A path without parameters has a schema without members.
  params instanceof z.ZodObject && Object.keys(params.shape).length === 0 ? {} : { params };

const schemaOf = (parts: Readonly<Record<string, z.ZodType>>): Tool["inputSchema"] => {
  const { $schema: _, ...schema } = z.toJSONSchema(z.strictObject(parts), {
    io: "input",
    unrepresentable: "any",
  });
  return { ...(schema as JsonObject), type: "object" };
};
