/** The reconciliation: it finds what was made wrong, each kind in one pass, and nothing in what is right. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { CHECKS, ENGINE_CHECKS } from "../../src/audit/checks.ts";
import type { CopySeen } from "../../src/audit/copy.ts";
import { RECONCILIATION, reconcile, type ReconcileSetup } from "../../src/audit/reconcile.ts";
import { parseReconciliation, type PassResult } from "../../src/audit/reconciliation.ts";
import { countOpenIssues, listIssues } from "../../src/journal/issues.ts";
import { findRecords } from "../../src/journal/journal.ts";
import { readScheduledState } from "../../src/journal/scheduled-state.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import {
  IN_FLIGHT_TOO_LONG_MS,
  KEY_LIFETIME_SECONDS,
  SWEEP_OVERDUE_SECONDS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import { Random } from "../support/crash-random.ts";
import { expectSoundBooks, journalRow, openBooks } from "./support/books.ts";
import { callOf, idIn, payment, refund, stockChange, verdict } from "./support/calls.ts";
import { corrupt } from "./support/corruption.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const SEED = Math.floor(Math.random() * 2 ** 31);

/** A whole pass, in as many runs as it takes. */
const pass = async (
  setup: Partial<ReconcileSetup> = {},
  stepsPerRun = 200,
): Promise<PassResult> => {
  const nowMs = setup.nowMs ?? Date.now();
  const before = parseReconciliation((await readScheduledState(env.DB, RECONCILIATION)).state).last;
  for (let runs = 0; runs < 1_000; runs++) {
    await reconcile({ db: env.DB, checks: CHECKS, steps: stepsPerRun, ...setup, nowMs });
    const { last } = parseReconciliation((await readScheduledState(env.DB, RECONCILIATION)).state);
    if (last !== null && last.finishedAtMs !== before?.finishedAtMs) return last;
  }
  throw new Error("The pass does not end.");
};

/** What is open, as `tenant kind subject`. */
const open = async (): Promise<string[]> => {
  const { data } = await listIssues(env.DB, { state: "open", after: "", limit: 1_000 });
  return data.map(({ tenant, kind, subject }) => `${tenant} ${kind} ${subject}`).toSorted();
};

type Shop = {
  readonly tenant: string;
  readonly payCall: KeyCall;
  readonly payId: string;
  readonly orderCall: KeyCall;
  readonly orderId: string;
};

/** A tenant with a payment of 10, a refund of 3, a stock change and an order of 2 mugs at 100. */
const openShop = async (one: Incarnation): Promise<Shop> => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 }, products: { mug: 20 } });
  const payCall = payment(tenant, "alice", "bob", 10);
  const payId = idIn(await one.submit(payCall));
  expect(verdict(await one.submit(refund(tenant, payId, 3)))).toBe(201);
  expect(verdict(await one.submit(stockChange(tenant, "mug", 5)))).toBe(200);
  const orderCall = callOf(tenant, "orders.create", {
    buyer: "alice",
    merchant: "bob",
    currency: "EUR",
    lines: [{ sku: "mug", quantity: 2 }],
  });
  const orderId = idIn(await one.submit(orderCall));
  return { tenant, payCall, payId, orderCall, orderId };
};

describe("the reconciliation", () => {
  it(`reports nothing of a random history without a fault, page by page (seed ${SEED})`, async () => {
    const random = new Random(SEED);
    const one = incarnation();
    const tenants: string[] = [];
    for (let i = 0; i < 2; i++) {
      const accounts = { alice: 5_000, bob: 500, carol: 0 };
      const tenant = await openBooks({ accounts, products: { mug: 30, cup: 5 } });
      tenants.push(tenant);
      const paid: string[] = [];
      const ordered: string[] = [];
      for (let j = 0; j < 30; j++) {
        const [from = "alice", to = "bob"] = random.pick([
          ["alice", "bob"],
          ["bob", "carol"],
          ["carol", "alice"],
        ]);
        const what = random.int(0, 5);
        const order = {
          buyer: from,
          merchant: to,
          currency: "EUR",
          lines: [{ sku: random.pick(["mug", "cup"]), quantity: random.int(1, 3) }],
        };
        const call =
          what === 0 && paid.length > 0
            ? refund(tenant, random.pick(paid), random.chance(0.3) ? undefined : random.int(1, 40))
            : what === 1
              ? stockChange(tenant, random.pick(["mug", "cup"]), random.int(1, 9))
              : what === 2
                ? callOf(tenant, "orders.create", order)
                : what === 3 && ordered.length > 0
                  ? callOf(
                      tenant,
                      "orders.cancel",
                      { state: "cancelled" },
                      { params: { id: random.pick(ordered) } },
                    )
                  : payment(tenant, from, to, random.int(1, 400));
        const reply = await one.submit(call);
        if (reply.kind === "outcome" && reply.response.status === 201) {
          if (call.request.operation === "payments.create") paid.push(idIn(reply));
          if (call.request.operation === "orders.create") ordered.push(idIn(reply));
        }
        // A replay now and then.
        if (random.chance(0.2)) await one.submit(call);
      }
      await expectSoundBooks(tenant);
    }

    // One step a run, so that every run resumes.
    const result = await pass({}, 1);
    expect(result).toMatchObject({ found: {}, healed: {}, isPartial: false });
    expect(Object.keys(result.rows)).toEqual(CHECKS.map(({ name }) => name));
    expect(await open()).toEqual([]);
    // Nor later, when keys are past their lives and forgotten.
    const laterMs = Date.now() + (KEY_LIFETIME_SECONDS + TOMBSTONE_SECONDS + 60) * 1000;
    expect((await pass({ nowMs: laterMs })).found).toEqual({});
    expect(await open()).toEqual([]);
  });

  it("finds each kind of corruption in one pass, names it, and reports nothing else; what is put right is resolved", async () => {
    const one = incarnation();
    const sound = await openShop(one);
    const expected: string[] = [];
    const statements: string[] = [];
    const spoil = async (
      make: (shop: Shop) => readonly string[],
      name: (shop: Shop) => readonly string[],
    ): Promise<void> => {
      const shop = await openShop(one);
      statements.push(...make(shop));
      expected.push(...name(shop).map((issue) => `${shop.tenant} ${issue}`));
    };
    const where = ({ tenant }: Shop) => `WHERE tenant = '${tenant}'`;

    await spoil(
      (shop) => [`DELETE FROM journal ${where(shop)} AND key = '${shop.payCall.key}'`],
      ({ payId }) => [`effect-without-key ${payId}`],
    );
    await spoil(
      (shop) => [
        `UPDATE journal SET refusal = 'made-up' ${where(shop)} AND operation = 'stock.adjust'`,
      ],
      () => ["effect-without-key mug/MOVE"],
    );
    await spoil(
      (shop) => [
        `UPDATE journal SET link = '/v1/payments/pay_nothing' ${where(shop)} AND key = '${shop.payCall.key}'`,
      ],
      ({ tenant, payCall }) => [`key-without-effect ${keyHash(tenant, payCall.key)}`],
    );
    await spoil(
      (shop) => [
        `UPDATE accounts SET balance = balance + 1 ${where(shop)} AND id = 'alice'`,
        `UPDATE accounts SET balance = balance - 1 ${where(shop)} AND id = 'bob'`,
      ],
      () => ["balance-differs-from-entries alice", "balance-differs-from-entries bob"],
    );
    await spoil(
      (shop) => [
        // Consistent in itself: the last entry of alice says one more, and so does her balance.
        `UPDATE entries SET amount = amount + 1, balance = balance + 1 ${where(shop)} AND account = 'alice' AND seq = 4`,
        `UPDATE accounts SET balance = balance + 1 ${where(shop)} AND id = 'alice'`,
      ],
      () => ["entry-differs-from-transfer alice/4", "ledger-imbalance ledger"],
    );
    await spoil(
      (shop) => [
        `UPDATE entries SET balance = balance + 1 ${where(shop)} AND account = 'alice' AND seq = 2`,
      ],
      // And the one behind it does not follow it.
      () => ["entry-balance-broken alice/2", "entry-balance-broken alice/3"],
    );
    await spoil(
      (shop) => [
        `INSERT INTO entries SELECT tenant, id, entry_count + 1, 'pay_nothing', 5, balance + 5, 0 FROM accounts ${where(shop)} AND id = 'bob'`,
        `UPDATE accounts SET balance = balance + 5, entry_count = entry_count + 1 ${where(shop)} AND id = 'bob'`,
      ],
      () => [
        "entry-without-transfer bob/4",
        "ledger-imbalance ledger",
        "transfer-without-entries transfers",
      ],
    );
    await spoil(
      ({ tenant }) => [
        `INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES ('${tenant}', 'pay_unposted', 'alice', 'bob', 'EUR', 1, 'opening', 0)`,
      ],
      () => ["transfer-without-entries transfers"],
    );
    await spoil(
      (shop) => [
        `UPDATE transfers SET refunded = refunded + 1 ${where(shop)} AND id = '${shop.payId}'`,
      ],
      ({ payId }) => [`refunds-differ-from-payment ${payId}`],
    );
    await spoil(
      (shop) => [`UPDATE products SET quantity = quantity + 1 ${where(shop)}`],
      () => ["stock-differs-from-moves mug"],
    );
    await spoil(
      (shop) => [`DELETE FROM stock_moves ${where(shop)} AND id = 'opening'`],
      () => ["stock-differs-from-moves mug"],
    );
    await spoil(
      (shop) => [`UPDATE order_lines SET quantity = quantity + 1 ${where(shop)}`],
      ({ orderId }) => [`order-total-differs-from-lines ${orderId}`],
    );
    await spoil(
      (shop) => [`UPDATE orders SET buyer = 'somebody' ${where(shop)}`],
      ({ orderId }) => [`order-differs-from-payment ${orderId}`],
    );
    await spoil(
      (shop) => [
        `UPDATE journal SET state = 'in-flight', headers = NULL, body = NULL, created_at_ms = ${Date.now() - IN_FLIGHT_TOO_LONG_MS - 1} ${where(shop)} AND key = '${shop.payCall.key}'`,
      ],
      ({ tenant, payCall }) => [`in-flight-too-long ${keyHash(tenant, payCall.key)}`],
    );
    await spoil(
      (shop) => [
        `UPDATE journal SET state = 'uncertain' ${where(shop)} AND key = '${shop.payCall.key}'`,
      ],
      ({ tenant, payCall }) => [`outcome-uncertain ${keyHash(tenant, payCall.key)}`],
    );
    await corrupt(...statements);
    const move = await env.DB.prepare(
      "SELECT m.tenant, m.id FROM stock_moves m JOIN journal j ON j.tenant = m.tenant AND j.key = m.key WHERE j.refusal = 'made-up'",
    ).first<{ tenant: string; id: string }>();

    const nudged: string[] = [];
    const result = await pass({
      nudge: (_object, { key }) => {
        nudged.push(key);
        return Promise.resolve(false);
      },
    });

    expect(await open()).toEqual(
      expected.map((issue) => issue.replace("MOVE", move?.id ?? "none")).toSorted(),
    );
    expect(Object.values(result.found).reduce((sum, count) => sum + count, 0)).toBe(
      expected.length,
    );
    expect(nudged).toHaveLength(2);
    expect((await open()).filter((issue) => issue.startsWith(sound.tenant))).toEqual([]);
    expect(Object.values(await countOpenIssues(env.DB)).reduce((sum, n) => sum + n, 0)).toBe(
      expected.length,
    );

    // Found again it is the same issue; put right, it is resolved by the next pass, and noted.
    const uncertain = expected.find((issue) => issue.includes("outcome-uncertain"));
    await corrupt("UPDATE journal SET state = 'final' WHERE state = 'uncertain'");
    await pass({ nowMs: Date.now() + 1_000 });
    expect(await open()).toHaveLength(expected.length - 1);
    expect(await open()).not.toContain(uncertain);
    const resolutions = await env.DB.prepare(
      "SELECT actor, operation FROM audit WHERE kind = 'resolution'",
    ).all();
    expect(resolutions.results).toEqual([{ actor: "service", operation: "issues.resolve" }]);
  });

  it("sweeps what expired long ago and was left behind, and nothing that is younger", async () => {
    const one = incarnation();
    const { tenant, payCall } = await openShop(one);
    const record = await journalRow(tenant, payCall.key);
    const expiresAtMs = (record?.expires_at_s ?? 0) * 1000;
    await pass({ nowMs: expiresAtMs + (SWEEP_OVERDUE_SECONDS - 60) * 1000 });
    expect((await journalRow(tenant, payCall.key))?.state).toBe("final");
    const { healed } = await pass({ nowMs: expiresAtMs + (SWEEP_OVERDUE_SECONDS + 60) * 1000 });
    expect(healed["expired-left-behind"]).toBeGreaterThanOrEqual(1);
    expect(await journalRow(tenant, payCall.key)).toMatchObject({ state: "expired", body: null });
  });

  it("compares copies in objects with their rows: another outcome is an issue, an erasure that missed one is done again", async () => {
    const one = incarnation();
    const { tenant, payCall, orderCall } = await openShop(one);
    const copyOf = (_object: string, { key }: { key: string }): Promise<CopySeen | undefined> =>
      one.run((engine) => engine.copySeen(key));
    const mine = { db: env.DB, checks: CHECKS, copyOf };
    for (let times = 0; times < 5; times++)
      expect((await pass(mine)).found["copy-differs"]).toBe(undefined);

    await env.DB.batch([
      env.DB.prepare("UPDATE journal SET body = '{}' WHERE tenant = ? AND key = ?").bind(
        tenant,
        payCall.key,
      ),
      env.DB.prepare(
        "UPDATE journal SET state = 'erased', body = NULL, headers = NULL WHERE tenant = ? AND key = ?",
      ).bind(tenant, orderCall.key),
      // So that the sample is of these.
      env.DB.prepare(
        "UPDATE journal SET state = 'expired' WHERE key NOT IN (?, ?) AND state = 'final'",
      ).bind(payCall.key, orderCall.key),
    ]);
    const erased: string[] = [];
    const result = await pass({
      ...mine,
      eraseCopy: (_entry, { key }) => {
        erased.push(key);
        return Promise.resolve();
      },
    });
    expect(result.found["copy-differs"]).toBe(1);
    expect(result.healed["copy-not-erased"]).toBe(1);
    expect(erased).toEqual([orderCall.key]);
    expect((await findRecords(env.DB, tenant, [payCall.key])).size).toBe(1);
    expect(await open()).toContain(`${tenant} copy-differs ${keyHash(tenant, payCall.key)}`);
  });

  it("two runs at once do one pass, and a Worker that has no ledger checks the journal alone", async () => {
    const one = incarnation();
    await openShop(one);
    const setup = { db: env.DB, checks: ENGINE_CHECKS, steps: 10, nowMs: Date.now() + 10_000 };
    await Promise.all([reconcile(setup), reconcile(setup), reconcile(setup)]);
    const { last } = parseReconciliation((await readScheduledState(env.DB, RECONCILIATION)).state);
    expect(Object.keys(last?.rows ?? {})).toEqual(["journal"]);
  });
});
