import { expect, it } from "vitest";
import {
  absent,
  byId,
  exists,
  insert,
  insertIfAbsent,
  refuse,
  require,
  update,
  valueOf,
} from "../../../src/kernel/plan.ts";
import { renderSql, sql, trusted } from "../../../src/kernel/sql.ts";

const where = sql`id = ${"a"}`;

it("a plan is data: what it is made of can be compared, and runs nothing", () => {
  expect(exists("accounts", where)).toEqual({ table: "accounts", where, negated: false });
  expect(absent("accounts", where)).toEqual({ table: "accounts", where, negated: true });
  expect(require(exists("accounts", where), "unknown-account", "None.")).toEqual({
    holds: { table: "accounts", where, negated: false },
    refusal: "unknown-account",
    detail: "None.",
  });
  expect(refuse("unknown-payment", "None.")).toEqual({
    holds: "never",
    refusal: "unknown-payment",
    detail: "None.",
  });
  expect(insert("accounts", { id: "a" })).toEqual({
    kind: "insert",
    table: "accounts",
    row: { id: "a" },
    ifAbsent: false,
  });
  expect(insertIfAbsent("accounts", { id: "a" })).toMatchObject({ kind: "insert", ifAbsent: true });
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

it("8: byId carries an id as a parameter, whatever it holds", () => {
  expect(renderSql(byId("' OR 1=1 --"))).toEqual({ text: "id = ?1", params: ["' OR 1=1 --"] });
});
