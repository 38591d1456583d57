/** What an agent is told: one word for each thing that can have become of its intent. */
import { describe, expect, it } from "vitest";
import { type ProblemCode, problemDocument, PROBLEMS } from "../../../src/contract/problems.ts";
import { answerResult } from "../../../src/mcp/result.ts";

const request = {
  method: "POST",
  path: "/v1/payments",
  headers: { "Idempotency-Key": "k" },
  body: {},
  reads: false,
};

const outcomeOf = async (code: ProblemCode, headers: Record<string, string> = {}) => {
  const { status } = PROBLEMS[code];
  const answer = new Response(JSON.stringify(problemDocument(code, "")), { status, headers });
  const { structuredContent, isError } = await answerResult(request, answer);
  expect(isError).toBe(true);
  expect(structuredContent).toMatchObject({ idempotencyKey: "k", status, problem: { code } });
  return structuredContent["outcome"];
};

describe("the outcome that a tool tells", () => {
  it.each([
    ["idempotency-key-expired", "expired"],
    ["outcome-erased", "erased"],
    ["idempotency-key-reused", "conflict"],
    ["request-in-flight", "in-flight"],
    ["outcome-uncertain", "uncertain"],
    ["outcome-unknown-yet", "unknown-yet"],
    ["response-not-stored", "completed"],
    ["temporarily-unavailable", "not-carried-out"],
    ["request-invalid", "not-carried-out"],
    ["forbidden", "not-carried-out"],
  ] as const)("%s is %s", async (code, outcome) => {
    expect(await outcomeOf(code)).toBe(outcome);
  });

  it("a stored problem is a refusal, for good", async () => {
    const stored = { "Idempotency-Expires": "Fri, 02 Jan 2026 00:00:00 GMT" };
    expect(await outcomeOf("insufficient-funds", stored)).toBe("refused");
    expect(await outcomeOf("operation-failed", stored)).toBe("refused");
  });

  it("an error that nobody has described leaves the outcome unknown, never free", async () => {
    const { structuredContent } = await answerResult(request, new Response("?", { status: 502 }));
    expect(structuredContent["outcome"]).toBe("unknown-yet");
  });

  it("accepted work is in flight, and to be asked for with the same key", async () => {
    const accepted = new Response("{}", {
      status: 202,
      headers: { "Preference-Applied": "respond-async" },
    });
    const { structuredContent, isError } = await answerResult(request, accepted);
    expect(structuredContent).toMatchObject({
      outcome: "in-flight",
      retry: { retry: true, use: "same-key" },
    });
    expect(isError).toBe(false);
  });
});
