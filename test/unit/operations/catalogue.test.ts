import { expect, it } from "vitest";
import { z } from "zod";
import { checkCatalogue } from "../../../src/operations/catalogue.ts";
import { defineOperation, noParams } from "../../../src/operations/define-operation.ts";
import { defineQuery, noSearch } from "../../../src/operations/define-query.ts";
import { operations, queries } from "../../../src/operations/registry.ts";

const closed = { status: 409, title: "Closed", cause: "It is night.", cure: "Wait." };

const operation = (change: {
  readonly name?: string;
  readonly method?: "POST" | "PATCH";
  readonly path?: string;
  readonly refusals?: Readonly<Record<string, number | typeof closed>>;
}) =>
  defineOperation({
    name: "things.create",
    method: "POST",
    path: "/v1/things",
    summary: "Make a thing",
    scope: "things:write",
    params: z.record(z.string(), z.string()),
    input: z.strictObject({}),
    output: z.object({}),
    refusals: {},
    plan: () => ({
      guards: [],
      effects: [],
      answer: { status: 201, link: "/v1/things", body: {} },
    }),
    ...change,
  });

const query = (name: string, path: string) =>
  defineQuery({
    name,
    path,
    summary: "A thing",
    scope: "read",
    params: noParams,
    search: noSearch,
    output: z.object({}),
    run: () => Promise.resolve({}),
  });

it("what the project itself offers is sound together", () => {
  expect(() => checkCatalogue({ operations, queries })).not.toThrow();
});

it("two operations of one name are refused: the second would answer for the first's keys", () => {
  const both = [operation({}), operation({ path: "/v1/others" })];
  expect(() => checkCatalogue({ operations: both, queries: [] })).toThrow(
    "The name things.create is defined twice: by POST /v1/things and by POST /v1/others.",
  );
});

it("an operation and a query of one name are refused", () => {
  expect(() =>
    checkCatalogue({ operations: [operation({})], queries: [query("things.create", "/v1/a")] }),
  ).toThrow("The name things.create is defined twice");
});

it("two definitions of one route are refused, whatever its parameters are called", () => {
  const both = [
    operation({ path: "/v1/things/{id}" }),
    operation({ name: "things.remake", path: "/v1/things/{thing}" }),
  ];
  expect(() => checkCatalogue({ operations: both, queries: [] })).toThrow(
    "The route POST /v1/things/{} is defined twice: by things.create and by things.remake.",
  );
});

it("another method of the same path is another route", () => {
  const both = [operation({}), operation({ name: "things.change", method: "PATCH" })];
  expect(() =>
    checkCatalogue({ operations: both, queries: [query("things.list", "/v1/things")] }),
  ).not.toThrow();
});

it("one code for two refusals is refused: there is one page for it", () => {
  const other = operation({
    name: "others.create",
    path: "/v1/others",
    refusals: { closed: { ...closed, status: 403 } },
  });
  const both = [operation({ refusals: { closed } }), other];
  expect(() => checkCatalogue({ operations: both, queries: [] })).toThrow(
    "The refusal closed means two things: one to things.create, another to others.create.",
  );
});

it("one refusal of two operations is fine", () => {
  const both = [
    operation({ refusals: { closed, "out-of-stock": 409 } }),
    operation({ name: "others.create", path: "/v1/others", refusals: { closed: { ...closed } } }),
  ];
  expect(() => checkCatalogue({ operations: both, queries: [] })).not.toThrow();
});
