import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  joinSql,
  renderSql,
  type Sql,
  sql,
  type SqlValue,
  trusted,
} from "../../../src/kernel/sql.ts";
import { property, text } from "../property.ts";

const value: fc.Arbitrary<SqlValue> = fc.oneof(
  text,
  fc.constantFrom("?", "'; DROP TABLE journal; --", "' OR 1=1 --", "x = ?"),
  fc.maxSafeInteger(),
  fc.constant(null),
);

const numbersIn = (built: string): number[] =>
  [...built.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number));

describe("sql", () => {
  it("makes every value a parameter, in order", () => {
    expect(renderSql(sql`a = ${1} AND b = ${"x"} OR c IS ${null}`)).toEqual({
      text: "a = ?1 AND b = ?2 OR c IS ?3",
      params: [1, "x", null],
    });
  });

  it("splices fragments in, with their parameters where they stand", () => {
    const inner = sql`b = ${2}`;
    expect(renderSql(sql`a = ${1} AND (${inner}) AND c = ${3}`)).toEqual({
      text: "a = ?1 AND (b = ?2) AND c = ?3",
      params: [1, 2, 3],
    });
  });

  it("without values is its text", () => {
    expect(renderSql(sql`SELECT 1`)).toEqual({ text: "SELECT 1", params: [] });
  });

  it("takes trusted text as it is", () => {
    expect(renderSql(sql`SELECT * FROM ${trusted("journal")} WHERE key = ${"k"}`)).toEqual({
      text: "SELECT * FROM journal WHERE key = ?1",
      params: ["k"],
    });
  });

  property(
    "8: no value ever becomes text, and no parameter is lost",
    fc.property(value, value, value, value, (a, b, c, d) => {
      const { text: built, params } = renderSql(
        sql`x = ${a} AND ${joinSql([sql`y = ${b}`, sql`z IN (${c}, ${d})`], " OR ")}`,
      );
      expect(built.replaceAll(/\?\d+/g, "?")).toBe("x = ? AND y = ? OR z IN (?, ?)");
      expect(numbersIn(built).map((number) => params[number - 1])).toEqual([a, b, c, d]);
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
    "names every parameter, and none that is not there, however it is nested",
    fc.property(fragment, (nested) => {
      const { text: built, params } = renderSql(nested);
      expect(built).toMatch(/^[a-c=?0-9() ANDOR]*$/);
      expect([...new Set(numbersIn(built))].toSorted((x, y) => x - y)).toEqual(
        params.map((_, i) => i + 1),
      );
    }),
  );

  it("binds a text once, however often it stands there; numbers and nulls each time", () => {
    expect(renderSql(sql`${"t"} ${1} ${null} ${sql`(${"t"} ${1})`} ${null} ${"u"}`)).toEqual({
      text: "?1 ?2 ?3 (?1 ?4) ?5 ?6",
      params: ["t", 1, null, 1, null, "u"],
    });
  });
});

describe("joinSql", () => {
  it("of nothing is nothing, of one is that one", () => {
    expect(renderSql(joinSql([], ", "))).toEqual({ text: "", params: [] });
    expect(renderSql(joinSql([sql`a = ${1}`], " AND "))).toEqual({ text: "a = ?1", params: [1] });
  });
});
