/** An answer of the routes as the result of a tool: structured, with what an agent decides by in one place. */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  SHOULD_RETRY,
} from "../contract/headers.ts";
import { isProblemCode, type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import { isJsonObject, type Json, type JsonObject } from "../kernel/json.ts";
import type { ToolRequest } from "./tools.ts";

export type ToolResult = {
  readonly content: { readonly type: "text"; readonly text: string }[];
  readonly structuredContent: JsonObject;
  readonly isError: boolean;
};

export const toResult = (structured: JsonObject, isError = false): ToolResult => ({
  // For clients that read text alone.
  content: [{ type: "text", text: JSON.stringify(structured) }],
  structuredContent: structured,
  isError,
});

/** The arguments made no request: nothing was sent, and the key is as it was. */
export const refusedResult = (detail: string): ToolResult =>
  toResult(
    {
      outcome: "not-carried-out",
      replayed: false,
      status: 400,
      problem: { code: "request-invalid", title: PROBLEMS["request-invalid"].title, detail },
      retry: { retry: false, use: "same-key", reason: PROBLEMS["request-invalid"].cure },
    },
    true,
  );

export const answerResult = async (request: ToolRequest, answer: Response): Promise<ToolResult> => {
  const body = await bodyOf(answer);
  if (request.reads) {
    return answer.ok && isJsonObject(body) ? toResult(body) : toResult(failure(answer, body), true);
  }
  const given = request.headers[IDEMPOTENCY_KEY] ?? null;
  const common = { ...(given === null ? {} : { idempotencyKey: given }), ...marks(answer) };
  if (!answer.ok) return toResult({ ...common, ...failure(answer, body) }, true);
  const accepted = answer.status === 202 && answer.headers.has("Preference-Applied");
  return toResult({
    ...common,
    outcome: accepted ? "in-flight" : "completed",
    status: answer.status,
    link: answer.headers.get("Location"),
    result: body,
    retry: { retry: accepted, use: "same-key" },
  });
};

const marks = ({ headers }: Response) => ({
  replayed: headers.get(IDEMPOTENT_REPLAYED) === "true",
  expires: headers.get(IDEMPOTENCY_EXPIRES),
});

const failure = (answer: Response, body: Json): JsonObject => {
  const problem = isJsonObject(body) ? body : {};
  const { code } = problem;
  const advice = problem["retry"];
  return {
    outcome: outcomeOf(code, answer.headers.has(IDEMPOTENCY_EXPIRES)),
    status: answer.status,
    problem,
    link: typeof problem["link"] === "string" ? problem["link"] : null,
    retry: {
      retry: answer.headers.get(SHOULD_RETRY[0]) === "true",
      ...(advice !== undefined && isJsonObject(advice) ? advice : {}),
    },
  };
};

/** What has become of the intent, in a word that an agent can branch on. Every other problem says that this try ran nothing. */
const OUTCOMES: Readonly<Partial<Record<ProblemCode, string>>> = {
  "idempotency-key-expired": "expired",
  "outcome-erased": "erased",
  "idempotency-key-reused": "conflict",
  "request-in-flight": "in-flight",
  "outcome-uncertain": "uncertain",
  "outcome-unknown-yet": "unknown-yet",
  "response-not-stored": "completed",
};

const outcomeOf = (code: Json | undefined, stored: boolean): string => {
  if (stored) return "refused";
  if (typeof code !== "string" || !isProblemCode(code)) return "unknown-yet";
  return OUTCOMES[code] ?? "not-carried-out";
};

const bodyOf = async (answer: Response): Promise<Json> => {
  const text = await answer.text();
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
};
