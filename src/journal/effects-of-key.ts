/**
 * What a key made, found again from its link for an operator: transfers with their entries, stock moves, an order. Only
 * primary keys are followed, and places in an account are found by halving: the cost does not grow with the books.
 */
import { z } from "zod";
import { keyHash } from "../kernel/hash.ts";
import { timeOrderedId } from "../kernel/ids.ts";
import { CONSOLE_SCAN_ROWS, CONSOLE_WINDOW_ROWS } from "../kernel/limits.ts";
import { type Sql, sql } from "../kernel/sql.ts";
import type { AuditRow } from "./audit-row.ts";
import { type Database, statement } from "./database.ts";

/** What a link names. */
type Named =
  | { readonly kind: "transfer"; readonly id: string }
  | { readonly kind: "order"; readonly id: string }
  | { readonly kind: "product"; readonly sku: string };

const LINKS: readonly (readonly [RegExp, (id: string) => Named])[] = [
  [/\/v1\/payments\/[^/]+\/refunds\/([^/]+)$/, (id) => ({ kind: "transfer", id })],
  [/\/v1\/payments\/([^/]+)$/, (id) => ({ kind: "transfer", id })],
  [/\/v1\/orders\/([^/]+)$/, (id) => ({ kind: "order", id })],
  [/\/v1\/products\/([^/]+)$/, (sku) => ({ kind: "product", sku })],
];

const namedBy = (link: string | null): Named | undefined => {
  for (const [pattern, make] of LINKS) {
    const id = pattern.exec(link ?? "")?.[1];
    if (id !== undefined) return make(decodeURIComponent(id));
  }
  return undefined;
};

/** Everything of the time-ordered ids of one millisecond begins so. */
const timePart = (ms: number): string => timeOrderedId(ms, () => undefined).slice(0, 10);

const keyRow = z.object({ key: z.string() });

/**
 * The key of a claim: by what it made or, where nothing tells, among the tenant's keys of that moment. Undefined if it
 * was not found; only its hash is known then.
 */
export const findKeyOf = async (db: Database, claim: AuditRow): Promise<string | undefined> => {
  const { tenant, keyHash: hash } = claim;
  const isIt = ({ key }: { key: string }): boolean => keyHash(tenant, key) === hash;
  const named = namedBy(claim.link);
  const made =
    named === undefined || named.kind === "product"
      ? []
      : await readAll(
          db,
          named.kind === "transfer"
            ? sql`SELECT key FROM transfers WHERE tenant = ${tenant} AND id = ${named.id}`
            : sql`SELECT key FROM orders WHERE tenant = ${tenant} AND id = ${named.id}
UNION SELECT t.key FROM orders AS o JOIN transfers AS t ON t.tenant = o.tenant AND t.id = o.refund WHERE o.tenant = ${tenant} AND o.id = ${named.id}`,
          keyRow,
        );
  return (
    made.find(isIt) ??
    (
      await readAll(
        db,
        sql`SELECT key FROM (SELECT key, created_at_ms FROM journal WHERE tenant = ${tenant} ORDER BY key LIMIT ${CONSOLE_SCAN_ROWS}) WHERE created_at_ms = ${claim.atMs}`,
        keyRow,
      )
    ).find(isIt)
  )?.key;
};

const keyOfRow = z.object({ seq: z.number(), key: z.string().nullable() });

/** The keys of a page of claims, by their numbers, as far as what they made tells them: one statement for all. */
export const findKeysOf = async (
  db: Database,
  claims: readonly AuditRow[],
): Promise<ReadonlyMap<number, string>> => {
  const named = claims.flatMap(({ seq, tenant, link }) => {
    const one = namedBy(link);
    return one === undefined || one.kind === "product"
      ? []
      : [{ seq, tenant, kind: one.kind, id: one.id }];
  });
  if (named.length === 0) return new Map();
  const rows = await readAll(
    db,
    sql`SELECT n.value ->> 'seq' AS seq, CASE n.value ->> 'kind'
  WHEN 'transfer' THEN (SELECT key FROM transfers AS t WHERE t.tenant = n.value ->> 'tenant' AND t.id = n.value ->> 'id')
  ELSE (SELECT key FROM orders AS o WHERE o.tenant = n.value ->> 'tenant' AND o.id = n.value ->> 'id') END AS key
FROM json_each(${JSON.stringify(named)}) AS n`,
    keyOfRow,
  );
  const claimOf = new Map(claims.map((claim) => [claim.seq, claim]));
  return new Map(
    rows.flatMap(({ seq, key }) => {
      const claim = claimOf.get(seq);
      // An order is cancelled by another key than the one that placed it.
      const isIt =
        key !== null && claim !== undefined && keyHash(claim.tenant, key) === claim.keyHash;
      return isIt ? [[seq, key] as const] : [];
    }),
  );
};

const transferRow = z.object({
  id: z.string(),
  source: z.string(),
  destination: z.string(),
  currency: z.string(),
  amount: z.number(),
  refunded: z.number(),
  refund_of: z.string().nullable(),
  created_at_ms: z.number(),
});
type TransferRow = z.output<typeof transferRow>;

const entryRow = z.object({
  account: z.string(),
  seq: z.number(),
  transfer: z.string(),
  amount: z.number(),
  balance: z.number(),
  currency: z.string(),
});

const moveRow = z.object({ sku: z.string(), id: z.string(), delta: z.number() });

const orderRow = z.object({
  id: z.string(),
  state: z.string(),
  payment: z.string().nullable(),
  refund: z.string().nullable(),
});

export type Effects = {
  readonly transfers: readonly TransferRow[];
  readonly entries: readonly z.output<typeof entryRow>[];
  readonly moves: readonly z.output<typeof moveRow>[];
};

export const effectsOf = async (
  db: Database,
  { tenant, link, operation, atMs }: AuditRow,
): Promise<Effects> => {
  const named = namedBy(link);
  if (named === undefined) return { transfers: [], entries: [], moves: [] };
  const ids: string[] = [];
  const moves: z.output<typeof moveRow>[] = [];
  switch (named.kind) {
    case "transfer":
      ids.push(named.id);
      break;
    case "order": {
      const [order] = await readAll(
        db,
        sql`SELECT id, state, payment, refund FROM orders WHERE tenant = ${tenant} AND id = ${named.id}`,
        orderRow,
      );
      const isCancel = operation === "orders.cancel";
      const transfer = isCancel ? order?.refund : order?.payment;
      if (typeof transfer === "string") ids.push(transfer);
      const move = `mov_${named.id}${isCancel ? "_cancelled" : ""}`;
      moves.push(
        ...(await readAll(
          db,
          sql`SELECT m.sku, m.id, m.delta FROM order_lines AS l JOIN stock_moves AS m ON m.tenant = l.tenant AND m.sku = l.sku AND m.id = ${move}
WHERE l.tenant = ${tenant} AND l.order_id = ${named.id} ORDER BY l.line`,
          moveRow,
        )),
      );
      break;
    }
    case "product":
      // A move's id begins with its moment.
      moves.push(
        ...(await readAll(
          db,
          sql`SELECT sku, id, delta FROM stock_moves WHERE tenant = ${tenant} AND sku = ${named.sku}
  AND id BETWEEN ${`mov_${timePart(atMs)}`} AND ${`mov_${timePart(atMs)}~`} LIMIT 10`,
          moveRow,
        )),
      );
  }
  const transfers: TransferRow[] = [];
  const entries: z.output<typeof entryRow>[] = [];
  for (const id of ids) {
    const [transfer] = await readAll(
      db,
      sql`SELECT id, source, destination, currency, amount, refunded, refund_of, created_at_ms FROM transfers WHERE tenant = ${tenant} AND id = ${id}`,
      transferRow,
    );
    if (transfer === undefined) continue;
    transfers.push(transfer);
    for (const account of [transfer.source, transfer.destination]) {
      entries.push(...(await readAll(db, entryOf(tenant, account, transfer), entryRow)));
    }
  }
  return { transfers, entries, moves };
};

/** An account's entries are in the order of commits, which is nearly that of time. */
const entryOf = (tenant: string, account: string, { id, created_at_ms: atMs }: TransferRow): Sql =>
  sql`WITH RECURSIVE half(lo, hi) AS (
  SELECT 1, entry_count + 1 FROM accounts WHERE tenant = ${tenant} AND id = ${account}
  UNION ALL
  SELECT CASE WHEN e.created_at_ms < ${atMs} THEN e.seq + 1 ELSE lo END, CASE WHEN e.created_at_ms < ${atMs} THEN hi ELSE e.seq END
  FROM half JOIN entries AS e ON e.tenant = ${tenant} AND e.account = ${account} AND e.seq = (lo + hi) / 2 WHERE lo < hi)
SELECT e.account, e.seq, e.transfer, e.amount, e.balance, a.currency
FROM (SELECT lo FROM half WHERE lo >= hi LIMIT 1) AS place
JOIN entries AS e ON e.tenant = ${tenant} AND e.account = ${account} AND e.seq BETWEEN place.lo - ${CONSOLE_WINDOW_ROWS} AND place.lo + ${CONSOLE_WINDOW_ROWS}
JOIN accounts AS a ON a.tenant = e.tenant AND a.id = e.account
WHERE e.transfer = ${id} LIMIT 1`;

const readAll = async <Row>(db: Database, query: Sql, schema: z.ZodType<Row>): Promise<Row[]> => {
  const { results } = await statement(db, query).all();
  return results.map((row) => schema.parse(row));
};
