import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "../../../src/app.ts";
import { isProblemCode, PROBLEMS } from "../../../src/contract/problems.ts";
import { openApiDocument } from "../../../src/http/openapi.ts";
import { parseIdempotencyKey } from "../../../src/idempotency/key.ts";
import { defineOperation, noParams } from "../../../src/operations/define-operation.ts";
import { operations, queries } from "../../../src/operations/registry.ts";
import { property } from "../property.ts";

const header = z.object({ description: z.string(), schema: z.object({ type: z.string() }) });
const parameter = z.object({
  name: z.string(),
  in: z.enum(["path", "query", "header"]),
  required: z.boolean(),
  schema: z.looseObject({}),
});
const reference = z.object({ $ref: z.string() });
const response = z.object({
  description: z.string(),
  headers: z.record(z.string(), z.union([reference, header])).default({}),
  content: z.record(z.string(), z.object({ schema: z.looseObject({}) })).default({}),
  "x-retry": z
    .record(z.string(), z.object({ use: z.string(), shouldRetry: z.boolean() }))
    .default({}),
});
const operationSchema = z.object({
  "x-no-idempotency-key": z.string().optional(),
  operationId: z.string(),
  tags: z.array(z.string()).length(1),
  security: z.array(z.unknown()).optional(),
  parameters: z.array(z.union([reference, parameter])).default([]),
  requestBody: z
    .object({ required: z.literal(true), content: z.record(z.string(), z.unknown()) })
    .optional(),
  responses: z.record(z.string(), response),
});
const documentSchema = z.object({
  openapi: z.literal("3.1.0"),
  tags: z.array(z.object({ name: z.string() })),
  paths: z.record(z.string(), z.record(z.string(), operationSchema)),
  components: z.object({
    parameters: z.record(z.string(), parameter),
    headers: z.record(z.string(), header),
  }),
});

type Document = z.output<typeof documentSchema>;
type Documented = z.output<typeof operationSchema>;

const parse = (made: unknown): Document => documentSchema.parse(JSON.parse(JSON.stringify(made)));

let document: Document;

beforeAll(() => {
  document = parse(openApiDocument({ operations, queries }));
});

/** Parameters with references followed. */
const parametersOf = (from: Document, { parameters }: Documented): z.output<typeof parameter>[] =>
  parameters.map((one) => {
    if (!("$ref" in one)) return one;
    const found = from.components.parameters[one.$ref.replace("#/components/parameters/", "")];
    if (found === undefined) throw new Error(one.$ref);
    return found;
  });

const entry = (path: string, method: string): Documented => {
  const found = document.paths[path]?.[method.toLowerCase()];
  if (found === undefined) throw new Error(`${method} ${path} is not documented`);
  return found;
};

/** Every problem of an entry, as `status code`. */
const problemsOf = ({ responses }: Documented): string[] =>
  Object.entries(responses).flatMap(([status, { "x-retry": retry }]) =>
    Object.keys(retry).map((code) => `${status} ${code}`),
  );

const entries = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({ path, method, one })),
  );

/** What any keyed request may get: the order of checks, the states of its key, and what can go wrong. */
const KEYED = [
  "400 idempotency-key-invalid",
  "400 idempotency-key-missing",
  "400 request-invalid",
  "401 unauthenticated",
  "403 forbidden",
  "404 not-found",
  "405 method-not-allowed",
  "409 request-in-flight",
  "410 idempotency-key-expired",
  "410 outcome-erased",
  "413 body-too-large",
  "415 unsupported-media-type",
  "422 idempotency-key-reused",
  "423 request-in-flight",
  "429 rate-limited",
  "500 internal-error",
  "500 operation-failed",
  "503 outcome-unknown-yet",
  "503 temporarily-unavailable",
];
const READ = [
  "400 request-invalid",
  "401 unauthenticated",
  "403 forbidden",
  "404 not-found",
  "405 method-not-allowed",
  "500 internal-error",
  "503 temporarily-unavailable",
];

describe.each(operations.map((operation) => [operation.name, operation] as const))(
  "%s",
  (_, operation) => {
    const { method, path, name } = operation;

    it("is documented under its own name, with a body", () => {
      expect(entry(path, method)).toMatchObject({ operationId: name });
      expect(entry(path, method).requestBody?.content).toHaveProperty(["application/json"]);
    });

    it("requires an Idempotency-Key", () => {
      const key = parametersOf(document, entry(path, method)).filter(
        (one) => one.name === "Idempotency-Key",
      );
      expect(key).toMatchObject([{ in: "header", required: operation.keyRequired }]);
    });

    it("has every problem that it may return, under its status", () => {
      const own = Object.entries(operation.refusals).map(
        ([code, { status }]) => `${status} ${code}`,
      );
      // What is outside the database may be in doubt.
      const doubt = operation.external === null ? [] : ["409 outcome-uncertain"];
      expect(problemsOf(entry(path, method)).toSorted()).toEqual(
        [...KEYED, ...own, ...doubt].toSorted(),
      );
    });

    it("has one response for what succeeds, which says when it is a replay, and one for what is accepted", () => {
      const { responses } = entry(path, method);
      expect(Object.keys(responses).filter((status) => status.startsWith("2"))).toEqual([
        String(operation.status),
        "202",
      ]);
      expect("Location" in (responses[operation.status]?.headers ?? {})).toBe(
        operation.status === 201,
      );
      expect(responses[operation.status]?.headers).toMatchObject({
        "Idempotent-Replayed": {},
        "Idempotency-Expires": {},
        "X-Request-Id": {},
      });
      expect(responses["202"]?.headers).toMatchObject({
        Location: {},
        "Retry-After": {},
        "X-Request-Id": {},
      });
      expect(responses["202"]?.headers).not.toHaveProperty("Idempotent-Replayed");
    });

    it("62: says of every stored refusal that it may be a replay, and until when", () => {
      for (const { status } of Object.values(operation.refusals)) {
        expect(entry(path, method).responses[status]?.headers).toMatchObject({
          "Idempotent-Replayed": {},
          "Idempotency-Expires": {},
        });
      }
    });

    it("60, 61, 63: says so of nothing that is not stored", () => {
      for (const status of [400, 401, 403, 413, 415, 422, 423, 429, 503]) {
        expect(entry(path, method).responses[status]?.headers, `of ${status}`).not.toHaveProperty(
          "Idempotent-Replayed",
        );
      }
    });
  },
);

describe.each(queries.map((query) => [query.name, query] as const))("%s", (_, query) => {
  it("has every problem that it may return, and its page", () => {
    const documented = entry(query.path, "GET");
    expect(documented.operationId).toBe(query.name);
    expect(problemsOf(documented).toSorted()).toEqual(READ);
    expect(documented.responses["200"]?.content).toHaveProperty(["application/json"]);
  });

  it("10: takes no key", () => {
    const names = parametersOf(document, entry(query.path, "GET")).map(({ name }) => name);
    expect(names).not.toContain("Idempotency-Key");
  });
});

describe("every entry of the document", () => {
  it("names a status for success, and no status that no problem has", () => {
    const statuses = new Set<string>(Object.values(PROBLEMS).map(({ status }) => String(status)));
    for (const { one } of entries()) {
      const codes = Object.keys(one.responses);
      expect(
        codes.some((status) => /^2\d\d$/.test(status)),
        `of ${one.operationId}`,
      ).toBe(true);
      for (const status of codes.filter((code) => !code.startsWith("2"))) {
        expect(statuses.has(status), `${one.operationId} ${status}`).toBe(true);
      }
    }
  });

  it("that is a POST or PATCH requires a key, or says why it needs none, and no other does", () => {
    for (const { method, one } of entries()) {
      const keys = parametersOf(document, one).filter(({ name }) => name === "Idempotency-Key");
      const isExempt = one["x-no-idempotency-key"] !== undefined;
      expect(isExempt).toBe(one.operationId === "retry-advice.ask");
      const needsKey = ["post", "patch"].includes(method) && !isExempt;
      expect(keys.some(({ required }) => required)).toBe(needsKey);
    }
  });

  it("repeats the table's rule for retries with every problem", () => {
    for (const { one } of entries()) {
      for (const { "x-retry": retry } of Object.values(one.responses)) {
        for (const [code, rule] of Object.entries(retry)) {
          // A refusal that an operation declares itself spends its key, like every refusal.
          const { use, shouldRetry } = isProblemCode(code)
            ? PROBLEMS[code]
            : { use: "new-key", shouldRetry: false };
          expect(rule).toEqual({ use, shouldRetry });
        }
      }
    }
  });

  it("says of every problem how it is sent, and when to come back if that can help", () => {
    for (const { one } of entries()) {
      for (const [status, { headers, content, "x-retry": retry }] of Object.entries(
        one.responses,
      )) {
        if (Object.keys(retry).length === 0) continue;
        expect(content).toHaveProperty(["application/problem+json"]);
        expect(headers).toMatchObject({
          "X-Request-Id": {},
          "Stripe-Should-Retry": {},
          "X-Should-Retry": {},
        });
        const helps = Object.values(retry).some(({ shouldRetry }) => shouldRetry);
        expect("Retry-After" in headers, `${one.operationId} ${status}`).toBe(helps);
      }
    }
  });

  it("says what a 401 asks for, and what a 405 allows", () => {
    for (const { one } of entries()) {
      expect(Object.keys(one.responses["401"]?.headers ?? { "WWW-Authenticate": 0 })).toContain(
        "WWW-Authenticate",
      );
      expect(Object.keys(one.responses["405"]?.headers ?? { Allow: 0 })).toContain("Allow");
    }
  });

  it("refers only to what is there, and leaves nothing unused", () => {
    const text = JSON.stringify(openApiDocument({ operations, queries }));
    const references = new Set(
      [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/([\w-]+)"/g)].map(
        ([, kind, name]) => `${kind}/${name}`,
      ),
    );
    for (const kind of ["parameters", "headers"] as const) {
      const used = [...references].filter((one) => one.startsWith(`${kind}/`)).toSorted();
      expect(
        Object.keys(document.components[kind])
          .map((name) => `${kind}/${name}`)
          .toSorted(),
      ).toEqual(used);
    }
  });

  it("is grouped under a tag that is listed, and needs a token unless it is public", () => {
    const tags = document.tags.map(({ name }) => name);
    expect(new Set(tags).size).toBe(tags.length);
    for (const { one } of entries()) {
      expect(tags).toEqual(expect.arrayContaining(one.tags));
      expect(one.security === undefined).toBe(one.operationId !== "service.health");
    }
  });
});

describe("the document and the routes", () => {
  it("name each other: what is served under /v1 is documented, and what is documented is served", () => {
    const served = new Set(
      createApp({ operations, queries })
        .routes.filter(
          ({ method, path }) =>
            method !== "ALL" &&
            (path.startsWith("/v1/") || ["/healthz", "/metrics"].includes(path)),
        )
        .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`),
    );
    const documented = entries().map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    expect(documented.toSorted()).toEqual([...served].toSorted());
  });
});

describe("the key's pattern", () => {
  let pattern: RegExp | undefined;
  const accepts = (sent: string): boolean => {
    const { schema } = z
      .object({ schema: z.object({ pattern: z.string() }) })
      .parse(document.components.parameters["IdempotencyKey"]);
    // As JSON Schema reads patterns: ECMA-262 with Unicode.
    pattern ??= new RegExp(schema.pattern, "u");
    return pattern.test(sent);
  };

  property(
    "accepts exactly what the Worker accepts",
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 300 }),
        fc.string({
          unit: fc.constantFrom("a", "~", "!", "-", ",", " ", '"', "\\", ";", "é"),
          minLength: 14,
          maxLength: 19,
        }),
        fc.string({ unit: fc.constantFrom("k"), minLength: 250, maxLength: 260 }),
      ),
      (text) => {
        for (const sent of [text, `"${text}"`]) {
          expect(accepts(sent)).toBe(parseIdempotencyKey(sent).ok);
        }
      },
    ),
    1_000,
  );
});

describe("an operation whose key is optional", () => {
  const remove = defineOperation({
    name: "things.delete",
    method: "DELETE",
    path: "/v1/things",
    summary: "Remove things",
    scope: "stock:write",
    params: noParams,
    input: z.strictObject({}),
    output: z.object({}),
    refusals: {
      "shop-closed": { status: 409, title: "Shop closed", cause: "Night.", cure: "Wait." },
    },
    plan: () => ({
      guards: [],
      effects: [],
      answer: { status: 200, body: {}, link: "/v1/things" },
    }),
  });

  it("says so, and lists its own problem", () => {
    const made = parse(openApiDocument({ operations: [remove], queries: [] }));
    const documented = made.paths["/v1/things"]?.["delete"];
    if (documented === undefined) throw new Error("not documented");
    expect(parametersOf(made, documented)).toMatchObject([
      { name: "Idempotency-Key", required: false },
      { name: "Prefer" },
    ]);
    expect(problemsOf(documented)).toContain("409 shop-closed");
    expect(Object.keys(made.components.parameters)).toEqual(["OptionalIdempotencyKey", "Prefer"]);
  });
});
