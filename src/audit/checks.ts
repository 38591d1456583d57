/**
 * What the reconciliation looks at: for each table, the rows of a page that do not fit. Every page is judged by one
 * statement, so by one moment of the database: work that goes on meanwhile is seen whole or not at all.
 *
 * A check costs the same however long a history is: an entry is compared with the one before it and with its transfer,
 * a balance with its last entry. Data only: the SQL is run by reconcile.ts.
 */
import {
  FORGOTTEN_MARGIN_MS,
  IN_FLIGHT_TOO_LONG_MS,
  KEY_LIFETIME_SECONDS,
  RECONCILE_FINDINGS_PER_STEP,
  RECONCILE_PAGE_ROWS,
  RECONCILE_SUM_ROWS,
  TOMBSTONE_SECONDS,
} from "../kernel/limits.ts";
import { joinSql, type Sql, sql, trusted } from "../kernel/sql.ts";

/** `out_` and 26 characters. */
const PAYOUT_ID_LENGTH = 30;

/** One way in which a row of the page `r` can be wrong. */
type Fault = {
  readonly kind: string;
  readonly when: Sql;
  /** What should be there, and what is: figures or names, never a text of a client's. */
  readonly expected?: Sql;
  readonly found?: Sql;
};

export type Check = {
  readonly name: string;
  /** The rows, in the order of `place`. */
  readonly rows: Sql;
  /** The columns of the primary key, or those that rows are grouped by: where a page ends. The first is the tenant. */
  readonly place: readonly string[];
  readonly pageRows: number;
  /** What an issue is about. */
  readonly subject: Sql;
  /** The object that carries a row's work on, where there is one. */
  readonly object?: Sql;
  /** In this order: a row is reported once, by the first that applies. */
  readonly faults: (nowMs: number) => readonly Fault[];
};

/** Where a check has come to: the columns of its place. */
export type Place = readonly (string | number)[];

const page = ({ rows, place, pageRows }: Check, after: Place | undefined): Sql => {
  const columns = trusted(place.join(", "));
  const behind =
    after === undefined
      ? sql`true`
      : sql`(${columns}) > (${joinSql(
          after.map((value) => sql`${value}`),
          ", ",
        )})`;
  return sql`WITH page AS MATERIALIZED (SELECT * FROM ${rows} WHERE ${behind} ORDER BY ${columns} LIMIT ${pageRows})`;
};

/** The rows of the page that do not fit: tenant, subject, kind, expected, found. */
export const faultsOfPage = (check: Check, after: Place | undefined, nowMs: number): Sql => {
  const faults = check.faults(nowMs);
  const pick = (of: (fault: Fault) => Sql | undefined): Sql =>
    sql`CASE fault ${joinSql(
      faults.map(
        (fault, i) => sql`WHEN ${trusted(String(i))} THEN ${of(fault) ?? trusted("NULL")}`,
      ),
      " ",
    )} END`;
  const judged = joinSql(
    faults.map(({ when }, i) => sql`WHEN ${when} THEN ${trusted(String(i))}`),
    " ",
  );
  return sql`${page(check, after)} SELECT r.tenant, ${check.subject} AS subject, ${check.object ?? trusted("NULL")} AS object, fault, ${pick(({ expected }) => expected)} AS expected, ${pick(({ found }) => found)} AS found
FROM (SELECT r.*, CASE ${judged} END AS fault FROM page AS r) AS r WHERE fault IS NOT NULL LIMIT ${RECONCILE_FINDINGS_PER_STEP}`;
};

/** How many rows the page has, and its last place. */
export const endOfPage = (check: Check, after: Place | undefined): Sql => {
  const reversed = trusted(check.place.map((column) => `${column} DESC`).join(", "));
  return sql`${page(check, after)} SELECT ${trusted(check.place.join(", "))}, (SELECT COUNT(*) FROM page) AS rows_in_page FROM page ORDER BY ${reversed} LIMIT 1`;
};

/** Of a row that a key made: whether its key should still be known. */
const keyIsKnown = (nowMs: number): Sql =>
  sql`r.created_at_ms > ${nowMs - (KEY_LIFETIME_SECONDS + TOMBSTONE_SECONDS) * 1000 + FORGOTTEN_MARGIN_MS}`;

/**
 * @param which of the rows need such a key
 * @param operations names of our own source
 */
const withoutKey = (nowMs: number, which: Sql, ...operations: readonly string[]): Fault => ({
  kind: "effect-without-key",
  when: sql`${which} AND ${keyIsKnown(nowMs)} AND NOT EXISTS (SELECT 1 FROM journal AS j WHERE j.tenant = r.tenant AND j.key = r.key
    AND j.refusal IS NULL AND j.operation IN (${trusted(operations.map((name) => `'${name}'`).join(", "))}))`,
});

const ALL = sql`true`;

/** A step of a payout: `<id of the payout>_held`, `_paid` or `_released`. It is checked with its payout. */
const IS_PAYOUT_STEP = sql`r.id GLOB 'out_*'`;

const hasStep = (step: "held" | "paid" | "released"): Sql =>
  sql`EXISTS (SELECT 1 FROM transfers AS t WHERE t.tenant = r.tenant AND t.id = r.id || ${trusted(`'_${step}'`)} AND t.amount = r.amount)`;

/** The last part of the link's path, behind a fixed one. */
const linkBehind = (part: string): Sql =>
  sql`substr(r.link, instr(r.link, ${part}) + ${trusted(String(part.length))})`;

/** Whether what an accepted key says that it made is there. Of operations that are not ours nothing is known. */
const EFFECT_IS_THERE = sql`CASE r.operation
  WHEN 'accounts.create' THEN EXISTS (SELECT 1 FROM accounts AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/v1/accounts/")})
  WHEN 'payments.create' THEN EXISTS (SELECT 1 FROM transfers AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/v1/payments/")} AND x.key = r.key)
  WHEN 'refunds.create' THEN EXISTS (SELECT 1 FROM transfers AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/refunds/")} AND x.key = r.key)
  WHEN 'payouts.create' THEN EXISTS (SELECT 1 FROM payouts AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/v1/payouts/")} AND x.key = r.key AND x.state = 'paid')
  WHEN 'products.create' THEN EXISTS (SELECT 1 FROM products AS x WHERE x.tenant = r.tenant AND x.sku = ${linkBehind("/v1/products/")})
  WHEN 'stock.adjust' THEN EXISTS (SELECT 1 FROM products AS x WHERE x.tenant = r.tenant AND x.sku = ${linkBehind("/v1/products/")})
  WHEN 'orders.create' THEN EXISTS (SELECT 1 FROM orders AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/v1/orders/")} AND x.key = r.key)
  WHEN 'orders.cancel' THEN EXISTS (SELECT 1 FROM orders AS x WHERE x.tenant = r.tenant AND x.id = ${linkBehind("/v1/orders/")} AND x.state = 'cancelled')
  ELSE 1 END`;

const JOURNAL_ROWS = sql`(SELECT tenant, key, operation, state, refusal, link, object, created_at_ms FROM journal)`;

/** Keys whose outcome is open for too long. What has expired is swept by the run itself. */
const stuck = (nowMs: number): readonly Fault[] => [
  { kind: "outcome-uncertain", when: sql`r.state = 'uncertain'`, found: sql`r.operation` },
  {
    kind: "in-flight-too-long",
    when: sql`r.state = 'in-flight' AND r.created_at_ms < ${nowMs - IN_FLIGHT_TOO_LONG_MS}`,
    found: sql`r.operation || ' for ' || ((${nowMs} - r.created_at_ms) / 60000) || ' minutes'`,
  },
];

/** Of any Worker: the engine's own table. */
export const ENGINE_CHECKS: readonly Check[] = [
  {
    name: "journal",
    rows: JOURNAL_ROWS,
    place: ["tenant", "key"],
    pageRows: RECONCILE_PAGE_ROWS,
    // Hashed before it is written down.
    subject: sql`r.key`,
    object: sql`r.object`,
    faults: stuck,
  },
];

/** Along the primary key, so that a page reads no more than its tenants. */
const TENANTS = sql`(SELECT DISTINCT tenant FROM accounts)`;

/** Accounts count their entries, and are compared with them by a check of their own. */
const ENTRIES_OF_TENANT = sql`(SELECT SUM(a.entry_count) FROM accounts AS a WHERE a.tenant = r.tenant)`;

/** Of this Worker, with its ledger, stock and orders. */
export const CHECKS: readonly Check[] = [
  {
    name: "journal",
    rows: JOURNAL_ROWS,
    place: ["tenant", "key"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.key`,
    object: sql`r.object`,
    faults: (nowMs) => [
      ...stuck(nowMs),
      {
        kind: "key-without-effect",
        when: sql`r.state IN ('final', 'erased', 'expired') AND r.refusal IS NULL AND NOT (${EFFECT_IS_THERE})`,
        expected: sql`r.link`,
      },
    ],
  },
  {
    name: "entries",
    rows: sql`entries`,
    place: ["tenant", "account", "seq"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.account || '/' || r.seq`,
    faults: () => [
      {
        kind: "entry-without-transfer",
        when: sql`NOT EXISTS (SELECT 1 FROM transfers AS t WHERE t.tenant = r.tenant AND t.id = r.transfer)`,
        expected: sql`r.transfer`,
      },
      {
        kind: "entry-differs-from-transfer",
        when: sql`NOT EXISTS (SELECT 1 FROM transfers AS t WHERE t.tenant = r.tenant AND t.id = r.transfer
          AND ((t.source = r.account AND r.amount = -t.amount) OR (t.destination = r.account AND r.amount = t.amount)))`,
        expected: sql`r.transfer`,
        found: sql`r.amount`,
      },
      {
        kind: "entry-balance-broken",
        when: sql`r.balance - r.amount IS NOT (CASE r.seq WHEN 1 THEN 0 ELSE
          (SELECT e.balance FROM entries AS e WHERE e.tenant = r.tenant AND e.account = r.account AND e.seq = r.seq - 1) END)`,
        found: sql`r.balance`,
      },
    ],
  },
  {
    name: "accounts",
    rows: sql`accounts`,
    place: ["tenant", "id"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.id`,
    faults: () => [
      {
        kind: "balance-differs-from-entries",
        when: sql`r.balance IS NOT (CASE r.entry_count WHEN 0 THEN 0 ELSE
            (SELECT e.balance FROM entries AS e WHERE e.tenant = r.tenant AND e.account = r.id AND e.seq = r.entry_count) END)
          OR EXISTS (SELECT 1 FROM entries AS e WHERE e.tenant = r.tenant AND e.account = r.id AND e.seq > r.entry_count)`,
        expected: sql`(SELECT SUM(e.amount) FROM entries AS e WHERE e.tenant = r.tenant AND e.account = r.id)`,
        found: sql`r.balance`,
      },
    ],
  },
  {
    name: "currencies",
    rows: TENANTS,
    place: ["tenant"],
    pageRows: RECONCILE_SUM_ROWS,
    subject: sql`'ledger'`,
    faults: () => [
      {
        kind: "ledger-imbalance",
        when: sql`EXISTS (SELECT 1 FROM accounts AS a WHERE a.tenant = r.tenant GROUP BY currency HAVING SUM(balance) <> 0)`,
        expected: sql`0`,
        found: sql`(SELECT group_concat(total || ' ' || currency, ', ') FROM (SELECT currency, SUM(balance) AS total
          FROM accounts AS a WHERE a.tenant = r.tenant GROUP BY currency HAVING SUM(balance) <> 0))`,
      },
    ],
  },
  {
    name: "tenants",
    rows: TENANTS,
    place: ["tenant"],
    pageRows: RECONCILE_SUM_ROWS,
    subject: sql`'transfers'`,
    faults: () => [
      {
        // Entries are compared with their transfers above; a transfer that has none is seen by the number of them.
        kind: "transfer-without-entries",
        when: sql`${ENTRIES_OF_TENANT} <> 2 * (SELECT COUNT(*) FROM transfers AS t WHERE t.tenant = r.tenant)`,
        expected: sql`2 * (SELECT COUNT(*) FROM transfers AS t WHERE t.tenant = r.tenant)`,
        found: ENTRIES_OF_TENANT,
      },
    ],
  },
  {
    name: "transfers",
    rows: sql`transfers`,
    place: ["tenant", "id"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.id`,
    faults: (nowMs) => [
      {
        kind: "transfer-without-payout",
        when: sql`${IS_PAYOUT_STEP} AND NOT EXISTS (SELECT 1 FROM payouts AS p WHERE p.tenant = r.tenant AND p.id = substr(r.id, 1, ${trusted(String(PAYOUT_ID_LENGTH))}))`,
      },
      withoutKey(
        nowMs,
        sql`NOT (${IS_PAYOUT_STEP})`,
        "payments.create",
        "refunds.create",
        "orders.create",
        "orders.cancel",
      ),
      {
        // A refund's id begins with its payment's.
        kind: "refunds-differ-from-payment",
        when: sql`r.refund_of IS NULL AND r.refunded <> (SELECT COALESCE(SUM(t.amount), 0) FROM transfers AS t
          WHERE t.tenant = r.tenant AND t.id > 'ref_' || substr(r.id, 5) || '_' AND t.id < 'ref_' || substr(r.id, 5) || '\`' AND t.refund_of = r.id)`,
        found: sql`r.refunded`,
      },
    ],
  },
  {
    name: "payouts",
    rows: sql`payouts`,
    place: ["tenant", "id"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.id`,
    faults: (nowMs) => [
      // One that was released may have a key that was refused, or that is free again.
      withoutKey(nowMs, sql`r.state IN ('held', 'paid')`, "payouts.create"),
      {
        kind: "payout-differs-from-transfers",
        when: sql`NOT ${hasStep("held")} OR (r.state = 'paid') <> ${hasStep("paid")} OR (r.state = 'released') <> ${hasStep("released")}`,
        expected: sql`r.state`,
      },
    ],
  },
  {
    name: "products",
    rows: sql`products`,
    place: ["tenant", "sku"],
    pageRows: RECONCILE_SUM_ROWS,
    subject: sql`r.sku`,
    faults: () => [
      { kind: "stock-negative", when: sql`r.quantity < 0`, found: sql`r.quantity` },
      {
        kind: "stock-differs-from-moves",
        when: sql`(r.quantity, r.move_count) IS NOT (SELECT COALESCE(SUM(m.delta), 0), COUNT(*) FROM stock_moves AS m WHERE m.tenant = r.tenant AND m.sku = r.sku)`,
        expected: sql`(SELECT COALESCE(SUM(m.delta), 0) FROM stock_moves AS m WHERE m.tenant = r.tenant AND m.sku = r.sku)`,
        found: sql`r.quantity`,
      },
    ],
  },
  {
    name: "stock-moves",
    rows: sql`stock_moves`,
    place: ["tenant", "sku", "id"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.sku || '/' || r.id`,
    faults: (nowMs) => [
      withoutKey(nowMs, ALL, "products.create", "stock.adjust", "orders.create", "orders.cancel"),
    ],
  },
  {
    name: "orders",
    rows: sql`orders`,
    place: ["tenant", "id"],
    pageRows: RECONCILE_PAGE_ROWS,
    subject: sql`r.id`,
    faults: (nowMs) => [
      withoutKey(nowMs, ALL, "orders.create"),
      {
        kind: "order-total-differs-from-lines",
        when: sql`r.total IS NOT (SELECT SUM(l.quantity * l.price) FROM order_lines AS l WHERE l.tenant = r.tenant AND l.order_id = r.id)`,
        expected: sql`(SELECT SUM(l.quantity * l.price) FROM order_lines AS l WHERE l.tenant = r.tenant AND l.order_id = r.id)`,
        found: sql`r.total`,
      },
      {
        kind: "order-differs-from-payment",
        when: sql`r.payment IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transfers AS t WHERE t.tenant = r.tenant AND t.id = r.payment
          AND t.amount = r.total AND t.source = r.buyer AND t.destination = r.merchant AND t.currency = r.currency
          AND (r.state = 'placed' OR t.refunded = t.amount))`,
        expected: sql`r.total`,
        found: sql`(SELECT t.amount FROM transfers AS t WHERE t.tenant = r.tenant AND t.id = r.payment)`,
      },
    ],
  },
];
