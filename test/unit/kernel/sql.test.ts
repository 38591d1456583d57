import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSql, joinSql, type Sql, sql, type SqlValue, trusted } from "../../../src/kernel/sql.ts";
import { property, text } from "../property.ts";

const value: fc.Arbitrary<SqlValue> = fc.oneof(
  text,
  fc.constantFrom("?", "'; DROP TABLE journal; --", "' OR 1=1 --", "x = ?"),
  fc.maxSafeInteger(),
  fc.constant(null),
);

describe("sql", () => {
  it("makes every value a parameter, in order", () => {
    expect(sql`a = ${1} AND b = ${"x"} OR c IS ${null}`).toEqual({
      text: "a = ? AND b = ? OR c IS ?",
      params: [1, "x", null],
    });
  });

  it("splices fragments in, with their parameters where they stand", () => {
    const inner = sql`b = ${2}`;
    expect(sql`a = ${1} AND (${inner}) AND c = ${3}`).toEqual({
      text: "a = ? AND (b = ?) AND c = ?",
      params: [1, 2, 3],
    });
  });

  it("without values is its text", () => {
    expect(sql`SELECT 1`).toEqual({ text: "SELECT 1", params: [] });
  });

  it("takes trusted text as it is", () => {
    expect(sql`SELECT * FROM ${trusted("journal")} WHERE key = ${"k"}`).toEqual({
      text: "SELECT * FROM journal WHERE key = ?",
      params: ["k"],
    });
  });

  property(
    "8: no value ever becomes text, and no parameter is lost",
    fc.property(value, value, value, value, (a, b, c, d) => {
      const built = sql`x = ${a} AND ${joinSql([sql`y = ${b}`, sql`z IN (${c}, ${d})`], " OR ")}`;
      expect(built.text).toBe("x = ? AND y = ? OR z IN (?, ?)");
      expect(built.params).toEqual([a, b, c, d]);
    }),
  );

  const fragment: fc.Arbitrary<Sql> = fc.letrec<{ sql: Sql }>((tie) => ({
    sql: fc.oneof(
      { maxDepth: 4 },
      value.map((one) => sql`a = ${one}`),
      fc.tuple(tie("sql"), value).map(([inner, one]) => sql`(${inner}) AND b = ${one}`),
      fc.tuple(value, tie("sql")).map(([one, inner]) => sql`c = ${one} OR (${inner})`),
      fc.array(tie("sql"), { maxLength: 3 }).map((parts) => joinSql(parts, " AND ")),
    ),
  })).sql;
  property(
    "has as many question marks as parameters, however it is nested",
    fc.property(fragment, (built) => {
      expect(built.text).toMatch(/^[a-c=?() ANDOR]*$/);
      expect(built.text.split("?").length - 1).toBe(built.params.length);
    }),
  );
});

describe("joinSql", () => {
  it("of nothing is nothing, of one is that one", () => {
    expect(joinSql([], ", ")).toEqual({ text: "", params: [] });
    expect(joinSql([sql`a = ${1}`], " AND ")).toEqual({ text: "a = ?", params: [1] });
  });
});

it("isSql tells a fragment from a value", () => {
  expect([sql`a`, trusted("a"), "a", 1, null].map(isSql)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});
