/** One definition is one GET endpoint: its route, validation and OpenAPI entry follow from it. */
import { z } from "zod";
import { isScope, type Scope } from "../contract/scopes.ts";
import type { Reader } from "../journal/reader.ts";
import type { JsonObject } from "../kernel/json.ts";
import { PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import type { InputIssue } from "./define-operation.ts";

export type QueryDefinition<
  Params extends z.ZodType<Record<string, string>>,
  Search extends z.ZodType,
  Output extends z.ZodType,
> = {
  readonly name: string;
  readonly path: string;
  readonly summary: string;
  readonly scope: Scope;
  readonly params: Params;
  readonly search: Search;
  readonly output: Output;
  /** Undefined: there is no such thing for this tenant, 404. */
  readonly run: (
    reader: Reader,
    params: z.output<Params>,
    search: z.output<Search>,
  ) => Promise<(z.input<Output> & JsonObject) | undefined>;
};

export type Query = {
  readonly name: string;
  readonly method: "GET";
  readonly path: string;
  readonly summary: string;
  readonly scope: Scope;
  readonly params: z.ZodType<Record<string, string>>;
  readonly search: z.ZodType;
  readonly output: z.ZodType;
  readonly run: (
    reader: Reader,
    params: Readonly<Record<string, string>>,
    search: Readonly<Record<string, string>>,
  ) => Promise<Result<JsonObject | undefined, readonly InputIssue[]>>;
};

/** Throws an Error that names the query if no token can grant its scope. */
export const defineQuery = <
  Params extends z.ZodType<Record<string, string>>,
  Search extends z.ZodType,
  Output extends z.ZodType,
>(
  definition: QueryDefinition<Params, Search, Output>,
): Query => {
  const scope: string = definition.scope;
  if (!isScope(scope)) {
    throw new Error(`Query ${definition.name}: no token can grant the scope "${scope}".`);
  }
  return {
    name: definition.name,
    method: "GET",
    path: definition.path,
    summary: definition.summary,
    scope: definition.scope,
    params: definition.params,
    search: definition.search,
    output: definition.output,
    run: async (reader, rawParams, rawSearch) => {
      const params = definition.params.safeParse(rawParams);
      // An id that no such thing can have: not found, like any other that does not exist.
      if (!params.success) return succeed(undefined);
      const search = definition.search.safeParse(rawSearch);
      if (!search.success) {
        return fail(
          search.error.issues.map((issue) => ({
            pointer: `?${issue.path.join(".")}`,
            detail: issue.message,
          })),
        );
      }
      return succeed(await definition.run(reader, params.data, search.data));
    },
  };
};

export const noSearch = z.strictObject({});

/**
 * The search parameters of a list: `limit` rows, those that follow the row `after` (a keyset page: it costs the
 * same however deep it lies).
 */
export const pageSearch = <Cursor extends z.ZodType>(cursor: Cursor) =>
  z.strictObject({
    limit: z.coerce.number().int().min(1).max(PAGE_ROWS_MAX).default(PAGE_ROWS_DEFAULT),
    after: cursor.optional(),
  });

export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    data: z.array(item),
    next: z.string().nullable().meta({ description: "`after` of the next page; null on the last" }),
  });

/** A page from one row more than was asked for: the surplus tells that there is a next one. */
export const toPage = <Item>(
  items: readonly Item[],
  limit: number,
  cursorOf: (item: Item) => string,
): { data: Item[]; next: string | null } => {
  const data = items.slice(0, limit);
  const last = data.at(-1);
  return { data, next: items.length > limit && last !== undefined ? cursorOf(last) : null };
};
