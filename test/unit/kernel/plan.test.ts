import { expect, it } from "vitest";
import {
  absent,
  allOf,
  byId,
  exists,
  insert,
  insertEach,
  insertIfAbsent,
  refused,
  refusedPlan,
  require,
  update,
  valueOf,
} from "../../../src/kernel/plan.ts";
import { renderSql, sql, trusted } from "../../../src/kernel/sql.ts";

const where = sql`id = ${"a"}`;

it("a plan is data: what it is made of can be compared, and runs nothing", () => {
  expect(exists("accounts", where)).toEqual({ table: "accounts", where, matches: "some" });
  expect(absent("accounts", where)).toEqual({ table: "accounts", where, matches: "none" });
  expect(allOf("accounts", 2, where)).toEqual({ table: "accounts", where, matches: 2 });
  expect(require(exists("accounts", where), "unknown-account", "None.")).toEqual({
    holds: { table: "accounts", where, matches: "some" },
    refusal: "unknown-account",
    detail: "None.",
  });
  expect(insert("accounts", { id: "a" })).toEqual({
    kind: "insert",
    table: "accounts",
    row: { id: "a" },
    ifAbsent: false,
  });
  expect(insertIfAbsent("accounts", { id: "a" })).toMatchObject({ kind: "insert", ifAbsent: true });
  expect(insertEach("order_lines", [["mug", 2]], { sku: sql`value ->> 0` })).toEqual({
    kind: "insert-each",
    table: "order_lines",
    each: [["mug", 2]],
    row: { sku: sql`value ->> 0` },
  });
  expect(update("accounts", { balance: 1 }, where)).toEqual({
    kind: "update",
    table: "accounts",
    set: { balance: 1 },
    where,
  });
  expect(valueOf("products", "quantity", where)).toEqual({
    table: "products",
    value: trusted("quantity"),
    where,
  });
});

it("a refusal is a plan that no data can turn into an effect", () => {
  const facts = [absent("transfers", where)];
  expect(refusedPlan(refused(facts, "unknown-payment", "None."))).toMatchObject({
    facts,
    guards: [{ holds: "never", refusal: "unknown-payment", detail: "None." }],
    effects: [],
  });
});

it("8: byId carries an id as a parameter, whatever it holds", () => {
  expect(renderSql(byId("' OR 1=1 --"))).toEqual({ text: "id = ?1", params: ["' OR 1=1 --"] });
});
