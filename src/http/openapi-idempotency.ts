/**
 * GET /openapi/idempotency-key.json: the key, its headers and its problems as OpenAPI components that any API can
 * refer to. The very objects that this API's own document uses; docs/openapi/ holds the same document as a file.
 */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENT_REPLAYED,
  REQUEST_ID,
  SHOULD_RETRY,
} from "../contract/headers.ts";
import { type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import {
  HEADERS,
  keyParameter,
  keyParameterName,
  Prefer,
  PROBLEM_SCHEMA,
  type Schema,
} from "./openapi-components.ts";
import { problemResponses } from "./openapi-problems.ts";

/** What a key adds to an API's answers, one response for each status. */
const RESPONSES: Readonly<Record<string, readonly ProblemCode[]>> = {
  KeyRejected: ["idempotency-key-missing", "idempotency-key-invalid"],
  OutcomeUncertain: ["outcome-uncertain", "response-not-stored"],
  KeyGone: ["idempotency-key-expired", "outcome-erased"],
  KeyReused: ["idempotency-key-reused"],
  RequestInFlight: ["request-in-flight"],
  TooManyKeys: ["rate-limited"],
  OutcomeUnknown: ["temporarily-unavailable", "outcome-unknown-yet"],
};

const KEY_HEADERS = [
  IDEMPOTENT_REPLAYED,
  IDEMPOTENCY_EXPIRES,
  "Retry-After",
  ...SHOULD_RETRY,
  REQUEST_ID,
] as const;

export const idempotencyComponents = (): Schema => ({
  openapi: "3.1.0",
  info: {
    title: "Idempotency-Key",
    version: "1",
    summary: "Components for an API whose POST and PATCH may be retried safely.",
    license: { name: "MIT", identifier: "MIT" },
  },
  components: {
    parameters: { [keyParameterName(true)]: keyParameter(true), Prefer },
    headers: Object.fromEntries(KEY_HEADERS.map((name) => [name, HEADERS[name]])),
    schemas: { Problem: PROBLEM_SCHEMA },
    responses: Object.fromEntries(
      Object.entries(RESPONSES).map(([name, codes]) => {
        const problems = codes.map((code) => [code, PROBLEMS[code]] as const);
        // A key in flight has two statuses to choose from; the response is the same.
        return [name, Object.values(problemResponses(problems))[0]];
      }),
    ),
  },
});
