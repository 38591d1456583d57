import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type Problem, PROBLEMS } from "../../../src/contract/problems.ts";
import type { Reader } from "../../../src/journal/reader.ts";
import { IdSource } from "../../../src/kernel/ids.ts";
import { trusted } from "../../../src/kernel/sql.ts";
import { KEY_LIFETIME_SECONDS, KEY_LIFETIME_SECONDS_MAX } from "../../../src/kernel/limits.ts";
import {
  type Definition,
  defineOperation,
  noParams,
} from "../../../src/operations/define-operation.ts";

type Params = z.ZodType<Record<string, string>>;
type Loose = Definition<Params, z.ZodType, z.ZodType, unknown, string>;

const answer = { status: 201, body: { id: "t1" }, link: "/v1/things/t1" } as const;

const thing: Loose = {
  name: "things.create",
  method: "POST",
  path: "/v1/things",
  summary: "Make a thing",
  scope: "payments:write",
  params: noParams,
  input: z.strictObject({ n: z.int() }),
  output: z.object({ id: z.string() }),
  refusals: { "already-exists": 409 },
  plan: () => ({ guards: [], effects: [], answer }),
};

const define = (more: Partial<Loose>) => defineOperation({ ...thing, ...more });

/** No read that these operations make needs an answer. */
const reader: Reader = { rows: () => Promise.resolve([]), first: () => Promise.resolve(undefined) };

const context = () => {
  let minted = 0;
  return {
    ids: new IdSource(() => `id${(minted += 1)}`),
    nowMs: 1_000,
    key: "key-0000000000000001",
  };
};

describe("a definition that breaks a rule is refused when it is made", () => {
  const own = { status: 409, title: "Own", cause: "Own.", cure: "Own." };

  it.each<readonly [string, Partial<Loose>, RegExp]>([
    [
      "a POST without a key",
      { idempotencyKey: "optional" },
      /a POST must require an Idempotency-Key/,
    ],
    [
      "a PATCH without a key",
      { method: "PATCH", idempotencyKey: "optional" },
      /a PATCH must require an Idempotency-Key/,
    ],
    ["a name without a verb", { name: "things" }, /the name must look like/],
    ["a name in capitals", { name: "Things.create" }, /the name must look like/],
    ["a name of three parts", { name: "things.parts.create" }, /the name must look like/],
    ["a name with a line break", { name: "things.create\n" }, /the name must look like/],
    ["a path that is relative", { path: "v1/things" }, /the path must look like/],
    ["a path that ends in a slash", { path: "/v1/things/" }, /the path must look like/],
    ["a path with an empty part", { path: "/v1//things" }, /the path must look like/],
    ["a path in Hono's form", { path: "/v1/things/:id" }, /the path must look like/],
    ["a path with a wildcard", { path: "/v1/*" }, /the path must look like/],
    ["a path with a query", { path: "/v1/things?x=1" }, /the path must look like/],
    ["no lifetime", { keyLifetimeSeconds: 0 }, /keyLifetimeSeconds/],
    ["a lifetime before now", { keyLifetimeSeconds: -1 }, /keyLifetimeSeconds/],
    ["a lifetime of a fraction", { keyLifetimeSeconds: 1.5 }, /keyLifetimeSeconds/],
    ["a lifetime that is no number", { keyLifetimeSeconds: Number.NaN }, /keyLifetimeSeconds/],
    [
      "a lifetime longer than bodies may be kept",
      { keyLifetimeSeconds: KEY_LIFETIME_SECONDS_MAX + 1 },
      /keyLifetimeSeconds/,
    ],
    [
      "a refusal that nobody described",
      { refusals: { "shop-closed": 409 } },
      /not in the problem table/,
    ],
    [
      "a refusal by an inherited name",
      { refusals: { constructor: 409 } },
      /not in the problem table/,
    ],
    [
      "a refusal of another status than the table's",
      { refusals: { "already-exists": 400 } },
      /"already-exists" has status 409/,
    ],
    ["a refusal code in capitals", { refusals: { ShopClosed: own } }, /lower-case words/],
    ["a refusal code with a space", { refusals: { "shop closed": own } }, /lower-case words/],
    [
      "a description of what the table has",
      { refusals: { "out-of-stock": own } },
      /is in the problem table/,
    ],
    [
      "a refusal of its own with a 5xx",
      { refusals: { "shop-closed": { ...own, status: 500 } } },
      /4xx/,
    ],
    [
      "a refusal of its own with a 2xx",
      { refusals: { "shop-closed": { ...own, status: 200 } } },
      /4xx/,
    ],
    [
      "a constraint that stands for no refusal",
      { constraints: { thing_n: "out-of-stock" } },
      /the constraint thing_n stands for "out-of-stock"/,
    ],
    [
      "a constraint that stands for an inherited name",
      { constraints: { thing_n: "constructor" } },
      /the constraint thing_n stands for "constructor"/,
    ],
  ])("%s", (_, flaw, message) => {
    expect(() => define(flaw)).toThrow(message);
    expect(() => define(flaw)).toThrow(`Operation ${flaw.name ?? "things.create"}: `);
  });
});

describe("a definition that keeps the rules", () => {
  it("requires a key on POST and PATCH, and honours one on PUT and DELETE", () => {
    const required = (["POST", "PATCH", "PUT", "DELETE"] as const).map(
      (method) => define({ method }).keyRequired,
    );
    expect(required).toEqual([true, true, false, false]);
  });

  it("may require a key on PUT and DELETE too", () => {
    expect(define({ method: "PUT", idempotencyKey: "required" }).keyRequired).toBe(true);
    expect(define({ method: "DELETE", idempotencyKey: "optional" }).keyRequired).toBe(false);
  });

  it("answers 201 to a POST and 200 to the others, unless it says otherwise", () => {
    const statuses = (["POST", "PATCH", "PUT", "DELETE"] as const).map(
      (method) => define({ method }).status,
    );
    expect(statuses).toEqual([201, 200, 200, 200]);
    expect(define({ status: 200 }).status).toBe(200);
  });

  it("lives for a day unless it says otherwise", () => {
    expect(define({}).keyLifetimeSeconds).toBe(KEY_LIFETIME_SECONDS);
    expect(define({ keyLifetimeSeconds: 1 }).keyLifetimeSeconds).toBe(1);
    expect(define({ keyLifetimeSeconds: KEY_LIFETIME_SECONDS_MAX }).keyLifetimeSeconds).toBe(
      KEY_LIFETIME_SECONDS_MAX,
    );
  });

  it.each(["/v1/things", "/v1/things/{id}", "/v1/things/{id}/sub-things/{subId}", "/health"])(
    "may have the path %s",
    (path) => {
      expect(define({ path }).path).toBe(path);
    },
  );

  it("takes the table's problems as they are, and makes its own spend the key", () => {
    const own = { status: 422, title: "Own", cause: "Own.", cure: "Own." };
    const { refusals } = define({ refusals: { "out-of-stock": 409, "shop-closed": own } });
    const expected: Record<string, Problem> = {
      "out-of-stock": PROBLEMS["out-of-stock"],
      "shop-closed": { ...own, use: "new-key", shouldRetry: false },
    };
    expect(refusals).toEqual(expected);
  });

  it("52: says what a violated constraint stands for, and calls one it does not know a failure", () => {
    const { refusalOf } = define({ constraints: { thing_n: "already-exists" } });
    expect(refusalOf("thing_n")).toBe("already-exists");
    expect(refusalOf("other")).toBe("operation-failed");
    expect(define({}).refusalOf("thing_n")).toBe("operation-failed");
  });

  it("asks for no more scopes than its own, unless it says so", () => {
    expect(define({}).moreScopes({ n: 1 })).toEqual([]);
    expect(define({ moreScopes: () => ["ledger:fund"] }).moreScopes(null)).toEqual(["ledger:fund"]);
  });
});

describe("61: what is wrong with a request is said as JSON pointers", () => {
  const operation = define({
    path: "/v1/things/{id}",
    params: z.strictObject({ id: z.string().max(3, "too long") }),
    input: z.strictObject({
      n: z.int("no whole number"),
      lines: z.array(z.strictObject({ "a/b~c": z.string("no text") })).default([]),
    }),
  });

  const issues = (body: Parameters<typeof operation.validate>[1], id = "t1") => {
    const result = operation.validate({ id }, body);
    return result.ok ? [] : result.failure;
  };

  it("one for each wrong member, with the reason", () => {
    expect(issues({ n: "1", lines: [{ "a/b~c": "x" }, { "a/b~c": 1 }] })).toEqual([
      { pointer: "/n", detail: "no whole number" },
      { pointer: "/lines/1/a~1b~0c", detail: "no text" },
    ]);
  });

  it("of the path and of the body together", () => {
    expect(issues({ n: 0.5 }, "long-id").map(({ detail }) => detail)).toEqual([
      "too long",
      "no whole number",
    ]);
  });

  it("23: unknown members, at any depth, by name", () => {
    const unknown = issues({ n: 1, extra: 1, lines: [{ "a/b~c": "x", more: 2 }] });
    const told = unknown.map(({ pointer, detail }) => `${pointer}: ${detail}`).toSorted();
    expect(told).toMatchObject([
      expect.stringMatching(/^\/lines\/0: .*"more"/),
      expect.stringMatching(/^: .*"extra"/),
    ]);
  });

  it.each([null, [], "text", 1, true])(
    "a body of %j is not an object: the pointer is the whole",
    (body) => {
      expect(issues(body)).toMatchObject([{ pointer: "" }]);
    },
  );

  it("15: -1, 0.5, 2^53 and text are not counts", () => {
    for (const n of [0.5, 2 ** 53, "1", null]) expect(issues({ n })).toHaveLength(1);
    expect(issues({ n: 1 })).toEqual([]);
  });
});

describe("a request that is ready", () => {
  const ready = (
    operation: ReturnType<typeof define>,
    params = {},
    body: { n: number } = { n: 1 },
  ) => {
    const result = operation.validate(params, body);
    if (!result.ok) throw new Error(JSON.stringify(result.failure));
    return result.value;
  };

  it("is planned from its input, after defaults, and from its path", async () => {
    const seen: unknown[] = [];
    const operation = define({
      path: "/v1/things/{id}",
      params: z.strictObject({ id: z.string() }),
      input: z.strictObject({ n: z.int(), size: z.string().default("L") }),
      plan: (input, facts, { params, nowMs, key }) => {
        seen.push(input, facts, params, nowMs, key);
        return { guards: [], effects: [], answer };
      },
    });
    await ready(operation, { id: "t1" }).plan(reader, context());
    expect(seen).toEqual([
      { n: 1, size: "L" },
      undefined,
      { id: "t1" },
      1_000,
      "key-0000000000000001",
    ]);
  });

  it("says whether it reads before it plans", () => {
    expect(ready(define({})).reads).toBe(false);
    expect(ready(define({ read: () => Promise.resolve(1) })).reads).toBe(true);
  });

  it("is planned with what it read", async () => {
    const operation = define({
      read: async (_input, from) =>
        (await from.first({ table: "t", columns: [], where: trusted("") })) ?? "none",
      plan: (_input, facts) => ({
        guards: [],
        effects: [],
        answer: { ...answer, body: { id: String(facts) } },
      }),
    });
    const plan = await ready(operation).plan(reader, context());
    expect(plan.answer.body).toEqual({ id: "none" });
  });

  it("51: names the same things in every plan, also when its read took ids", async () => {
    const operation = define({
      read: (_input, _reader, { ids }) => Promise.resolve(ids.next("seen")),
      plan: (_input, facts, { ids }) => ({
        guards: [],
        effects: [],
        answer: {
          ...answer,
          body: { id: `${String(facts)} ${ids.next("thing")} ${ids.next("part")}` },
        },
      }),
    });
    const given = context();
    const one = ready(operation);
    const bodies: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      given.ids.rewind();
      bodies.push((await one.plan(reader, given)).answer.body);
    }
    expect(bodies).toEqual(
      Array.from({ length: 3 }, () => ({ id: "seen_id1 thing_id1 part_id2" })),
    );
  });

  it("whose plan answers another status than OpenAPI was told is not carried out", async () => {
    const operation = define({ status: 200 });
    await expect(ready(operation).plan(reader, context())).rejects.toThrow(
      "Operation things.create: the plan answers 201, the definition 200.",
    );
  });

  it("a read that fails is not planned", async () => {
    const operation = define({
      read: () => Promise.reject(new Error("away")),
      plan: () => {
        throw new Error("planned");
      },
    });
    await expect(ready(operation).plan(reader, context())).rejects.toThrow("away");
  });
});

it("a path without parameters takes none", () => {
  expect(noParams.safeParse({}).success).toBe(true);
  expect(noParams.safeParse({ id: "x" }).success).toBe(false);
});
