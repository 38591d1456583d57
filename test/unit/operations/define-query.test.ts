import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { Reader } from "../../../src/journal/reader.ts";
import { PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX } from "../../../src/kernel/limits.ts";
import {
  defineQuery,
  noSearch,
  pageOf,
  pageSearch,
  toPage,
} from "../../../src/operations/define-query.ts";

const reader: Reader = { rows: () => Promise.resolve([]), first: () => Promise.resolve(undefined) };

const query = defineQuery({
  name: "things.list",
  path: "/v1/things/{id}",
  summary: "Things",
  scope: "read",
  params: z.strictObject({ id: z.string().max(3) }),
  search: pageSearch(z.string().max(5)),
  output: pageOf(z.object({ id: z.string() })),
  run: (_reader, { id }, { limit, after }) =>
    Promise.resolve(
      id === "no" ? undefined : { data: [{ id: `${id} ${limit} ${after ?? "-"}` }], next: null },
    ),
});

const run = async (id: string, search: Record<string, string> = {}) =>
  query.run(reader, { id }, search);

const shown = (id: string) => ({ ok: true, value: { data: [{ id }], next: null } });

describe("a query", () => {
  it("is a GET, whatever else it is", () => {
    expect(query.method).toBe("GET");
  });

  it("reads its path and its search", async () => {
    await expect(run("a", { limit: "2", after: "x" })).resolves.toEqual(shown("a 2 x"));
  });

  it("answers a page of the default size when none was asked for", async () => {
    await expect(run("a")).resolves.toEqual(shown(`a ${PAGE_ROWS_DEFAULT} -`));
  });

  it("of an id that no such thing can have finds nothing, like one that does not exist", async () => {
    const nothing = { ok: true, value: undefined };
    await expect(run("much-too-long")).resolves.toEqual(nothing);
    await expect(run("no")).resolves.toEqual(nothing);
  });

  it.each([
    { limit: "0" },
    { limit: "-1" },
    { limit: String(PAGE_ROWS_MAX + 1) },
    { limit: "1.5" },
    { limit: "many" },
    { limit: "" },
    { after: "much-too-long" },
  ])("refuses %j, and says which parameter it is", async (search) => {
    const [name] = Object.keys(search);
    await expect(run("a", search)).resolves.toMatchObject({
      ok: false,
      failure: [{ pointer: `?${name}` }],
    });
  });

  it("refuses a parameter that it does not know: a filter that is ignored shows too much", async () => {
    await expect(run("a", { filter: "x" })).resolves.toMatchObject({ ok: false });
    expect(noSearch.safeParse({ filter: "x" }).success).toBe(false);
  });
});

describe("a page", () => {
  const cursor = (item: number) => `c${item}`;

  it("has a next one exactly if a row more than asked for was there", () => {
    expect(toPage([1, 2, 3], 2, cursor)).toEqual({ data: [1, 2], next: "c2" });
    expect(toPage([1, 2], 2, cursor)).toEqual({ data: [1, 2], next: null });
    expect(toPage([1], 2, cursor)).toEqual({ data: [1], next: null });
    expect(toPage([], 2, cursor)).toEqual({ data: [], next: null });
  });

  it("followed to its end shows every row once, in order", () => {
    const rows = Array.from({ length: 23 }, (_, i) => i);
    const seen: number[] = [];
    let after = -1;
    for (let pages = 0; pages < 100; pages++) {
      const page = toPage(rows.filter((row) => row > after).slice(0, 5 + 1), 5, String);
      seen.push(...page.data);
      if (page.next === null) break;
      after = Number(page.next);
    }
    expect(seen).toEqual(rows);
  });
});
