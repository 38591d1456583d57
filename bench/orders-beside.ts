/**
 * `--only orders-beside`: whether a payment waits for long orders. 32 connections pay, in turns alone and beside orders
 * of 50 lines, all through one object; the orders come from connections of their own, each sending its next when the
 * last is answered, until 200 are placed. Eight of them, because that is twice what may travel in one group: orders are
 * waiting at all times, and no group goes without as many as it may take.
 *
 * Two things are measured against the median of payments alone, from end to end:
 *
 * - in the Worker, how long each payment waited for groups with an order: the time between its arrival in the object
 *   and its answer during which such a group was on its way to D1. That is what an order costs a payment, its own group
 *   included, without what the machine does to either;
 * - at the client, how long it took. Here the Worker, the object, D1 and its SQLite take turns on one thread, and eight
 *   orders that come at once keep it busy for a tenth of a second before any of them is in a group; in production D1 and
 *   the objects run elsewhere.
 */
import type { Span, Timeline } from "./counters.ts";
import { Connection, median, measure, measureUntil, quantile } from "./load.ts";
import { startBenchServer } from "./server.ts";
import { askBench, Tenant } from "./tenant.ts";

export type OrdersBesideOptions = {
  readonly rounds: number;
  /** Of a phase without orders, milliseconds. */
  readonly aloneMs: number;
  /** Connections that order; a phase beside them ends with the last order. */
  readonly orderConnections: number;
};

const PAYMENT_CONNECTIONS = 32;
const ORDERS = 200;
const LINES = 50;
const ACCOUNTS = 100;
/** More than one order's, so that orders meet in some products and not in others. */
const PRODUCTS = 200;
/** The first tenth of a second of a phase is not counted: connections open, and groups find their size. */
const SETTLE_MS = 100;

const skuOf = (i: number): string => `sku-${i}`;
const accountOf = (i: number): string => `acc-${i}`;

const random = (below: number): number => Math.floor(Math.random() * below);

const payment = (tenant: Tenant): string => {
  const source = random(ACCOUNTS);
  const destination = (source + 1 + random(ACCOUNTS - 1)) % ACCOUNTS;
  return tenant.post("/v1/payments", tenant.freshKey(), {
    source: accountOf(source),
    destination: accountOf(destination),
    amountMinor: 1,
    currency: "EUR",
  });
};

const order = (tenant: Tenant): string => {
  const first = random(PRODUCTS);
  return tenant.post("/v1/orders", tenant.freshKey(), {
    buyer: accountOf(0),
    merchant: accountOf(1),
    currency: "EUR",
    lines: Array.from({ length: LINES }, (_, i) => ({
      sku: skuOf((first + i) % PRODUCTS),
      quantity: 1,
    })),
  });
};

const placeOrders = async (
  port: number,
  tenant: Tenant,
  connections: number,
): Promise<number[]> => {
  let left = ORDERS;
  const times: number[] = [];
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = await Connection.open(port);
      while (left > 0) {
        left -= 1;
        const startedAt = performance.now();
        // Requests of one connection follow each other: that is what a connection is.
        const { status, body } = await connection.send(order(tenant));
        times.push(performance.now() - startedAt);
        if (status !== 201) throw new Error(`An order was answered ${status} ${body}`);
      }
      connection.close();
    }),
  );
  return times;
};

/** How much of a span lies within some of others, which do not overlap each other. */
const sharedMs = ([fromMs, untilMs]: Span, others: readonly Span[]): number =>
  others.reduce(
    (sum, [from, until]) => sum + Math.max(0, Math.min(until, untilMs) - Math.max(from, fromMs)),
    0,
  );

export const benchOrdersBeside = async (
  script: string,
  { rounds, aloneMs, orderConnections }: OrdersBesideOptions,
): Promise<Record<string, number>> => {
  const server = await startBenchServer(script, "1");
  const { port } = server;
  const tenant = await Tenant.open("bench-orders", port);
  for (let i = 0; i < ACCOUNTS; i++) await tenant.openAccount(accountOf(i));
  for (let i = 0; i < PRODUCTS; i++) {
    await tenant.must(
      tenant.post("/v1/products", tenant.freshKey(), {
        sku: skuOf(i),
        name: `Product ${i}`,
        priceMinor: 1,
        currency: "EUR",
        quantity: 1_000_000,
      }),
    );
  }
  const takeTimeline = async (): Promise<Timeline> =>
    (await askBench(port, "/bench/timeline", {})) as Timeline;
  const pay = (): string => payment(tenant);
  const rows: Readonly<Record<Figure, number>>[] = [];
  await measure(port, PAYMENT_CONNECTIONS, pay, aloneMs);
  for (let round = 0; round < rounds; round++) {
    await takeTimeline();
    const alone = await measure(port, PAYMENT_CONNECTIONS, pay, aloneMs);
    const aloneTimeline = await takeTimeline();
    let ordered: number[] | undefined;
    const ordering = new Promise((resolve) => {
      setTimeout(resolve, SETTLE_MS);
    }).then(async () => {
      ordered = await placeOrders(port, tenant, orderConnections);
    });
    const beside = await measureUntil(port, PAYMENT_CONNECTIONS, pay, () => ordered !== undefined);
    await ordering;
    const { payments, groups } = await takeTimeline();
    for (const { statuses } of [alone, beside]) {
      if (Object.keys(statuses).some((status) => status !== "201")) {
        throw new Error(JSON.stringify(statuses));
      }
    }
    const withOrders = groups.filter(({ orders }) => orders > 0);
    const waits = payments.map((span) =>
      sharedMs(
        span,
        withOrders.map((group) => group.span),
      ),
    );
    rows.push({
      alone: alone.p50Ms,
      wait: Math.max(...waits) / alone.p50Ms,
      waitP99: quantile(waits, 0.99) / alone.p50Ms,
      max: beside.maxMs / alone.p50Ms,
      p99: beside.p99Ms / alone.p50Ms,
      aloneP99: alone.p99Ms / alone.p50Ms,
      aloneMax: alone.maxMs / alone.p50Ms,
      p50: beside.p50Ms / alone.p50Ms,
      groupMs: median(spans(aloneTimeline.groups.map(({ span }) => span))),
      orderGroupMs: median(spans(withOrders.map(({ span }) => span))),
      ordersInGroup: Math.max(...withOrders.map(({ orders }) => orders)),
      orderMs: median(ordered ?? []),
    });
    process.stderr.write(`orders-beside: round ${round + 1} of ${rounds}\n`);
  }
  tenant.close();
  await server.stop();
  const of = (figure: Figure): number => median(rows.map((row) => row[figure]));
  console.log(
    [
      `\n${PAYMENT_CONNECTIONS} connections of payments beside ${ORDERS} orders of ${LINES} lines from ${orderConnections} connections`,
      `                                    p50      p99      max   (over the median of payments alone, ${of("alone").toFixed(1)} ms)`,
      `payments alone                     1.00 ${cell(of("aloneP99"))} ${cell(of("aloneMax"))}`,
      `payments beside orders         ${cell(of("p50"))} ${cell(of("p99"))} ${cell(of("max"))}`,
      `of which waiting for orders             ${cell(of("waitP99"))} ${cell(of("wait"))}`,
      `a group takes ${of("groupMs")} ms without orders, ${of("orderGroupMs")} ms with up to ${of("ordersInGroup")} of them; an order is answered in ${of("orderMs").toFixed(0)} ms`,
    ].join("\n"),
  );
  return {
    orders_beside_wait_max_over_p50: of("wait"),
    orders_beside_payment_p99_over_p50: of("p99"),
    orders_beside_payment_max_over_p50: of("max"),
  };
};

type Figure =
  | "alone"
  | "aloneMax"
  | "aloneP99"
  | "groupMs"
  | "max"
  | "orderGroupMs"
  | "orderMs"
  | "ordersInGroup"
  | "p50"
  | "p99"
  | "wait"
  | "waitP99";

const spans = (all: readonly Span[]): number[] => all.map(([fromMs, untilMs]) => untilMs - fromMs);

const cell = (value: number): string => value.toFixed(2).padStart(8);
