/** Problems as OpenAPI responses: one for each status, with the rule for retries of every problem that has it. */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENT_REPLAYED,
  PROBLEM_TYPE,
  REQUEST_ID,
  SHOULD_RETRY,
} from "../contract/headers.ts";
import { type Problem, type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import type { Schema } from "./openapi-components.ts";

/** What a request may get that reads. */
export const READ: readonly ProblemCode[] = [
  "request-invalid",
  "unauthenticated",
  "forbidden",
  "not-found",
  "method-not-allowed",
  "internal-error",
  "temporarily-unavailable",
];

/** What one may get whose path names a key. */
export const KEY_READ: readonly ProblemCode[] = [
  // What the path holds after decoding is judged like the header.
  "idempotency-key-missing",
  "idempotency-key-invalid",
  ...READ,
];

/** What any body may get besides. */
export const BODY: readonly ProblemCode[] = ["body-too-large", "unsupported-media-type"];

/** Responses of problems that every operation shares; none of them is stored. */
export const contractProblems = (codes: readonly ProblemCode[]): Record<string, Schema> =>
  problemResponses(codes.map((code) => [code, PROBLEMS[code]] as const));

/**
 * One response for each status, naming every problem that has it and what it means for a retry.
 * @param stored codes that are stored, and so may be replays
 */
export const problemResponses = (
  problems: readonly (readonly [string, Problem])[],
  stored: readonly string[] = [],
): Record<string, Schema> => {
  const byStatus = new Map<number, (readonly [string, Problem])[]>();
  for (const entry of problems) {
    // The operator may have chosen 409 for a key in flight.
    const statuses = entry[0] === "request-in-flight" ? [423, 409] : [entry[1].status];
    for (const status of statuses) byStatus.set(status, [...(byStatus.get(status) ?? []), entry]);
  }
  const responses: Record<string, Schema> = {};
  for (const [status, entries] of byStatus) {
    const retryable = entries.some(([, problem]) => problem.shouldRetry);
    const replayable = entries.some(([code]) => stored.includes(code));
    responses[status] = {
      description: entries.map(([code, { title }]) => `\`${code}\`: ${title}.`).join(" "),
      headers: refs([
        REQUEST_ID,
        ...SHOULD_RETRY,
        ...(retryable ? ["Retry-After"] : []),
        ...(replayable ? [IDEMPOTENT_REPLAYED, IDEMPOTENCY_EXPIRES] : []),
        ...(status === 401 ? ["WWW-Authenticate"] : []),
        ...(status === 405 ? ["Allow"] : []),
      ]),
      content: {
        [PROBLEM_TYPE]: {
          schema: {
            allOf: [
              { $ref: "#/components/schemas/Problem" },
              { properties: { code: { enum: [...new Set(entries.map(([code]) => code))] } } },
            ],
          },
        },
      },
      "x-retry": Object.fromEntries(
        entries.map(([code, { use, shouldRetry }]) => [code, { use, shouldRetry }]),
      ),
    };
  }
  return responses;
};

/** Headers, by reference to `components`. */
export const refs = (names: readonly string[]): Record<string, Schema> =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
