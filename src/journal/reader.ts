/** Reads of one tenant's rows, for operations' facts and for queries. Every read is scoped to the tenant here. */
import { type Sql, sql, trusted } from "../kernel/sql.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { type Database, type DatabaseRow, statement } from "./database.ts";

export type Selection = {
  readonly table: string;
  readonly columns: readonly string[];
  /** Names columns of the table only; the tenant is added. */
  readonly where: Sql;
  /** `ORDER BY`, along the primary key. */
  readonly order?: string;
  readonly limit?: number;
};

export type Reader = {
  readonly rows: (selection: Selection) => Promise<readonly DatabaseRow[]>;
  readonly first: (selection: Selection) => Promise<DatabaseRow | undefined>;
};

/** The database did not answer a read. */
export class ReadFailed extends Error {
  override readonly name = "ReadFailed";
}

export const tenantReader = (db: Database, tenant: string): Reader => {
  const rows: Reader["rows"] = async ({ table, columns, where, order, limit }) => {
    const selected = statement(
      db,
      sql`SELECT ${trusted(columns.join(", "))} FROM ${trusted(table)} WHERE tenant = ${tenant} AND (${where})${trusted(order === undefined ? "" : ` ORDER BY ${order}`)}${limit === undefined ? trusted("") : sql` LIMIT ${limit}`}`,
    );
    try {
      return (await withTimeout(selected.all(), SEND_TIMEOUT_MS)).results;
    } catch (error) {
      throw new ReadFailed("The database did not answer a read.", { cause: error });
    }
  };
  return { rows, first: async (selection) => (await rows({ ...selection, limit: 1 }))[0] };
};
