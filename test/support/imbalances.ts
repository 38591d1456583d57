/** L of the fault list as SQL: what no ledger and no stock may ever show, in any tenant. */
import type { SqlRow } from "./companion.ts";
import type { Server } from "./server.ts";

/** What is wrong, and the rows that show it; empty for books that balance. */
export const findImbalances = async (
  server: Pick<Server, "sqlBatch">,
): Promise<(readonly [fault: string, rows: readonly SqlRow[]])[]> => {
  const found = await server.sqlBatch(Object.values(FAULTS).map((query) => [query]));
  return Object.keys(FAULTS)
    .map((fault, i) => [fault, found[i] ?? []] as const)
    .filter(([, rows]) => rows.length > 0);
};

/** What must not be found, and the rows that would show it. */
const FAULTS = {
  "balances that do not sum to zero":
    "SELECT tenant, currency FROM accounts GROUP BY tenant, currency HAVING sum(balance) <> 0",
  "a balance that is not the sum of its entries": `
    SELECT tenant, id FROM accounts AS a WHERE balance <>
      (SELECT total(amount) FROM entries AS e WHERE e.tenant = a.tenant AND e.account = a.id)`,
  "a transfer without two entries that cancel": `
    SELECT t.tenant, t.id FROM transfers AS t LEFT JOIN
      (SELECT tenant, transfer, count(*) AS n, sum(amount) AS total FROM entries GROUP BY tenant, transfer) AS e
      ON e.tenant = t.tenant AND e.transfer = t.id WHERE e.n IS NOT 2 OR e.total <> 0`,
  "entries without a transfer": `
    SELECT tenant FROM entries AS e GROUP BY tenant HAVING count(*) <>
      2 * (SELECT count(*) FROM transfers AS t WHERE t.tenant = e.tenant)`,
  "a payment that is refunded otherwise than it says": `
    SELECT t.tenant, t.id FROM transfers AS t LEFT JOIN
      (SELECT tenant, refund_of, sum(amount) AS total FROM transfers WHERE refund_of IS NOT NULL GROUP BY tenant, refund_of) AS r
      ON r.tenant = t.tenant AND r.refund_of = t.id
      WHERE t.refund_of IS NULL AND t.refunded <> ifnull(r.total, 0)`,
  "stock that is negative or not the sum of its moves": `
    SELECT tenant, sku FROM products AS p WHERE quantity < 0 OR quantity <>
      (SELECT total(delta) FROM stock_moves AS m WHERE m.tenant = p.tenant AND m.sku = p.sku)`,
};
