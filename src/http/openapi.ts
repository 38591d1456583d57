/**
 * GET /openapi.json: OpenAPI 3.1, from the same definitions that route and validate. Every operation lists its
 * problems, each with its rule for retries, and every POST and PATCH its required Idempotency-Key.
 */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENT_REPLAYED,
  JSON_TYPE,
  REQUEST_ID,
} from "../contract/headers.ts";
import { type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import { retryAdviceInput, retryAdviceOutput } from "../contract/retry-advice.ts";
import { LATCHKEY_AUTHORIZATION } from "../gateway/headers.ts";
import type { Catalogue } from "../operations/catalogue.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { Query } from "../operations/define-query.ts";
import { type HttpContext, originOf } from "./context.ts";
import {
  ACCEPTED_SCHEMA,
  HEADERS,
  KEY_STATE_SCHEMA,
  keyParameter,
  keyParameterName,
  Prefer,
  PROBLEM_SCHEMA,
  type Schema,
} from "./openapi-components.ts";
import { keyErasureEntry, keyListEntry, keyStatusEntry } from "./openapi-keys.ts";
import {
  issueEntry,
  metricsEntry,
  opsReadEntry,
  opsRetryAdviceEntry,
  redriveEntry,
  resolutionEntry,
  revocationEntry,
  uncertainKeysEntry,
} from "./openapi-ops.ts";
import { BODY, contractProblems, problemResponses, READ, refs } from "./openapi-problems.ts";
import { jsonSchema, parametersOf } from "./openapi-schema.ts";
import { OPS_READS } from "./ops/routes.ts";

export type Definitions = Catalogue & {
  /** How a host's callers authenticate; our own tokens unless said. */
  readonly securityScheme?: Schema | undefined;
  /** Under the gateway: the headers with the upstream's credentials that tell whose keys are asked for. */
  readonly credentialHeaders?: readonly string[] | undefined;
};

/** What any keyed request may get, whatever its operation. */
const KEYED: readonly ProblemCode[] = [
  "idempotency-key-missing",
  "idempotency-key-invalid",
  "request-invalid",
  "unauthenticated",
  "forbidden",
  "not-found",
  "method-not-allowed",
  "body-too-large",
  "unsupported-media-type",
  "idempotency-key-reused",
  "request-in-flight",
  "idempotency-key-expired",
  "outcome-erased",
  "rate-limited",
  "operation-failed",
  "internal-error",
  "temporarily-unavailable",
  "outcome-unknown-yet",
];

/** @param credentialHeadersOf under the gateway; the settings that it reads are those of the deployment */
export const openApiRoute = (
  definitions: Definitions,
  credentialHeadersOf?: (c: HttpContext) => readonly string[],
) => {
  // Made on first use: it is not on the path of a payment, nor of a cold start.
  let document: Schema | undefined;
  return (c: HttpContext): Response => {
    document ??= openApiDocument({
      ...definitions,
      credentialHeaders: credentialHeadersOf?.(c),
    });
    return c.json({ ...document, servers: [{ url: originOf(c) }] });
  };
};

export const openApiDocument = ({
  operations,
  queries,
  securityScheme,
  credentialHeaders,
}: Definitions): Schema => {
  const hasOwnTokens = securityScheme === undefined;
  const hasUncertainKeys = hasOwnTokens || operations.some(({ external }) => external !== null);
  const security = securityOf(securityScheme ?? OWN_TOKENS, credentialHeaders);
  const paths: Record<string, Record<string, Schema>> = {};
  const add = (path: string, method: string, entry: Schema): void => {
    paths[path] = { ...paths[path], [method.toLowerCase()]: entry };
  };
  for (const operation of operations)
    add(operation.path, operation.method, operationEntry(operation));
  for (const query of queries) add(query.path, "GET", queryEntry(query));
  add("/v1/idempotency-keys/{key}", "GET", { ...keyStatusEntry(), ...security.ofKeys });
  add("/v1/idempotency-keys", "GET", { ...keyListEntry(), ...security.ofKeys });
  add("/v1/idempotency-keys/{key}/body", "DELETE", { ...keyErasureEntry(), ...security.ofKeys });
  add("/v1/retry-advice", "POST", retryAdviceEntry());
  if (hasUncertainKeys) {
    add("/v1/ops/uncertain-keys", "GET", uncertainKeysEntry());
    add("/v1/ops/uncertain-keys/{tenant}/{key}/resolution", "PUT", resolutionEntry());
  }
  if (hasOwnTokens) {
    add("/v1/ops/revoked-tokens/{jti}", "PUT", revocationEntry());
    add("/v1/ops/retry-advice", "GET", opsRetryAdviceEntry());
    add("/v1/ops/issues/{id}", "PUT", issueEntry());
    add("/v1/ops/issues/{id}/redrive", "POST", redriveEntry());
    add("/metrics", "GET", metricsEntry());
    for (const read of OPS_READS) add(read.path, "GET", opsReadEntry(read));
  }
  add("/healthz", "GET", healthEntry());
  return {
    openapi: "3.1.0",
    info: {
      title: "Latchkey",
      version: "1",
      summary:
        "Every POST and PATCH runs once within its key's life, and every retry gets the same answer.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: security.ofAll,
    tags: [
      ...new Set([...operations, ...queries].map(tagOf)),
      "idempotency-keys",
      "retry-advice",
      ...(hasUncertainKeys ? ["ops"] : []),
      "service",
    ].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: security.schemes,
      parameters: {
        ...Object.fromEntries(
          [...new Set(operations.map(({ keyRequired }) => keyRequired))].map((required) => [
            keyParameterName(required),
            keyParameter(required),
          ]),
        ),
        Prefer,
      },
      headers: HEADERS,
      schemas: { Problem: PROBLEM_SCHEMA, KeyState: KEY_STATE_SCHEMA },
    },
  };
};

const OWN_TOKENS: Schema = {
  type: "http",
  scheme: "bearer",
  bearerFormat: "JWT",
  description:
    "A JWT whose `tenant` (or `sub`) is the tenant and whose `scope` grants the operation.",
};

type SecuritySchemes = {
  readonly schemes: Schema;
  /** Of everything that does not say otherwise. */
  readonly ofAll: readonly Schema[];
  readonly ofKeys: { readonly security?: readonly Schema[] };
};

/** @param credentialHeaders under the gateway, where `Authorization` may be the upstream's */
const securityOf = (
  credentials: Schema,
  credentialHeaders: readonly string[] | undefined,
): SecuritySchemes => {
  const usual = { credentials: [] };
  if (credentialHeaders === undefined) {
    return { schemes: { credentials }, ofAll: [usual], ofKeys: {} };
  }
  const ofAll = [{ gatewayToken: [] }, usual];
  const upstreams = credentialHeaders.map(
    (header) => [`upstream.${header.replaceAll(/[^a-z0-9-]/g, "_")}`, header] as const,
  );
  return {
    schemes: {
      credentials,
      gatewayToken: {
        type: "apiKey",
        in: "header",
        name: LATCHKEY_AUTHORIZATION,
        description:
          "`Bearer` and the same JWT. Here it is never taken for the API's own credential; on its routes with `auth: jwt` it needs the scope `gateway:call`.",
      },
      ...Object.fromEntries(
        upstreams.map(([name, header]) => [
          name,
          {
            type: "apiKey",
            in: "header",
            name: header,
            description:
              "The credential for the API behind, just as a call through the gateway brings it: it opens the keys that were made with it, and nothing else here.",
          },
        ]),
      ),
    },
    ofAll,
    ofKeys: { security: [...ofAll, ...upstreams.map(([name]) => ({ [name]: [] }))] },
  };
};

const operationEntry = (operation: Operation): Schema => ({
  operationId: operation.name,
  summary: operation.summary,
  description: `Needs the scope \`${operation.scope}\`. The answer is replayed for ${operation.keyLifetimeSeconds / 3600} hours.`,
  tags: [tagOf(operation)],
  parameters: [
    ...pathParameters(operation),
    { $ref: `#/components/parameters/${keyParameterName(operation.keyRequired)}` },
    { $ref: "#/components/parameters/Prefer" },
  ],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(operation.input, "input") } },
  },
  responses: {
    [operation.status]: {
      description:
        "Done: by this request, or by an earlier one with this key (then it is marked as a replay).",
      headers: {
        ...refs([IDEMPOTENT_REPLAYED, IDEMPOTENCY_EXPIRES, REQUEST_ID]),
        ...(operation.status === 201
          ? { Location: { description: "What was made", schema: { type: "string" } } }
          : {}),
      },
      content: { [JSON_TYPE]: { schema: jsonSchema(operation.output, "output") } },
    },
    "202": {
      description:
        "Accepted, with `Prefer: respond-async`: durable, and carried out whether or not you come back. Send the same request again, or follow `Location`.",
      headers: {
        ...refs([REQUEST_ID, "Retry-After"]),
        Location: { description: "Where the key's state is told", schema: { type: "string" } },
        "Preference-Applied": { description: "RFC 7240 section 3", schema: { type: "string" } },
      },
      content: { [JSON_TYPE]: { schema: ACCEPTED_SCHEMA } },
    },
    ...problemResponses(
      [
        ...KEYED.map((code) => [code, PROBLEMS[code]] as const),
        ...(operation.external === null
          ? []
          : [["outcome-uncertain", PROBLEMS["outcome-uncertain"]] as const]),
        ...Object.entries(operation.refusals),
      ],
      ["operation-failed", ...Object.keys(operation.refusals)],
    ),
  },
  // Which of the problems are this operation's own: decided from data, and stored.
  "x-refusals": Object.keys(operation.refusals),
});

const queryEntry = (query: Query): Schema => ({
  operationId: query.name,
  summary: query.summary,
  description: `Needs the scope \`${query.scope}\`.`,
  tags: [tagOf(query)],
  parameters: [...pathParameters(query), ...parametersOf(query.search, "query")],
  responses: {
    "200": {
      description: "Read from the primary.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(query.output, "output") } },
    },
    ...contractProblems(READ),
  },
});

const retryAdviceEntry = (): Schema => ({
  operationId: "retry-advice.ask",
  summary: "Whether, when and how to send a failed request again",
  description:
    "Needs the scope `read`. Describe a failure that you met, here or elsewhere, and report in `next` what came of a retry. It takes no Idempotency-Key: it makes and moves nothing, and a report that arrives twice counts twice, in the statistics of your tenant alone.",
  tags: ["retry-advice"],
  "x-no-idempotency-key": "It makes and moves nothing: to repeat it is safe.",
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(retryAdviceInput, "input") } },
  },
  responses: {
    "200": {
      description: "The advice. `Retry-After` comes with a retry.",
      headers: refs([REQUEST_ID, "Retry-After"]),
      content: { [JSON_TYPE]: { schema: jsonSchema(retryAdviceOutput, "output") } },
    },
    ...contractProblems([...READ.filter((code) => code !== "not-found"), ...BODY]),
  },
});

const healthEntry = (): Schema => {
  const health = {
    type: "object",
    required: ["status", "faults"],
    properties: {
      status: { enum: ["ok", "unavailable"] },
      faults: { type: "array", items: { type: "string" } },
    },
  };
  const answer = (description: string) => ({
    description,
    content: { [JSON_TYPE]: { schema: health } },
  });
  return {
    operationId: "service.health",
    summary: "Whether this Worker can serve, and if not, why",
    tags: ["service"],
    security: [],
    responses: {
      "200": answer("It can."),
      "503": answer("It cannot."),
      ...contractProblems(["method-not-allowed"]),
    },
  };
};

const tagOf = ({ name }: { readonly name: string }): string => name.split(".")[0] ?? name;

const pathParameters = (definition: Operation | Query): Schema[] =>
  parametersOf(definition.params, "path");
