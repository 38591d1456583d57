/**
 * SQLite with the project's migrations, to judge by what SQL does instead of by how it is written. It is the
 * engine that D1 runs, not D1: what D1 adds (batches over a network, its errors) is tested in workerd.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { Condition, Effect } from "../../src/kernel/plan.ts";
import { joinSql, renderSql, type Sql, sql, trusted } from "../../src/kernel/sql.ts";

const folder = fileURLToPath(new URL("../../migrations/", import.meta.url).href);

export const migrations: readonly string[] = readdirSync(folder).toSorted();

export type Row = Readonly<Record<string, unknown>>;

export class Sqlite {
  readonly #db = new DatabaseSync(":memory:");

  /** @param files of migrations/; all of them unless said */
  constructor(files: readonly string[] = migrations) {
    for (const name of files) this.#db.exec(readFileSync(join(folder, name), "utf8"));
  }

  /** One transaction, like D1's `batch`: all statements or none. Each one's rows. */
  batch(statements: readonly Sql[]): Row[][] {
    this.#db.exec("BEGIN");
    try {
      const results = statements.map((statement) => this.rows(statement));
      this.#db.exec("COMMIT");
      return results;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  rows(statement: Sql): Row[] {
    const { text, params } = renderSql(statement);
    return this.#db
      .prepare(text)
      .all(...params)
      .map((row) => ({ ...row }));
  }

  /** Whether a condition of a plan holds for a tenant. */
  holds(tenant: string, { table, where, matches }: Condition): boolean {
    const rows = this.rows(
      sql`SELECT 1 FROM ${trusted(table)} WHERE tenant = ${tenant} AND (${where})`,
    );
    if (matches === "some") return rows.length > 0;
    return rows.length === (matches === "none" ? 0 : matches);
  }

  /** An insert as a plan describes it, without a claim, and without asking any guard. */
  insert(tenant: string, effect: Effect): void {
    if (effect.kind !== "insert") throw new Error(`not an insert: ${effect.kind}`);
    const columns = trusted(["tenant", ...Object.keys(effect.row)].join(", "));
    const values = [tenant, ...Object.values(effect.row)].map((value) => sql`${value}`);
    this.rows(
      sql`INSERT INTO ${trusted(effect.table)} (${columns}) VALUES (${joinSql(values, ", ")})`,
    );
  }

  /** Further tables, for tests that need none of the business. */
  exec(text: string): void {
    this.#db.exec(text);
  }
}
