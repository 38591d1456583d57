/** A client is typed by the operations' definitions: what the server would refuse does not compile. */
import { describe, expect, expectTypeOf, it } from "vitest";
import { type Client, createClient } from "../../../src/client/client.ts";
import type { LatchkeyEndpoints } from "../../../src/client/operation-endpoints.ts";
import { operations } from "../../../src/operations/registry.ts";

type Latchkey = Client<LatchkeyEndpoints>;

describe("a client of Latchkey's endpoints", () => {
  it("knows every operation by its method and path, and no other route", () => {
    const routes = operations.map(({ method, path }) => `${method} ${path}` as const);
    expectTypeOf<(typeof routes)[number]>().toExtend<string>();
    expectTypeOf<"POST /v1/payments">().toExtend<keyof LatchkeyEndpoints>();
    expectTypeOf<"PATCH /v1/products/{sku}/stock">().toExtend<keyof LatchkeyEndpoints>();
    expectTypeOf<"GET /v1/payments">().not.toExtend<keyof LatchkeyEndpoints>();
    expect(routes).toContain("POST /v1/payments/{id}/refunds");
  });

  it("asks for the parameters and the body that the definition has, and gives the answer's members", () => {
    type Refund = LatchkeyEndpoints["POST /v1/payments/{id}/refunds"];
    expectTypeOf<Refund["params"]>().toEqualTypeOf<{ id: string }>();
    type Payment = LatchkeyEndpoints["POST /v1/payments"];
    expectTypeOf<Payment["body"]["amountMinor"]>().toEqualTypeOf<number>();
    expectTypeOf<Payment["answer"]["id"]>().toEqualTypeOf<string>();
    const calls = (client: Latchkey) => [
      // @ts-expect-error -- parameters are missing
      client.send("POST /v1/payments/{id}/refunds", { body: {} }),
      // @ts-expect-error -- an amount is no text
      client.send("POST /v1/payments", { body: { amountMinor: "1" } }),
      // @ts-expect-error -- there is no such route
      client.send("POST /v1/nothing", { body: {} }),
    ];
    expect(calls).toBeTypeOf("function");
  });

  it("refuses a path parameter that is missing or would be another path, before anything is stored", async () => {
    const client = createClient<LatchkeyEndpoints>({ baseUrl: "https://api.example/" });
    for (const id of ["", ".", ".."]) {
      await expect(
        client.send("POST /v1/payments/{id}/refunds", { params: { id }, body: {} }),
      ).rejects.toThrow(TypeError);
    }
    expect(await client.pending()).toEqual([]);
  });
});
