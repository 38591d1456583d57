/**
 * GET /openapi.json: OpenAPI 3.1, from the same definitions that route and validate. Every operation lists its
 * problems, each with its rule for retries, and every POST and PATCH its required Idempotency-Key.
 */
import { z } from "zod";
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENT_REPLAYED,
  JSON_TYPE,
  REQUEST_ID,
} from "../contract/headers.ts";
import { LATCHKEY_AUTHORIZATION } from "../gateway/headers.ts";
import { type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import type { Catalogue } from "../operations/catalogue.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { Query } from "../operations/define-query.ts";
import { type HttpContext, originOf } from "./context.ts";
import { keyListSearch } from "./key-list.ts";
import {
  ACCEPTED_SCHEMA,
  HEADERS,
  KEY_STATE_SCHEMA,
  keyParameter,
  keyParameterName,
  nullable,
  Prefer,
  PROBLEM_SCHEMA,
  type Schema,
} from "./openapi-components.ts";
import { retryAdviceInput, retryAdviceOutput } from "../contract/retry-advice.ts";
import { opsRetryAdviceOutput, opsRetryAdviceSearch } from "./ops-retry-advice.ts";
import { problemResponses, refs } from "./openapi-problems.ts";
import type { OpsRead } from "./ops/ops-route.ts";
import { issueInput, issueView } from "./ops/reconciliation.ts";
import { redriveInput, redriveOutput } from "./ops/redrive.ts";
import { OPS_READS } from "./ops/routes.ts";
import { revocationInput } from "./revoked-tokens.ts";
import {
  resolutionInput,
  resolutionOutput,
  uncertainKeysOutput,
  uncertainKeysSearch,
} from "./uncertain-keys.ts";

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

const READ: readonly ProblemCode[] = [
  "request-invalid",
  "unauthenticated",
  "forbidden",
  "not-found",
  "method-not-allowed",
  "internal-error",
  "temporarily-unavailable",
];

const KEY_READ: readonly ProblemCode[] = [
  // What the path holds after decoding is judged like the header.
  "idempotency-key-missing",
  "idempotency-key-invalid",
  ...READ,
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
    ...problemResponses(READ.map((code) => [code, PROBLEMS[code]] as const)),
  },
});

const keyStatusEntry = (): Schema => ({
  operationId: "idempotency-keys.get",
  summary: "What became of a key",
  description: "Needs the scope `read`. Never reveals the stored answer.",
  tags: ["idempotency-keys"],
  parameters: [PATH_KEY],
  responses: {
    "200": {
      description: "Its state. `Retry-After` comes with `unknown-yet`.",
      headers: refs([REQUEST_ID, "Retry-After"]),
      content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/KeyState" } } },
    },
    ...problemResponses(KEY_READ.map((code) => [code, PROBLEMS[code]] as const)),
  },
});

const PATH_KEY: Schema = {
  name: "key",
  in: "path",
  required: true,
  schema: { type: "string" },
  description: "The key, percent-encoded",
};

const keyListEntry = (): Schema => ({
  operationId: "idempotency-keys.list",
  summary: "The keys in one state",
  description: "Needs the scope `read`. By key; never reveals the stored answers.",
  tags: ["idempotency-keys"],
  parameters: parametersOf(keyListSearch, "query"),
  responses: {
    "200": {
      description:
        "A page. `next` is what `after` of the next page must be; null: it was the last.",
      headers: refs([REQUEST_ID]),
      content: {
        [JSON_TYPE]: {
          schema: {
            type: "object",
            required: ["data", "next"],
            properties: {
              data: { type: "array", items: { $ref: "#/components/schemas/KeyState" } },
              next: nullable("string"),
            },
          },
        },
      },
    },
    ...problemResponses(READ.map((code) => [code, PROBLEMS[code]] as const)),
  },
});

const keyErasureEntry = (): Schema => ({
  operationId: "idempotency-keys.erase",
  summary: "Erase the stored answer of a key",
  description:
    "Needs the scope `payments:write`. The key stays used: it answers 410 and never runs again. May be repeated.",
  tags: ["idempotency-keys"],
  parameters: [PATH_KEY],
  responses: {
    "204": { description: "Erased.", headers: refs([REQUEST_ID]) },
    ...problemResponses(
      [...KEY_READ, "request-in-flight" as const].map((code) => [code, PROBLEMS[code]] as const),
    ),
  },
});

const opsReadEntry = ({ name, summary, search, content }: OpsRead): Schema => ({
  operationId: name,
  summary,
  description: "Needs the scope `ops:read`. Every read is noted in the audit log.",
  tags: ["ops"],
  parameters: parametersOf(search, "query"),
  responses: {
    "200": {
      description: "Read from the primary.",
      headers: refs([REQUEST_ID]),
      content: Object.fromEntries(
        Object.entries(content).map(([type, body]) => [
          type,
          { schema: jsonSchema(body, "output") },
        ]),
      ),
    },
    ...problemResponses(READ.map((code) => [code, PROBLEMS[code]] as const)),
  },
});

const metricsEntry = (): Schema => ({
  operationId: "ops.metrics",
  summary: "Counters and histograms, as Prometheus text",
  description: "Needs the scope `ops:read`.",
  tags: ["ops"],
  responses: {
    "200": {
      description: "Text exposition format 0.0.4.",
      headers: refs([REQUEST_ID]),
      content: { "text/plain; version=0.0.4; charset=utf-8": { schema: { type: "string" } } },
    },
    ...problemResponses(
      (
        [
          "unauthenticated",
          "forbidden",
          "method-not-allowed",
          "internal-error",
          "temporarily-unavailable",
        ] as const
      ).map((code) => [code, PROBLEMS[code]] as const),
    ),
  },
});

const PATH_ISSUE: Schema = {
  name: "id",
  in: "path",
  required: true,
  schema: { type: "string" },
  description: "The issue's id",
};

const redriveEntry = (): Schema => ({
  operationId: "ops.redrive-issue",
  summary: "Take the stuck work that an issue is about up again, now, with its original key",
  description:
    "Needs the scope `ops:act`. Does what the object's alarm would do: an accepted request runs, an interrupted exchange is asked for or sent again as its route allows, an outcome that the journal lacks is written there. It never sends again what may have been carried out and would be carried out twice: such a key is `uncertain`, and is resolved. The same Idempotency-Key gets the same answer for a day. An issue whose key has an outcome then is resolved with it.",
  tags: ["ops"],
  parameters: [PATH_ISSUE, keyParameter(true)],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(redriveInput, "input") } },
  },
  responses: {
    "200": {
      description: "What was done, and how the key stood then.",
      headers: refs([REQUEST_ID, IDEMPOTENT_REPLAYED]),
      content: { [JSON_TYPE]: { schema: jsonSchema(redriveOutput, "output") } },
    },
    ...problemResponses(
      [
        ...KEY_READ,
        "body-too-large" as const,
        "unsupported-media-type" as const,
        "idempotency-key-reused" as const,
        "nothing-to-redrive" as const,
      ].map((code) => [code, PROBLEMS[code]] as const),
    ),
  },
});

const issueEntry = (): Schema => ({
  operationId: "ops.change-issue",
  summary: "Acknowledge or resolve an issue, or open it again",
  description:
    "Needs the scope `ops:act`. May be repeated: what is in that state already is left as it is.",
  tags: ["ops"],
  parameters: [PATH_ISSUE],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(issueInput, "input") } },
  },
  responses: {
    "200": {
      description: "The issue as it is now.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(issueView, "output") } },
    },
    ...problemResponses(
      [...READ, "body-too-large" as const, "unsupported-media-type" as const].map(
        (code) => [code, PROBLEMS[code]] as const,
      ),
    ),
  },
});

const revocationEntry = (): Schema => ({
  operationId: "ops.revoke-token",
  summary: "Revoke a token everywhere, within ten seconds",
  description: "Needs the scope `ops:act`. May be repeated.",
  tags: ["ops"],
  parameters: [
    {
      name: "jti",
      in: "path",
      required: true,
      schema: { type: "string" },
      description: "The token's `jti`, percent-encoded",
    },
  ],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(revocationInput, "input") } },
  },
  responses: {
    "204": { description: "Revoked.", headers: refs([REQUEST_ID]) },
    ...problemResponses(
      [...READ, "body-too-large" as const, "unsupported-media-type" as const].map(
        (code) => [code, PROBLEMS[code]] as const,
      ),
    ),
  },
});

const uncertainKeysEntry = (): Schema => ({
  operationId: "ops.uncertain-keys",
  summary: "Keys whose effect may have happened, and of which nobody can tell",
  description:
    "Needs the scope `ops:read`. Of all tenants, by tenant and key within each database. Each needs a person: see its resolution.",
  tags: ["ops"],
  parameters: parametersOf(uncertainKeysSearch, "query"),
  responses: {
    "200": {
      description:
        "A page. `next` is what `after` of the next page must be; null: it was the last.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(uncertainKeysOutput, "output") } },
    },
    ...problemResponses(READ.map((code) => [code, PROBLEMS[code]] as const)),
  },
});

const resolutionEntry = (): Schema => ({
  operationId: "ops.resolve-key",
  summary: "Say what became of an uncertain key",
  description:
    "Needs the scope `ops:act`. `executed`: what you send is what later retries get. `not-executed`: the key is free to run. The first word stands; it is kept with who said it, when and why. May be repeated.",
  tags: ["ops"],
  parameters: [
    {
      name: "tenant",
      in: "path",
      required: true,
      schema: { type: "string" },
      description: "The tenant, percent-encoded",
    },
    PATH_KEY,
  ],
  requestBody: {
    required: true,
    content: { [JSON_TYPE]: { schema: jsonSchema(resolutionInput, "input") } },
  },
  responses: {
    "200": {
      description: "Resolved: by this request, or by the same one before.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(resolutionOutput, "output") } },
    },
    ...problemResponses(
      [
        ...READ,
        "body-too-large" as const,
        "unsupported-media-type" as const,
        "resolution-refused" as const,
      ].map((code) => [code, PROBLEMS[code]] as const),
    ),
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
    ...problemResponses(
      [
        ...READ.filter((code) => code !== "not-found"),
        "body-too-large" as const,
        "unsupported-media-type" as const,
      ].map((code) => [code, PROBLEMS[code]] as const),
    ),
  },
});

const opsRetryAdviceEntry = (): Schema => ({
  operationId: "ops.retry-advice",
  summary: "What was learned of retries for a tenant",
  description: "Needs the scope `ops:read`. Each look is on record in the log.",
  tags: ["ops"],
  parameters: parametersOf(opsRetryAdviceSearch, "query"),
  responses: {
    "200": {
      description: "By origin and route: health, outages, classes with their odds, calibration.",
      headers: refs([REQUEST_ID]),
      content: { [JSON_TYPE]: { schema: jsonSchema(opsRetryAdviceOutput, "output") } },
    },
    ...problemResponses(
      READ.filter((code) => code !== "not-found").map((code) => [code, PROBLEMS[code]] as const),
    ),
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
      ...problemResponses([["method-not-allowed", PROBLEMS["method-not-allowed"]]]),
    },
  };
};

const tagOf = ({ name }: { readonly name: string }): string => name.split(".")[0] ?? name;

const pathParameters = (definition: Operation | Query): Schema[] =>
  parametersOf(definition.params, "path");

const parametersOf = (schema: z.ZodType, place: "path" | "query"): Schema[] => {
  const { properties = {}, required = [] } = jsonSchema(schema, "input") as {
    properties?: Record<string, Schema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === "path" || required.includes(name),
    schema: property,
  }));
};

const jsonSchema = (schema: z.ZodType, io: "input" | "output"): Schema => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return withoutReferences(rest);
};

/**
 * With every named part in its place: references of a schema are to itself, and it stands inside a larger document. A
 * part that contains itself ends as "anything".
 */
const withoutReferences = (root: Schema): Schema => {
  const { $defs: defs = {}, ...whole } = root;
  const parts: Readonly<Record<string, unknown>> = { "#": whole };
  for (const [name, part] of Object.entries(defs as Schema)) {
    Object.assign(parts, { [`#/$defs/${name}`]: part });
  }
  const inline = (value: unknown, within: readonly string[]): unknown => {
    if (Array.isArray(value)) return value.map((item) => inline(item, within));
    if (typeof value !== "object" || value === null) return value;
    const reference: unknown = Reflect.get(value, "$ref");
    if (typeof reference === "string") {
      if (within.includes(reference) || !Object.hasOwn(parts, reference)) return {};
      return inline(parts[reference], [...within, reference]);
    }
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, inline(member, within)]),
    );
  };
  return inline(whole, ["#"]) as Schema;
};
