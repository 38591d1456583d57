/** What entries of the OpenAPI document refer to: parameters, headers and schemas that do not depend on an operation. */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  REQUEST_ID,
  SHOULD_RETRY,
} from "../contract/headers.ts";
import { KEY_LENGTH_MAX, KEY_LENGTH_MIN, WAIT_SECONDS_MAX } from "../kernel/limits.ts";

export type Schema = Readonly<Record<string, unknown>>;

export const keyParameterName = (required: boolean): string =>
  required ? "IdempotencyKey" : "OptionalIdempotencyKey";

export const keyParameter = (required: boolean): Schema => ({
  name: IDEMPOTENCY_KEY,
  in: "header",
  required,
  description: `One for each intended operation, the same on every try. ${KEY_LENGTH_MIN} to ${KEY_LENGTH_MAX} printable ASCII characters, bare or as a quoted structured-field string.`,
  schema: { type: "string", pattern: `^("${KEY_PATTERN}"|${KEY_PATTERN})$` },
  example: "0e1f5b7a-5b0c-4c7e-9d51-0b6f4f6f7a11",
});

/** Printable ASCII without space, quote, comma, semicolon and backslash. */
const KEY_PATTERN = String.raw`[!#-+\--:<-\[\]-~]{${KEY_LENGTH_MIN},${KEY_LENGTH_MAX}}`;

export const Prefer: Schema = {
  name: "Prefer",
  in: "header",
  required: false,
  description: `\`wait=N\`: if the key is in flight, hold the request for up to N seconds (at most ${WAIT_SECONDS_MAX}) and replay. \`respond-async\`: accept the request durably, and answer 202 (RFC 7240).`,
  schema: { type: "string" },
  example: "wait=20",
};

export const HEADERS: Record<string, Schema> = {
  [IDEMPOTENT_REPLAYED]: {
    description: "`true` on a replay; absent on the first answer",
    schema: { type: "string", enum: ["true"] },
  },
  [IDEMPOTENCY_EXPIRES]: {
    description: "HTTP date: before it the key replays, from it on it answers 410",
    schema: { type: "string" },
  },
  [REQUEST_ID]: { description: "Of this very request; never replayed", schema: { type: "string" } },
  "Retry-After": { description: "Seconds", schema: { type: "integer", minimum: 1 } },
  "WWW-Authenticate": { description: "RFC 6750 section 3", schema: { type: "string" } },
  Allow: { description: "The methods that the path has", schema: { type: "string" } },
  ...Object.fromEntries(
    SHOULD_RETRY.map((name) => [
      name,
      {
        description: "Whether sending the same request again can help",
        schema: { type: "string", enum: ["true", "false"] },
      },
    ]),
  ),
};

export const PROBLEM_SCHEMA: Schema = {
  type: "object",
  description: "RFC 9457 problem details",
  required: ["type", "title", "status", "detail", "code", "retry"],
  properties: {
    // A path where the request's Host is no host.
    type: { type: "string", format: "uri-reference" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    instance: { type: "string" },
    code: { type: "string" },
    retry: {
      type: "object",
      required: ["use", "reason"],
      properties: {
        use: { enum: ["same-key", "new-key", "never"] },
        afterMs: { type: "integer", minimum: 0 },
        successProbability: { type: "number", minimum: 0, maximum: 1 },
        reason: { type: "string" },
      },
    },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["pointer", "detail"],
        properties: { pointer: { type: "string" }, detail: { type: "string" } },
      },
    },
    mismatched: {
      type: "array",
      description: "Names of the members that differ from the first request; never their values",
      items: { type: "string" },
    },
    link: { type: "string", description: "Path of what the key made" },
  },
};

export const ACCEPTED_SCHEMA: Schema = {
  type: "object",
  required: ["key", "state", "link"],
  properties: {
    key: { type: "string" },
    state: { enum: ["in-flight"] },
    link: { type: "string", description: "Path of the key's state" },
  },
};

export const nullable = (type: string): Schema => ({ type: [type, "null"] });

export const KEY_STATE_SCHEMA: Schema = {
  type: "object",
  required: ["key", "state", "operation", "attempts", "outcome", "link", "createdAt", "expiresAt"],
  properties: {
    key: { type: "string" },
    state: { enum: ["free", "unknown-yet", "in-flight", "completed", "expired", "uncertain"] },
    operation: nullable("string"),
    attempts: {
      ...nullable("integer"),
      description: "Sends to the database; above 1, an earlier one got no answer",
    },
    outcome: {
      type: ["object", "null"],
      required: ["status", "refusal"],
      properties: { status: { type: "integer" }, refusal: nullable("string") },
    },
    link: nullable("string"),
    createdAt: nullable("string"),
    expiresAt: nullable("string"),
  },
};
