import { describe, expect, it } from "vitest";
import {
  answerHeaders,
  REFUSAL_HEADERS,
  responseBytes,
} from "../../../src/idempotency/stored-response.ts";

describe("the headers that are stored with an answer", () => {
  it("59: a 201 keeps its Location, and nothing but it and the content type", () => {
    expect(answerHeaders(201, "/v1/payments/pay_1")).toEqual({
      "content-type": "application/json",
      location: "/v1/payments/pay_1",
    });
  });

  it("59: a 200 has no Location: nothing was made", () => {
    expect(answerHeaders(200, "/v1/products/mug")).toEqual({ "content-type": "application/json" });
  });

  it("59: a refusal is stored as a problem document", () => {
    expect(REFUSAL_HEADERS).toEqual({ "content-type": "application/problem+json" });
  });

  it("59: their names are lower-case, so that no two spellings of one can be stored", () => {
    for (const headers of [answerHeaders(201, "/"), answerHeaders(200, "/"), REFUSAL_HEADERS]) {
      for (const name of Object.keys(headers)) expect(name).toBe(name.toLowerCase());
    }
  });
});

describe("responseBytes", () => {
  const response = (body: string) => ({ status: 200, headers: {}, body });

  it("counts a body twice for its UTF-16, and something for every empty one", () => {
    const empty = responseBytes(response(""));
    expect(empty).toBeGreaterThan(0);
    expect(responseBytes(response("x".repeat(1_000))) - empty).toBe(2_000);
  });
});
