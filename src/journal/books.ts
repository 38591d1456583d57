/**
 * The books of all tenants of a database, page by page along each table's primary key: for the console's lists and for
 * its exports. Columns are named here and nowhere else, so a page shows what an export holds.
 */
import { type Sql, joinSql, sql, trusted } from "../kernel/sql.ts";
import { type Database, type DatabaseRow, statement } from "./database.ts";

export const BOOKS = {
  accounts: {
    place: ["tenant", "id"],
    columns: [
      "tenant",
      "id",
      "currency",
      "balance",
      "overdraft_limit",
      "entry_count",
      "created_at_ms",
    ],
  },
  entries: {
    place: ["tenant", "account", "seq"],
    columns: [
      "tenant",
      "account",
      "seq",
      "transfer",
      "currency",
      "amount",
      "balance",
      "created_at_ms",
    ],
  },
  transfers: {
    place: ["tenant", "id"],
    columns: [
      "tenant",
      "id",
      "source",
      "destination",
      "currency",
      "amount",
      "refunded",
      "refund_of",
      "key",
      "created_at_ms",
    ],
  },
  orders: {
    place: ["tenant", "id"],
    columns: [
      "tenant",
      "id",
      "state",
      "buyer",
      "merchant",
      "currency",
      "total",
      "payment",
      "refund",
      "key",
      "created_at_ms",
    ],
  },
  products: {
    place: ["tenant", "sku"],
    columns: ["tenant", "sku", "currency", "price", "quantity", "move_count", "created_at_ms"],
  },
  stock_moves: {
    place: ["tenant", "sku", "id"],
    columns: ["tenant", "sku", "id", "delta", "reason", "key", "created_at_ms"],
  },
} as const;

/** Of an entry: its account's, for its own row has none. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "entries.currency":
    "(SELECT a.currency FROM accounts AS a WHERE a.tenant = entries.tenant AND a.id = entries.account) AS currency",
};

export type Book = keyof typeof BOOKS;

/** Where a page ends: the values of the book's `place`. */
export type BookPlace = readonly (string | number)[];

export type BookPage = { readonly rows: readonly DatabaseRow[]; readonly next: BookPlace | null };

/**
 * @param within the first columns of the place that are given: a tenant, or a tenant and an account; none of them: all
 * @param after where the page before it ended
 */
export const readBook = async (
  db: Database,
  book: Book,
  {
    within = [],
    after,
    limit,
  }: {
    readonly within?: BookPlace;
    readonly after?: BookPlace | undefined;
    readonly limit: number;
  },
): Promise<BookPage> => {
  const { place, columns } = BOOKS[book];
  const conditions: Sql[] = [
    sql`true`,
    ...within.map((value, i) => sql`${trusted(place[i] ?? "tenant")} = ${value}`),
    ...(after === undefined
      ? []
      : [
          sql`(${trusted(place.slice(0, after.length).join(", "))}) > (${joinSql(
            after.map((value) => sql`${value}`),
            ", ",
          )})`,
        ]),
  ];
  const { results } = await statement(
    db,
    sql`SELECT ${trusted(columns.map((column) => ELSEWHERE[`${book}.${column}`] ?? column).join(", "))} FROM ${trusted(book)} WHERE ${joinSql(conditions, " AND ")} ORDER BY ${trusted(place.join(", "))} LIMIT ${limit + 1}`,
  ).all();
  const rows = results.slice(0, limit);
  const last = rows.at(-1);
  const next =
    results.length > limit && last !== undefined
      ? place.map((column) => last[column] as string | number)
      : null;
  return { rows, next };
};
