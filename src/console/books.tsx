/**
 * Ledger, orders and stock: lists along their primary keys, and the same rows as files. A list shows a page; an export is
 * streamed, page after page, and no cell of it is a formula.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import type { Scope } from "../contract/scopes.ts";
import { streamPages } from "../http/ops/export.ts";
import { type Book, BOOKS, type BookPlace, readBook } from "../journal/books.ts";
import type { Database, DatabaseRow } from "../journal/database.ts";
import { csvLine } from "../kernel/csv.ts";
import { CONSOLE_PAGE_ROWS, EXPORT_PAGE_ROWS, EXPORT_ROWS_MAX } from "../kernel/limits.ts";
import { count, Key, linkTo, money, Time } from "./format.tsx";
import { pageHeaders } from "./page.tsx";
import { Databases, Empty, Tabs } from "./parts.tsx";
import { A, Form } from "./place.tsx";
import { consolePage, notice } from "./visit.tsx";

const READ: readonly Scope[] = ["ops:read"];

/** Where a page ended, as the URL says it. */
const placeSchema = z
  .string()
  .max(400)
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "is not a place" });
      return z.NEVER;
    }
  })
  .pipe(
    z
      .array(z.union([z.string(), z.number()]))
      .min(1)
      .max(3),
  )
  .optional();

const optional = (length: number) =>
  z
    .string()
    .max(length)
    .transform((value) => (value === "" ? undefined : value))
    .optional();

const search = z.object({
  tenant: optional(64),
  /** Within the tenant: an account, or a product. */
  account: optional(80),
  sku: optional(64),
  after: placeSchema,
  format: z.enum(["csv", "jsonl"]).optional(),
  database: z.string().max(10).optional(),
});

type Column = {
  readonly title: string;
  readonly isNumber?: true;
  readonly cell: (row: DatabaseRow) => ReturnType<FC> | string;
};

const text = (row: DatabaseRow, column: string): string => {
  const value = row[column];
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
};
const integer = (row: DatabaseRow, column: string): number => Number(row[column] ?? 0);

const plain = (title: string, column: string): Column => ({
  title,
  cell: (row) => text(row, column),
});
const amount = (title: string, column: string): Column => ({
  title,
  isNumber: true,
  cell: (row) => money(integer(row, column), text(row, "currency")),
});
const number = (title: string, column: string): Column => ({
  title,
  isNumber: true,
  cell: (row) => count(integer(row, column)).replace("-", "−"),
});
const created: Column = {
  title: "Created",
  cell: (row) => <Time ms={integer(row, "created_at_ms")} />,
};
const key: Column = { title: "Key", cell: (row) => <Key value={text(row, "key")} /> };
const code = (title: string, column: string): Column => ({
  title,
  cell: (row) => <code>{text(row, column)}</code>,
});

type BookPage = {
  readonly book: Book;
  readonly path: string;
  readonly title: string;
  readonly columns: readonly Column[];
};

const LEDGER: readonly BookPage[] = [
  {
    book: "accounts",
    path: "/console/ledger",
    title: "Accounts",
    columns: [
      plain("Tenant", "tenant"),
      {
        title: "Account",
        cell: (row) => (
          <A
            href={linkTo("/console/ledger/entries", {
              tenant: text(row, "tenant"),
              account: text(row, "id"),
            })}
          >
            {text(row, "id")}
          </A>
        ),
      },
      amount("Balance", "balance"),
      number("Entries", "entry_count"),
      created,
    ],
  },
  {
    book: "entries",
    path: "/console/ledger/entries",
    title: "Entries",
    columns: [
      plain("Tenant", "tenant"),
      plain("Account", "account"),
      number("Entry", "seq"),
      code("Transfer", "transfer"),
      amount("Amount", "amount"),
      amount("Balance after it", "balance"),
      created,
    ],
  },
  {
    book: "transfers",
    path: "/console/ledger/transfers",
    title: "Payments and refunds",
    columns: [
      plain("Tenant", "tenant"),
      code("Id", "id"),
      plain("From", "source"),
      plain("To", "destination"),
      amount("Amount", "amount"),
      amount("Given back", "refunded"),
      key,
      created,
    ],
  },
];

const ORDERS: readonly BookPage[] = [
  {
    book: "orders",
    path: "/console/orders",
    title: "Orders",
    columns: [
      plain("Tenant", "tenant"),
      code("Order", "id"),
      plain("State", "state"),
      plain("Buyer", "buyer"),
      plain("Merchant", "merchant"),
      amount("Total", "total"),
      key,
      created,
    ],
  },
];

const STOCK: readonly BookPage[] = [
  {
    book: "products",
    path: "/console/stock",
    title: "Products",
    columns: [
      plain("Tenant", "tenant"),
      {
        title: "Product",
        cell: (row) => (
          <A
            href={linkTo("/console/stock/moves", {
              tenant: text(row, "tenant"),
              sku: text(row, "sku"),
            })}
          >
            {text(row, "sku")}
          </A>
        ),
      },
      amount("Price", "price"),
      number("In stock", "quantity"),
      number("Moves", "move_count"),
      created,
    ],
  },
  {
    book: "stock_moves",
    path: "/console/stock/moves",
    title: "Stock moves",
    columns: [
      plain("Tenant", "tenant"),
      plain("Product", "sku"),
      code("Move", "id"),
      number("Pieces", "delta"),
      key,
      created,
    ],
  },
];

const bookPage = (group: string, siblings: readonly BookPage[], one: BookPage) =>
  consolePage({
    name: `console.${one.book}`,
    anyOf: READ,
    search,
    noted: (asked) => ({ tenant: asked.tenant ?? "", format: asked.format ?? "page" }),
    view: async ({ c, db, database, databases }, asked) => {
      const within = withinOf(one.book, asked);
      if (within === undefined) {
        return notice(400, "Name the tenant too", "An account or a product is one of a tenant.");
      }
      if (asked.format !== undefined)
        return exportBook(db, one.book, asked.format, within, asked.after);
      const page = await readBook(db, one.book, {
        within,
        after: asked.after,
        limit: CONSOLE_PAGE_ROWS,
      });
      const now = c.req.query();
      return {
        title: one.title,
        main: (
          <>
            <h1>{group}</h1>
            {siblings.length > 1 && (
              <Tabs
                label={group}
                tabs={siblings.map(({ title, path }) => ({
                  title,
                  href: linkTo(path, { tenant: asked.tenant, database: now["database"] }),
                  isCurrent: path === one.path,
                }))}
              />
            )}
            <Databases
              path={one.path}
              now={now}
              database={database}
              names={databases.map(([name]) => name)}
            />
            <BookFilter one={one} now={now} />
            <Rows one={one} rows={page.rows} />
            <p class="pages">
              {asked.after !== undefined && (
                <A href={linkTo(one.path, now, { after: undefined })}>First page</A>
              )}
              {page.next !== null && (
                <A rel="next" href={linkTo(one.path, now, { after: JSON.stringify(page.next) })}>
                  Next page
                </A>
              )}
            </p>
            <p class="export">
              As a file, at most {count(EXPORT_ROWS_MAX)} rows:{" "}
              <A href={linkTo(one.path, now, { format: "csv", after: undefined })}>CSV</A>,{" "}
              <A href={linkTo(one.path, now, { format: "jsonl", after: undefined })}>JSON lines</A>
            </p>
          </>
        ),
      };
    },
  });

/** The given first columns of the place; undefined if the second is given without the first. */
const withinOf = (
  book: Book,
  { tenant, account, sku }: z.output<typeof search>,
): BookPlace | undefined => {
  const second = book === "entries" ? account : book === "stock_moves" ? sku : undefined;
  if (tenant === undefined) return second === undefined ? [] : undefined;
  return second === undefined ? [tenant] : [tenant, second];
};

const BookFilter: FC<{ one: BookPage; now: Readonly<Record<string, string>> }> = ({ one, now }) => (
  <Form class="filters" action={one.path}>
    {now["database"] !== undefined && (
      <input type="hidden" name="database" value={now["database"]} />
    )}
    <p>
      <label for="tenant">Tenant</label>
      <input id="tenant" name="tenant" value={now["tenant"] ?? ""} maxlength={64} />
    </p>
    {one.book === "entries" && (
      <p>
        <label for="account">Account</label>
        <input id="account" name="account" value={now["account"] ?? ""} maxlength={80} />
      </p>
    )}
    {one.book === "stock_moves" && (
      <p>
        <label for="sku">Product</label>
        <input id="sku" name="sku" value={now["sku"] ?? ""} maxlength={64} />
      </p>
    )}
    <button>Show</button>
  </Form>
);

const Rows: FC<{ one: BookPage; rows: readonly DatabaseRow[] }> = ({ one, rows }) =>
  rows.length === 0 ? (
    <Empty>There are none.</Empty>
  ) : (
    <div class="wide" tabindex={0} role="region" aria-label={one.title}>
      <table>
        <thead>
          <tr>
            {one.columns.map(({ title, isNumber }) => (
              <th scope="col" class={isNumber === true ? "number" : ""}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {one.columns.map(({ cell, isNumber }) => (
                <td class={isNumber === true ? "number nowrap" : "nowrap"}>{cell(row)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );

/** Every column is a text, a number or nothing: the tables are STRICT. */
const cellOf = (row: DatabaseRow, column: string): string | number | null =>
  (row[column] ?? null) as string | number | null;

const exportBook = async (
  db: Database,
  book: Book,
  format: "csv" | "jsonl",
  within: BookPlace,
  after: BookPlace | undefined,
): Promise<Response> => {
  const { columns } = BOOKS[book];
  const isCsv = format === "csv";
  const line = (row: DatabaseRow): string =>
    isCsv
      ? csvLine(columns.map((column) => cellOf(row, column)))
      : `${JSON.stringify(Object.fromEntries(columns.map((column) => [column, cellOf(row, column)])))}\n`;
  const pages = pagesOf(db, book, within, after);
  return streamPages(pages, {
    head: isCsv ? csvLine(columns) : "",
    line,
    headers: {
      ...pageHeaders,
      "Content-Type": isCsv ? "text/csv; charset=utf-8" : "application/jsonl",
      "Content-Disposition": `attachment; filename="latchkey-${book}.${format}"`,
    },
  });
};

async function* pagesOf(
  db: Database,
  book: Book,
  within: BookPlace,
  start: BookPlace | undefined,
): AsyncGenerator<readonly DatabaseRow[], undefined> {
  let after = start;
  for (let left = EXPORT_ROWS_MAX; left > 0;) {
    const page = await readBook(db, book, {
      within,
      after,
      limit: Math.min(left, EXPORT_PAGE_ROWS),
    });
    yield page.rows;
    left -= page.rows.length;
    if (page.next === null) return;
    after = page.next;
  }
}

/** Path and handler of each. */
export const BOOK_PAGES = [
  ["Ledger", LEDGER] as const,
  ["Orders", ORDERS] as const,
  ["Stock", STOCK] as const,
].flatMap(([group, pages]) => pages.map((one) => [one.path, bookPage(group, pages, one)] as const));
