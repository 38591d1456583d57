/** A tenant's accounts and shelves: opened for a test, and audited after it, past the code under test. */
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { keyHash } from "../../../src/kernel/hash.ts";

export type Opening = {
  /** Balances in minor units of EUR, by account. */
  readonly accounts?: Readonly<Record<string, number>>;
  /** Pieces in stock, by SKU. */
  readonly products?: Readonly<Record<string, number>>;
};

/** What a test puts there itself is marked with this key. */
const OPENING = "opening";

/** A tenant of its own for each test. */
export const openBooks = async ({
  accounts = {},
  products = {},
}: Opening = {}): Promise<string> => {
  const tenant = `t-${crypto.randomUUID()}`;
  const insert = (table: string, row: Readonly<Record<string, string | number | null>>) =>
    env.DB.prepare(
      `INSERT INTO ${table} (tenant, ${Object.keys(row).join(", ")}) VALUES (?${", ?".repeat(Object.keys(row).length)})`,
    ).bind(tenant, ...Object.values(row));
  const currency = "EUR";
  const made = { created_at_ms: 0 };
  await env.DB.batch([
    insert("accounts", { id: "system:EUR", currency, overdraft_limit: null, ...made }),
    ...Object.entries(accounts).flatMap(([id, amount]) => [
      insert("accounts", { id, currency, overdraft_limit: 0, ...made }),
      ...(amount === 0
        ? []
        : [
            insert("transfers", {
              id: `opening_${id}`,
              source: "system:EUR",
              destination: id,
              currency,
              amount,
              key: OPENING,
              ...made,
            }),
          ]),
    ]),
    ...Object.entries(products).flatMap(([sku, delta]) => [
      insert("products", { sku, name: sku, currency, price: 100, ...made }),
      ...(delta === 0
        ? []
        : [insert("stock_moves", { sku, id: "opening", delta, key: OPENING, ...made })]),
    ]),
  ]);
  return tenant;
};

export const balanceOf = async (tenant: string, account: string): Promise<number | null> =>
  env.DB.prepare("SELECT balance FROM accounts WHERE tenant = ? AND id = ?")
    .bind(tenant, account)
    .first<number>("balance");

export const quantityOf = async (tenant: string, sku: string): Promise<number | null> =>
  env.DB.prepare("SELECT quantity FROM products WHERE tenant = ? AND sku = ?")
    .bind(tenant, sku)
    .first<number>("quantity");

/** How many transfers and stock moves each key has made. Keys without any are not there. */
export const effectsByKey = async (tenant: string): Promise<Map<string, number>> => {
  const { results } = await env.DB.prepare(
    `SELECT key, COUNT(*) AS effects FROM (
       SELECT key FROM transfers WHERE tenant = ?1 UNION ALL SELECT key FROM stock_moves WHERE tenant = ?1)
     WHERE key <> ?2 GROUP BY key`,
  )
    .bind(tenant, OPENING)
    .all<{ key: string; effects: number }>();
  return new Map(results.map(({ key, effects }) => [key, effects]));
};

export type JournalRow = {
  readonly key: string;
  readonly nonce: string;
  readonly deliveries: number;
  readonly attempt: number;
  readonly state: string;
  readonly refusal: string | null;
  readonly status: number;
  readonly members: string | null;
  readonly headers: string | null;
  readonly body: string | null;
  readonly link: string | null;
  readonly expires_at_s: number;
};

export const journalRow = async (tenant: string, key: string): Promise<JournalRow | null> =>
  env.DB.prepare("SELECT * FROM journal WHERE tenant = ? AND key = ?")
    .bind(tenant, key)
    .first<JournalRow>();

export const journalSize = async (tenant: string): Promise<number> =>
  (await env.DB.prepare("SELECT COUNT(*) AS n FROM journal WHERE tenant = ?")
    .bind(tenant)
    .first<number>("n")) ?? 0;

/**
 * L and E1 as the database sees them: balances sum to zero, every balance and quantity is the sum of what moved
 * it, nothing is below zero, and exactly the accepted keys have an effect, each one: an order and its cancellation
 * one transfer, unless they are of nothing, and a stock move for each line.
 *
 * @param bare products that a test's own operations change without a stock move
 */
export const expectSoundBooks = async (
  tenant: string,
  bare: readonly string[] = [],
): Promise<void> => {
  const rows = async (query: string) => (await env.DB.prepare(query).bind(tenant).all()).results;
  expect(
    await rows(
      "SELECT currency FROM accounts WHERE tenant = ? GROUP BY currency HAVING SUM(balance) <> 0",
    ),
    "currencies whose ledger does not sum to zero",
  ).toEqual([]);
  expect(
    await rows(
      "SELECT id FROM accounts a WHERE tenant = ? AND balance <> COALESCE((SELECT SUM(amount) FROM entries e WHERE e.tenant = a.tenant AND e.account = a.id), 0)",
    ),
    "accounts whose balance is not the sum of their entries",
  ).toEqual([]);
  expect(
    await rows("SELECT sku FROM products WHERE tenant = ? AND quantity < 0"),
    "products of which there are fewer than none",
  ).toEqual([]);
  const unexplained = await rows(
    "SELECT sku FROM products p WHERE tenant = ? AND quantity <> COALESCE((SELECT SUM(delta) FROM stock_moves m WHERE m.tenant = p.tenant AND m.sku = p.sku), 0)",
  );
  expect(
    unexplained.filter(({ sku }) => !bare.includes(String(sku))),
    "products whose quantity is not the sum of their moves",
  ).toEqual([]);
  const { results } = await env.DB.prepare(
    `SELECT key, CASE operation
       WHEN 'orders.create' THEN (SELECT COUNT(*) + (o.payment IS NOT NULL) FROM orders o JOIN order_lines l
         ON l.tenant = o.tenant AND l.order_id = o.id WHERE o.tenant = j.tenant AND o.key = j.key)
       WHEN 'orders.cancel' THEN (SELECT COUNT(*) + (o.refund IS NOT NULL) FROM orders o JOIN order_lines l
         ON l.tenant = o.tenant AND l.order_id = o.id WHERE o.tenant = j.tenant AND '/v1/orders/' || o.id = j.link)
       ELSE 1 END AS effects
     FROM journal j WHERE tenant = ? AND refusal IS NULL
       AND operation IN ('payments.create', 'refunds.create', 'stock.adjust', 'orders.create', 'orders.cancel')`,
  )
    .bind(tenant)
    .all<{ key: string; effects: number }>();
  expect(await effectsByKey(tenant), "effects of each accepted key, and of no other").toEqual(
    new Map(results.map(({ key, effects }) => [key, effects])),
  );
  await expectEachClaimAudited(tenant);
};

/** One row of the audit log for each claim of the journal, with its outcome, however often its batch was sent. */
const expectEachClaimAudited = async (tenant: string): Promise<void> => {
  const [claims, rows] = await env.DB.batch<Readonly<Record<string, unknown>>>([
    env.DB.prepare(
      "SELECT key, operation, status, refusal AS code, link FROM journal WHERE tenant = ?",
    ).bind(tenant),
    env.DB.prepare(
      "SELECT key_hash, operation, status, code, link FROM audit WHERE tenant = ? AND kind IN ('effect', 'refusal')",
    ).bind(tenant),
  ]);
  const expected = (claims?.results ?? []).map(({ key, ...claim }) => ({
    key_hash: keyHash(tenant, String(key)),
    ...claim,
  }));
  const byKey = (a: { key_hash?: unknown }, b: { key_hash?: unknown }) =>
    String(a.key_hash) < String(b.key_hash) ? -1 : 1;
  expect((rows?.results ?? []).toSorted(byKey), "the audit log, by key").toEqual(
    expected.toSorted(byKey),
  );
};
