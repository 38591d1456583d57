import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  RECORD_COLUMNS,
  type Send,
  statementWeight,
  statementsOf,
} from "../../../src/journal/statements.ts";
import { parseClaimRow, parseRecordRow } from "../../../src/journal/record-row.ts";
import type { Submission } from "../../../src/journal/submission.ts";
import {
  absent,
  allOf,
  exists,
  insert,
  insertIfAbsent,
  type Guard,
  insertEach,
  type Plan,
  refusedPlan,
  require,
  update,
  valueOf,
} from "../../../src/kernel/plan.ts";
import { GROUP_LONG_STATEMENTS_MAX, SHORT_STATEMENTS_MAX } from "../../../src/kernel/limits.ts";
import { renderSql, type Sql, sql } from "../../../src/kernel/sql.ts";
import { LINES_MAX } from "../../../src/orders/order.ts";
import { property, text } from "../property.ts";
import { Sqlite } from "../sqlite.ts";

const KEY = "key-0000000000000001";
const always = exists("things", sql`1 = 1`);
const refuse = (refusal: string, detail: string): Guard => ({ holds: "never", refusal, detail });
const thing = (id: string) => sql`id = ${id}`;

const answer: Plan["answer"] = { status: 201, body: { id: "t1" }, link: "/v1/things/t1" };

const submission = (plan: Partial<Plan>, more: Partial<Submission> = {}): Submission => ({
  tenant: "a",
  key: KEY,
  operation: "things.create",
  by: { actor: "caller-hash", requestId: "request" },
  fingerprintVersion: 1,
  fingerprint: "print",
  members: { id: "hash" },
  object: "bucket/1:a/0",
  plan: { guards: [], effects: [], answer, ...plan },
  answerBody: '{"id":"t1"}',
  bytes: 100,
  createdAtMs: 1_800_000_000_123,
  expiresAtS: 1_800_086_400,
  forgetAtS: 1_802_678_400,
  deadlineMs: 0,
  refusalDocument: (code, detail = "") => ({
    code,
    status: code === "teapot" ? 418 : 409,
    detail,
  }),
  refusalOf: () => "operation-failed",
  ...more,
});

const send = (plan: Partial<Plan>, more: Partial<Submission> = {}, nonce = "n1"): Send => ({
  submission: submission(plan, more),
  nonce,
  attempt: 1,
});

let db: Sqlite;

/** Sends, and gives back the claim's row. */
const commit = (one: Send) => db.batch(statementsOf(one))[0]?.[0];

const things = (): unknown[] =>
  db
    .rows(sql`SELECT tenant, id, n FROM things ORDER BY tenant, id`)
    .map((row) => Object.values(row));

const journal = () => db.rows(sql`SELECT * FROM journal`);

/** The only row of the journal, as any reader of it finds it. */
const recorded = () => parseRecordRow(db.rows(sql`SELECT ${RECORD_COLUMNS} FROM journal`)[0]);

const put = (tenant: string, id: string, n: number): void => {
  db.rows(sql`INSERT INTO things (tenant, id, n) VALUES (${tenant}, ${id}, ${n})`);
};

beforeEach(() => {
  db = new Sqlite();
  db.exec(
    "CREATE TABLE things (tenant TEXT NOT NULL, id TEXT NOT NULL, n INTEGER, PRIMARY KEY (tenant, id)) STRICT, WITHOUT ROWID",
  );
});

describe("the shape of a send", () => {
  const effects = [
    insert("things", { id: "t1", n: 1 }),
    insertIfAbsent("things", { id: "t2", n: null }),
    update("things", { n: sql`n + ${1}` }, thing("t1")),
  ];
  const computed = { n: valueOf("things", "n", thing("t1")) };
  const guards = [require(always, "teapot", "x"), refuse("gone", "y")];

  it.each([
    ["nothing", {}, 1],
    ["effects", { effects }, 4],
    ["guards and facts", { guards, facts: [always, always] }, 1],
    ["computed members", { answer: { ...answer, computed } }, 2],
    ["all of it", { effects, guards, facts: [always], answer: { ...answer, computed } }, 5],
  ] as const)("with %s is weighed without being built", (_, plan, count) => {
    expect(statementsOf(send(plan))).toHaveLength(count);
    expect(statementWeight(submission(plan))).toBe(count);
  });

  it("with no computed members although the plan speaks of them is weighed no lower than it is", () => {
    const plan = { answer: { ...answer, computed: {} } };
    expect(statementWeight(submission(plan))).toBeGreaterThanOrEqual(
      statementsOf(send(plan)).length,
    );
  });

  it("counts an effect for each of many items as that many statements", () => {
    const each = insertEach("things", ["t1", "t2", "t3"], { id: sql`value`, n: 1 });
    expect(statementWeight(submission({ effects: [...effects, each] }))).toBe(7);
  });

  it("weighs an order of fifty lines so that a group holds two", () => {
    const lines = Array.from({ length: LINES_MAX }, (_, i) => [`sku-${i}`, 1, 100]);
    const each = insertEach("things", lines, { id: sql`value ->> 0`, n: 1 });
    const order = {
      effects: [insert("things", { id: "t1", n: 1 }), ...effects.slice(1, 2), each, each],
    };
    const weight = statementWeight(submission(order));
    expect(weight).toBe(103);
    expect(statementsOf(send(order))).toHaveLength(5);
    expect(Math.floor(GROUP_LONG_STATEMENTS_MAX / weight)).toBe(2);
    expect(weight).toBeGreaterThan(SHORT_STATEMENTS_MAX);
  });

  it("of a forced refusal is the claim alone", () => {
    const refused = {
      ...send({ effects, guards }),
      forcedRefusal: { code: "x", status: 409 },
    };
    expect(statementsOf(refused)).toHaveLength(1);
  });

  it("begins with the claim, which never aborts: a taken key is no conflict", () => {
    const [claim, ...rest] = statementsOf(send({ effects, answer: { ...answer, computed } })).map(
      renderSql,
    );
    expect(claim?.text).toMatch(
      /\bINSERT INTO journal\b[^]*\bON CONFLICT \(tenant, key\) DO UPDATE\b/,
    );
    for (const { text: effect } of rest) expect(effect).not.toMatch(/INSERT INTO journal/);
  });

  it("names the tenant in every statement, as a parameter, for every table that it touches", () => {
    const plan: Partial<Plan> = {
      effects,
      guards: [require(always, "teapot", "x"), require(absent("things", thing("t9")), "gone", "y")],
      facts: [always],
      answer: { ...answer, computed },
    };
    for (const statement of statementsOf(send(plan, { tenant: "the-tenant" })).map(renderSql)) {
      const uses = statement.text.match(/\b(FROM|UPDATE|INTO) (journal|things)\b/g) ?? [];
      expect(uses.length).toBeGreaterThan(0);
      const tenant = statement.params.indexOf("the-tenant") + 1;
      const tenants = statement.text.match(new RegExp(`\\?${tenant}\\b`, "g")) ?? [];
      expect(tenants.length, `in ${statement.text}`).toBe(uses.length);
    }
  });

  /** One of every kind of statement, with these values in every place that takes one. */
  const withValues = ([a = "", b = "", c = "", d = "", e = ""]: readonly string[]): Sql[] =>
    statementsOf({
      submission: submission(
        {
          facts: [exists("things", sql`id = ${a}`)],
          guards: [require(absent("things", sql`id = ${b}`), c, d), refuse(e, a)],
          effects: [
            insert("things", { id: a, n: 1 }),
            insertIfAbsent("things", { id: b, n: 2 }),
            update("things", { id: c, n: sql`n + ${d.length}` }, sql`id = ${e}`),
          ],
          answer: {
            status: 201,
            link: a,
            body: {},
            computed: { [`m${b}`]: valueOf("things", "n", sql`id = ${c}`) },
          },
        },
        {
          tenant: a,
          key: b,
          operation: c,
          fingerprint: d,
          members: { [e]: a },
          object: b,
          answerBody: c,
        },
      ),
      nonce: e,
      attempt: 1,
    });

  /** Equal values share a number: what is left when the numbers are taken away. */
  const shapeOf = (one: Sql): string => renderSql(one).text.replaceAll(/\?\d+/g, "?");

  property(
    "8: is the same text whatever the values are",
    fc.property(fc.array(text, { minLength: 5, maxLength: 5 }), (values) => {
      expect(withValues(values).map(shapeOf)).toEqual(withValues([]).map(shapeOf));
    }),
  );

  it("8: is the same text when the values are SQL themselves", () => {
    const hostile = ["'); DROP TABLE journal; --", '" OR 1=1 --', "?", "\u0000", "things"];
    expect(withValues(hostile).map(shapeOf)).toEqual(withValues([]).map(shapeOf));
  });
});

describe("a claim", () => {
  it("stores the outcome as it will be replayed", () => {
    commit(send({}));
    expect(recorded()).toEqual({
      key: KEY,
      operation: "things.create",
      nonce: "n1",
      attempt: 1,
      refusal: null,
      status: 201,
      object: "bucket/1:a/0",
      createdAtMs: 1_800_000_000_123,
      forgetAtS: 1_802_678_400,
      held: null,
      record: {
        state: "final",
        fingerprintVersion: 1,
        fingerprint: "print",
        members: { id: "hash" },
        expiresAtS: 1_800_086_400,
        link: "/v1/things/t1",
        response: {
          status: 201,
          headers: { "content-type": "application/json", location: "/v1/things/t1" },
          body: '{"id":"t1"}',
        },
      },
    });
    expect(journal()).toMatchObject([{ tenant: "a", object: "bucket/1:a/0", deliveries: 1 }]);
  });

  it.each([
    ["an answer", {}],
    ["a refusal", { guards: [refuse("teapot", "x")] }],
  ])("RP: gives %s back as every later reader will find it", (_, plan) => {
    const one = { ...send(plan), attempt: 2 };
    const row = commit(one);
    expect(parseClaimRow(row, undefined, one.submission, one.nonce, one.attempt)).toEqual(
      recorded(),
    );
  });

  it("of a taken key gives nothing back and changes nothing", () => {
    commit(send({}));
    const before = journal();
    expect(commit(send({}, { fingerprint: "another" }, "n2"))).toBeUndefined();
    expect(journal()).toEqual(before);
  });

  it("24: of the same key in another tenant is a claim of its own", () => {
    commit(send({}));
    expect(commit(send({}, { tenant: "b" }, "n2"))).toBeDefined();
    expect(journal()).toHaveLength(2);
  });

  it("says which send it was: an attempt above 1 was preceded by one that got no answer", () => {
    commit({ ...send({}), attempt: 3 });
    expect(recorded().attempt).toBe(3);
  });
});

describe("guards", () => {
  const effects = [insert("things", { id: "t1", n: 1 })];

  it("that all hold let the effects happen", () => {
    put("a", "t0", 5);
    const guards = [
      require(exists("things", thing("t0")), "teapot", "x"),
      require(absent("things", thing("t1")), "gone", "y"),
    ];
    expect(commit(send({ guards, effects }))).toMatchObject({ refusal: null, status: 201 });
    expect(things()).toEqual([
      ["a", "t0", 5],
      ["a", "t1", 1],
    ]);
  });

  it("62: that fail are an outcome: stored, with its own status, text and no link, and no effect", () => {
    const guards = [require(exists("things", thing("t0")), "teapot", "No t0.")];
    commit(send({ guards, effects }));
    expect(recorded()).toMatchObject({
      refusal: "teapot",
      status: 418,
      record: {
        state: "final",
        link: null,
        response: {
          status: 418,
          headers: { "content-type": "application/problem+json" },
          body: '{"code":"teapot","status":418,"detail":"No t0."}',
        },
      },
    });
    expect(things()).toEqual([]);
  });

  it.each([
    [["t0", "t1"], null],
    [["t0", "nothing"], "teapot"],
    [[], null],
  ])("over the set %j ask that each of it is there, and no other tenant's", (ids, refusal) => {
    put("a", "t0", 5);
    put("a", "t1", 5);
    put("b", "nothing", 5);
    const among = sql`id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`;
    const guards = [require(allOf("things", ids.length, among), "teapot", "x")];
    expect(commit(send({ guards }))).toMatchObject({ refusal });
  });

  it("that never hold refuse whatever the data say", () => {
    expect(commit(send({ guards: [refuse("gone", "x")], effects }))).toMatchObject({
      refusal: "gone",
    });
    expect(things()).toEqual([]);
  });

  it("62: of a plan that is nothing but a refusal store it like any other", () => {
    const plan = refusedPlan({ facts: [], refusal: "gone", detail: "x" });
    expect(commit(send(plan))).toMatchObject({ refusal: "gone", status: 409 });
    expect(journal()).toMatchObject([{ link: null }]);
  });

  it("that are absent accept, and a forced refusal stands above those that hold", () => {
    put("a", "t0", 5);
    const refused: Send = {
      ...send({ guards: [require(exists("things", thing("t0")), "teapot", "x")], effects }),
      forcedRefusal: { code: "limit-exceeded", status: 409 },
    };
    expect(commit(refused)).toMatchObject({
      refusal: "limit-exceeded",
      status: 409,
      body: '{"code":"limit-exceeded","status":409}',
    });
    expect(journal()).toMatchObject([{ link: null }]);
    expect(things()).toEqual([["a", "t0", 5]]);
  });

  it("52: a forced refusal is stored however the guards would have judged", () => {
    const refused: Send = {
      ...send({ guards: [refuse("gone", "x")], effects }),
      forcedRefusal: { code: "operation-failed", status: 500, body: "{}" },
    };
    expect(commit(refused)).toMatchObject({ refusal: "operation-failed", status: 500 });
  });

  it("are judged before the effects, which may make them false", () => {
    put("a", "t1", 10);
    const plan = {
      guards: [require(exists("things", sql`id = 't1' AND n >= 10`), "teapot", "x")],
      effects: [update("things", { n: sql`n - ${10}` }, thing("t1"))],
    };
    expect(commit(send(plan))).toMatchObject({ refusal: null });
    expect(things()).toEqual([["a", "t1", 0]]);
  });

  property(
    "are judged in order: the first that fails decides, and only it",
    fc.property(
      fc.array(fc.constantFrom("holds", "fails", "never"), { maxLength: 12 }),
      (kinds) => {
        db = new Sqlite();
        db.exec("CREATE TABLE things (tenant TEXT, id TEXT, n INTEGER)");
        put("a", "t0", 1);
        const guards = kinds.map((kind, i) =>
          kind === "never"
            ? refuse(`refusal-${i}`, `detail ${i}`)
            : require((i % 2 === 0 ? exists : absent)(
                "things",
                thing((i % 2 === 0) === (kind === "holds") ? "t0" : "nothing"),
              ), `refusal-${i}`, `detail ${i}`),
        );
        const first = kinds.findIndex((kind) => kind !== "holds");
        const row = commit(send({ guards, effects }));
        expect(row).toMatchObject(
          first === -1
            ? { refusal: null, status: 201 }
            : {
                refusal: `refusal-${first}`,
                status: 409,
                body: JSON.stringify({
                  code: `refusal-${first}`,
                  status: 409,
                  detail: `detail ${first}`,
                }),
              },
        );
        expect(things()).toHaveLength(first === -1 ? 2 : 1);
      },
    ),
    100,
  );
});

describe("facts", () => {
  const effects = [insert("things", { id: "t1", n: 1 })];

  it("that no longer hold claim nothing: the key stays free, and the plan is made again", () => {
    const stale = { facts: [always, exists("things", thing("t0"))], effects };
    expect(commit(send(stale))).toBeUndefined();
    expect(journal()).toEqual([]);
    expect(things()).toEqual([]);
  });

  it.each([
    ["first", [exists("things", thing("nothing")), exists("things", thing("t0"))]],
    ["last", [exists("things", thing("t0")), exists("things", thing("nothing"))]],
  ])("must all hold: one that does not, the %s, suffices to claim nothing", (_, facts) => {
    put("a", "t0", 1);
    expect(commit(send({ facts, effects }))).toBeUndefined();
    expect(journal()).toEqual([]);
    expect(things()).toEqual([["a", "t0", 1]]);
  });

  it("that hold change nothing", () => {
    put("a", "t0", 1);
    const plan = {
      facts: [exists("things", thing("t0")), absent("things", thing("t1"))],
      effects,
    };
    expect(commit(send(plan))).toMatchObject({ refusal: null });
    expect(things()).toHaveLength(2);
  });

  it("51b: made untrue by the send's own effects do not let its second delivery apply them again", () => {
    put("a", "t0", 1);
    const plan = {
      facts: [exists("things", sql`id = 't0' AND n = 1`)],
      effects: [update("things", { n: sql`n + 1` }, thing("t0"))],
    };
    const once = send(plan);
    commit(once);
    expect(commit(once)).toMatchObject({ refusal: null });
    expect(things()).toEqual([["a", "t0", 2]]);
  });

  it("stand above guards: a refusal that rests on a stale fact is not stored", () => {
    const plan = { facts: [exists("things", thing("t0"))], guards: [refuse("gone", "x")] };
    expect(commit(send(plan))).toBeUndefined();
    expect(journal()).toEqual([]);
  });
});

describe("effects", () => {
  const effects = [
    insert("things", { id: "t1", n: 1 }),
    update("things", { n: sql`n + ${10}` }, thing("t1")),
  ];

  it("happen in order, once", () => {
    commit(send({ effects }));
    expect(things()).toEqual([["a", "t1", 11]]);
  });

  it("51b: of a batch that is delivered twice happen once", () => {
    const twice = send({ effects });
    commit(twice);
    commit(twice);
    expect(things()).toEqual([["a", "t1", 11]]);
    expect(journal()).toMatchObject([{ nonce: "n1", deliveries: 2 }]);
  });

  it("51a: of a first send that arrives after the second has committed do not happen", () => {
    const changing = [update("things", { n: sql`n + ${1}` }, thing("t0"))];
    put("a", "t0", 0);
    commit({ ...send({ effects: changing }, {}, "n2"), attempt: 2 });
    commit(send({ effects: changing }, {}, "n1"));
    expect(things()).toEqual([["a", "t0", 1]]);
    expect(journal()).toMatchObject([{ nonce: "n2", attempt: 2 }]);
  });

  it("42: of two incarnations with one key happen for one of them", () => {
    const changing = [update("things", { n: sql`n + ${1}` }, thing("t0"))];
    put("a", "t0", 0);
    for (const nonce of ["n1", "n2", "n3"]) commit(send({ effects: changing }, {}, nonce));
    expect(things()).toEqual([["a", "t0", 1]]);
  });

  it("change all columns that they name", () => {
    put("a", "t1", 7);
    commit(send({ effects: [update("things", { id: "t2", n: 8 }, thing("t1"))] }));
    expect(things()).toEqual([["a", "t2", 8]]);
  });

  it("for each of many items are one statement, which happens once and only if accepted", () => {
    const each = insertEach(
      "things",
      [
        ["t1", 1],
        ["t2", 2],
        ["'); --", null],
      ],
      {
        id: sql`value ->> 0`,
        n: sql`value ->> 1`,
      },
    );
    expect(statementsOf(send({ effects: [each] }))).toHaveLength(2);
    commit(send({ effects: [each], guards: [refuse("gone", "x")] }, { key: "another-key-00001" }));
    expect(things()).toEqual([]);

    commit(send({ effects: [each] }));
    commit(send({ effects: [each] }));

    expect(things()).toEqual([
      ["a", "'); --", null],
      ["a", "t1", 1],
      ["a", "t2", 2],
    ]);
  });

  it("for each of none change nothing", () => {
    commit(send({ effects: [insertEach("things", [], { id: sql`value`, n: 1 })] }));
    expect(things()).toEqual([]);
  });

  it("that insert if absent leave what is there", () => {
    put("a", "t1", 7);
    commit(send({ effects: [insertIfAbsent("things", { id: "t1", n: 1 })] }));
    expect(things()).toEqual([["a", "t1", 7]]);
  });

  it("52: that break a constraint undo the claim with them", () => {
    put("a", "t1", 7);
    expect(() => commit(send({ effects }))).toThrow(/UNIQUE/);
    expect(journal()).toEqual([]);
    expect(things()).toEqual([["a", "t1", 7]]);
  });

  it("store null, text and numbers as they are", () => {
    commit(
      send({
        effects: [insert("things", { id: "'); --", n: null }), insert("things", { id: "", n: -5 })],
      }),
    );
    expect(things()).toEqual([
      ["a", "", -5],
      ["a", "'); --", null],
    ]);
  });
});

describe("24: another tenant's rows", () => {
  const or = sql`id = ${"t1"} OR 1 = 1`;

  beforeEach(() => put("b", "t1", 5));

  it("satisfy no guard and no fact, though the condition says OR", () => {
    const guards = [require(exists("things", or), "teapot", "x")];
    expect(commit(send({ guards }))).toMatchObject({ refusal: "teapot" });
    expect(
      commit(send({ facts: [exists("things", or)] }, { key: "another-key-00001" })),
    ).toBeUndefined();
    expect(
      commit(send({ facts: [absent("things", or)] }, { key: "another-key-00002" })),
    ).toBeDefined();
  });

  it("are not changed, though the condition says OR", () => {
    put("a", "t1", 1);
    commit(send({ effects: [update("things", { n: 0 }, or)] }));
    expect(things()).toEqual([
      ["a", "t1", 0],
      ["b", "t1", 5],
    ]);
  });

  it("stand in nobody's way, and are not read into an answer", () => {
    const computed = { n: valueOf("things", "n", or) };
    commit(
      send({ effects: [insert("things", { id: "t1", n: 2 })], answer: { ...answer, computed } }),
    );
    expect(things()).toEqual([
      ["a", "t1", 2],
      ["b", "t1", 5],
    ]);
    expect(journal()).toMatchObject([{ body: '{"id":"t1","n":2}' }]);
  });

  it("are not reached by a claim of theirs under the same key and nonce", () => {
    commit(send({}, { tenant: "b" }));
    const refused = { guards: [refuse("gone", "x")], effects: [update("things", { n: 0 }, or)] };
    commit(send(refused));
    expect(things()).toEqual([["b", "t1", 5]]);
  });
});

describe("computed members", () => {
  const computed = { n: valueOf("things", "n", thing("t1")) };
  const effects = [update("things", { n: sql`n + ${1}` }, thing("t1"))];

  it("are read after the effects, in the same transaction, into the stored body", () => {
    put("a", "t1", 41);
    const results = db.batch(statementsOf(send({ effects, answer: { ...answer, computed } })));
    expect(results.at(-1)).toEqual([{ body: '{"id":"t1","n":42}' }]);
    expect(journal()).toMatchObject([{ body: '{"id":"t1","n":42}' }]);
  });

  it("may be several", () => {
    put("a", "t1", 41);
    const several = { ...computed, name: valueOf("things", "id", thing("t1")) };
    commit(send({ effects, answer: { ...answer, computed: several } }));
    expect(journal()).toMatchObject([{ body: '{"id":"t1","n":42,"name":"t1"}' }]);
  });

  it("62: do not touch a refusal's text", () => {
    put("a", "t1", 41);
    const results = db.batch(
      statementsOf(
        send({ guards: [refuse("gone", "x")], effects, answer: { ...answer, computed } }),
      ),
    );
    expect(results.at(-1)).toEqual([]);
    expect(journal()).toMatchObject([{ body: '{"code":"gone","status":409,"detail":"x"}' }]);
  });

  it("51b: are not read again by a second delivery", () => {
    put("a", "t1", 41);
    const twice = send({ effects, answer: { ...answer, computed } });
    commit(twice);
    db.rows(sql`UPDATE things SET n = 0`);
    commit(twice);
    expect(journal()).toMatchObject([{ body: '{"id":"t1","n":42}' }]);
  });
});
