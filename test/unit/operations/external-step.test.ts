/** Operations with an external step: what a definition is refused for, and what it hands on. */
import { expect, test } from "vitest";
import { z } from "zod";
import { createPayout } from "../../../src/operations/create-payout.ts";
import { noParams } from "../../../src/operations/define-operation.ts";
import { defineExternalOperation } from "../../../src/operations/external-step.ts";

const definition = {
  name: "things.send",
  method: "POST",
  path: "/v1/things",
  summary: "Send a thing",
  scope: "orders:write",
  params: noParams,
  input: z.strictObject({}),
  output: z.object({ id: z.string() }),
  refusals: {},
  held: z.object({ id: z.string() }),
  plan: () => ({ guards: [], effects: [], held: { id: "1" } }),
  external: {
    processor: "CARRIER",
    call: () => ({ method: "POST" as const, path: "/things", body: {} }),
    settle: ({ id }: { id: string }) => ({
      effects: [],
      answer: { status: 201 as const, link: `/v1/things/${id}`, body: { id } },
    }),
    release: () => [],
  },
} as const;

test("a processor is named like the vars that configure it", () => {
  const external = { ...definition.external, processor: "the carrier" };
  expect(() => defineExternalOperation({ ...definition, external })).toThrow("named like its vars");
});

test("an optional key is refused: nobody could be told what became of the call", () => {
  const optional = { ...definition, method: "PUT", idempotencyKey: "optional" } as const;
  expect(() => defineExternalOperation(optional)).toThrow("must require an Idempotency-Key");
  expect(defineExternalOperation({ ...definition, method: "PUT", status: 201 }).keyRequired).toBe(
    true,
  );
});

test("what was kept is parsed before a step goes on with it, and a wrong status is a defect", () => {
  const { external } = defineExternalOperation({ ...definition, status: 200 });
  expect(() => external?.release({ id: 1 }, 0)).toThrow(z.ZodError);
  expect(() => external?.settle({ id: "1" }, { status: 200 }, 0)).toThrow("settles with 201");
});

test("a payout is asked for alike by every run of its key, and ends as the processor says", () => {
  const held = {
    id: `out_${"0".repeat(26)}`,
    account: "alice",
    amountMinor: 5,
    currency: "EUR",
    destination: "DE00",
    description: null,
    key: "k",
    createdAtMs: 0,
  };
  const step = createPayout.external;
  if (step === null) throw new Error("A payout has an external step.");
  const another = { ...held, id: `out_${"1".repeat(26)}`, createdAtMs: 9 };
  expect(step.call(another, "derived")).toEqual(step.call(held, "derived"));
  const end = (status: number, body?: { readonly [member: string]: string }) =>
    step.settle(held, { status, body }, 1);
  expect(end(200, { id: "tr_1" })).toMatchObject({ answer: { body: { reference: "tr_1" } } });
  // What cannot be a reference is not taken for one.
  expect(end(204)).toMatchObject({ answer: { body: { reference: null } } });
  expect(end(200, { id: "a b" })).toMatchObject({ answer: { body: { reference: null } } });
  for (const declined of [end(402), end(200, { state: "declined" }), end(303)]) {
    expect(declined).toMatchObject({ refusal: "payout-declined" });
  }
});
