/**
 * The whole Worker under concurrent load, in every routing mode: requests with duplicates, refusals and contention
 * for one account. What is counted is in the database, what is compared are bytes.
 */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../support/faulty-database.ts";
import { balanceOf, effectsByKey, expectSoundBooks, openBooks } from "./support/books.ts";
import {
  type Answer,
  isOutcome,
  type KeyedRequest,
  useWorker,
  WorkerClient,
} from "./support/worker-client.ts";

useWorker();

/** Another one for each run; to repeat a run, write its number here. */
const SEED = Date.now() % 1_000_000;

/** Five of each currency; so poor that some payments are refused. */
const ACCOUNTS = ["EUR", "USD"].flatMap((currency) =>
  Array.from({ length: 5 }, (_, i) => ({ id: `${currency.toLowerCase()}-${i}`, currency })),
);
const FUNDS_MINOR = 500;

const payment = (
  source: string,
  destination: string,
  amountMinor: number,
  currency: string,
): KeyedRequest => ({
  method: "POST",
  path: "/v1/payments",
  body: { source, destination, amountMinor, currency },
  key: crypto.randomUUID(),
});

/** A payment or a stock change; a good part is refused. */
const mixedRequest = (random: () => number): KeyedRequest => {
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random() * items.length)];
    if (item === undefined) throw new Error("Nothing to pick from.");
    return item;
  };
  if (random() < 0.2) {
    return {
      method: "PATCH",
      path: "/v1/products/mug/stock",
      body: { delta: pick([-3, -2, -1, 1, 2]) },
      key: crypto.randomUUID(),
    };
  }
  const source = pick(ACCOUNTS);
  const destination = pick(
    ACCOUNTS.filter(
      ({ id, currency }) => id !== source.id && (currency === source.currency || random() < 0.1),
    ),
  );
  return payment(source.id, destination.id, 1 + Math.floor(random() * 400), source.currency);
};

/** So many at a time, as from so many connections. */
const inWaves = async <Item, Value>(
  items: readonly Item[],
  size: number,
  work: (item: Item) => Promise<Value>,
): Promise<Value[]> => {
  const values: Value[] = [];
  for (let at = 0; at < items.length; at += size) {
    values.push(...(await Promise.all(items.slice(at, at + size).map(work))));
  }
  return values;
};

const shuffled = <Item>(items: readonly Item[], random: () => number): Item[] =>
  items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);

describe.each(["1", "per-key"])("with KEY_OBJECTS = %s", (keyObjects) => {
  it(`2,000 mixed requests over 200 keys on ten accounts: one effect and one body for each key, and the books balance (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    const tenant = await openBooks({ products: { mug: 10 } });
    const client = await WorkerClient.for(tenant, keyObjects);
    for (const account of ACCOUNTS) {
      const { id, currency } = account;
      const opened = await client.untilOutcome({
        method: "POST",
        path: "/v1/accounts",
        body: account,
        key: crypto.randomUUID(),
      });
      expect(opened.status).toBe(201);
      const funded = await client.untilOutcome(
        payment(`system:${currency}`, id, FUNDS_MINOR, currency),
      );
      expect(funded.status).toBe(201);
    }
    const before = await effectsByKey(tenant);
    const requests = Array.from({ length: 200 }, () => mixedRequest(random));
    const retried = shuffled(
      requests.flatMap((request) => Array.from({ length: 10 }, () => request)),
      random,
    );

    const answers = await inWaves(retried, 64, async (request) => ({
      key: request.key,
      answer: await client.send(request, { waitS: random() < 0.5 ? 20 : 0 }),
    }));
    const finals = new Map<string, Answer>();
    for (const request of requests) {
      finals.set(request.key, await client.untilOutcome(request));
    }

    expect(answers).toHaveLength(2_000);
    const effects = await effectsByKey(tenant);
    for (const key of before.keys()) effects.delete(key);
    const accepted = [...finals].filter(([, { status }]) => status < 300);
    expect(effects).toEqual(new Map(accepted.map(([key]) => [key, 1])));
    const outcomes = answers.filter(({ answer }) => isOutcome(answer));
    for (const { key, answer } of outcomes) expect(answer.body).toBe(finals.get(key)?.body);
    const others = answers.filter(({ answer }) => !isOutcome(answer));
    for (const { answer } of others) {
      expect(answer.status).toBe(423);
      expect(Number(answer.retryAfter)).toBeGreaterThan(0);
    }
    const runs = outcomes.filter(({ answer }) => !answer.replayed);
    expect(new Set(runs.map(({ key }) => key)).size).toBe(runs.length);
    const statuses = new Set([...finals.values()].map(({ status }) => status));
    expect(statuses).toEqual(new Set([200, 201, 402, 409]));
    await expectSoundBooks(tenant);
  });

  it("35: 100 simultaneous requests with one key have one effect and one body", async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const client = await WorkerClient.for(tenant, keyObjects);
    const request = payment("alice", "bob", 10, "EUR");

    const answers = await Promise.all(
      Array.from({ length: 100 }, () => client.send(request, { waitS: 20 })),
    );

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await balanceOf(tenant, "bob")).toBe(10);
    await expectSoundBooks(tenant);
  });

  it("46: of 40 simultaneous payments of 60 from an account of 100 one is made, the others are refused", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const client = await WorkerClient.for(tenant, keyObjects);

    const answers = await Promise.all(
      Array.from({ length: 40 }, () => client.send(payment("alice", "bob", 60, "EUR"))),
    );

    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 402)).toHaveLength(39);
    expect(await balanceOf(tenant, "alice")).toBe(40);
    await expectSoundBooks(tenant);
  });
});
