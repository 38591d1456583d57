/**
 * A plan describes one exactly-once transaction as data. Nothing in it runs when it is made; the journal
 * turns it into statements that apply all together, or not at all, and never twice.
 *
 * Tenancy is not the author's to remember: every table named here has a `tenant` column, and the journal
 * adds `tenant = ?` to every condition, value and update, and the tenant to every inserted row. Inside a
 * `where` or a `set`, name only columns of that table.
 */
import type { Json, JsonObject } from "./json.ts";
import { type Sql, type SqlValue, sql, trusted } from "./sql.ts";

/** True while of the tenant's rows some match, none does, or exactly so many do. */
export type Condition = {
  readonly table: string;
  readonly where: Sql;
  readonly matches: "some" | "none" | number;
};

export const exists = (table: string, where: Sql): Condition => ({ table, where, matches: "some" });
export const absent = (table: string, where: Sql): Condition => ({ table, where, matches: "none" });

/** For a set: as many rows match as the request names, so each of them does. */
export const allOf = (table: string, count: number, where: Sql): Condition => ({
  table,
  where,
  matches: count,
});

/** If the condition is false, the request is refused with this code, and the refusal is stored. */
export type Guard<Refusal extends string = string> = {
  readonly holds: Condition | "never";
  readonly refusal: Refusal;
  /** A sentence for the caller; say nothing of other tenants or of balances. */
  readonly detail: string;
};

/** Requires a condition, or refuses. Guards are judged in order; the first that fails decides. */
export const require = <Refusal extends string>(
  holds: Condition,
  refusal: Refusal,
  detail: string,
): Guard<Refusal> => ({ holds, refusal, detail });

export type Row = { readonly [column: string]: SqlValue | Sql };

export type Effect =
  | {
      readonly kind: "insert";
      readonly table: string;
      readonly row: Row;
      readonly ifAbsent: boolean;
    }
  | {
      readonly kind: "insert-each";
      readonly table: string;
      readonly each: readonly Json[];
      readonly row: Row;
    }
  | { readonly kind: "update"; readonly table: string; readonly set: Row; readonly where: Sql };

export const insert = (table: string, row: Row): Effect => ({
  kind: "insert",
  table,
  row,
  ifAbsent: false,
});

/** Inserts unless a row with the same primary key is there already. */
export const insertIfAbsent = (table: string, row: Row): Effect => ({
  kind: "insert",
  table,
  row,
  ifAbsent: true,
});

/**
 * Inserts a row for each item, in one statement. In the row's values `value` is the item as JSON (sql`value ->> 0` its
 * first element), and `key` its index.
 */
export const insertEach = (table: string, each: readonly Json[], row: Row): Effect => ({
  kind: "insert-each",
  table,
  each,
  row,
});

/** Changes rows that a guard has shown to exist: an update that finds none changes nothing, silently. */
export const update = (table: string, set: Row, where: Sql): Effect => ({
  kind: "update",
  table,
  set,
  where,
});

/** A single value that SQL reads after the effects, for the answer. */
export type Computed = { readonly table: string; readonly value: Sql; readonly where: Sql };

export const valueOf = (table: string, column: string, where: Sql): Computed => ({
  table,
  value: trusted(column),
  where,
});

export type Answer = {
  readonly status: 200 | 201;
  readonly body: JsonObject;
  /**
   * Path of what was made or changed: the `Location` of a 201, and what an expired key still links to. Written like the
   * operation's own path, without what the app is mounted at.
   */
  readonly link: string;
  /** Top-level members of the body that SQL fills in after the effects. */
  readonly computed?: { readonly [member: string]: Computed };
};

export type Plan<Refusal extends string = string> = {
  /** What `read` found and the plan relied on. One that no longer holds: nothing is claimed, plan again. */
  readonly facts?: readonly Condition[];
  readonly guards: readonly Guard<Refusal>[];
  /** Applied in order, only if every guard holds. */
  readonly effects: readonly Effect[];
  readonly answer: Answer;
  /** What an operation with an external step goes on with: kept with the claim for as long as that is open. */
  readonly held?: JsonObject;
};

/**
 * Refuses whatever else the data say: for what `read` did not find. The facts that say so are checked again with the
 * claim.
 */
export type Refused<Refusal extends string = string> = {
  readonly facts: readonly Condition[];
  readonly refusal: Refusal;
  readonly detail: string;
};

export const refused = <Refusal extends string>(
  facts: readonly Condition[],
  refusal: Refusal,
  detail: string,
): Refused<Refusal> => ({ facts, refusal, detail });

/** A refusal as a plan: one guard that never holds, and nothing behind it. */
export const refusedPlan = ({ facts, refusal, detail }: Refused): Plan => ({
  facts,
  guards: [{ holds: "never", refusal, detail }],
  effects: [],
  answer: { status: 200, link: "", body: {} },
});

/** sql`id = ${id}`, the commonest condition. */
export const byId = (id: string): Sql => sql`id = ${id}`;
