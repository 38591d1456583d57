/** What an object counts of requests that changed nothing, and how that reaches the audit log. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { TALLY_DELAY_MS, TALLY_KEYS_MAX } from "../../src/kernel/limits.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import { openBooks } from "./support/books.ts";
import { payment, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

type Row = {
  readonly object: string;
  readonly life: string;
  readonly number: number;
  readonly answers: unknown;
  readonly keys: Readonly<Record<string, unknown>>;
};

const tallies = async (tenant: string): Promise<Row[]> => {
  const { results } = await env.DB.prepare(
    "SELECT detail FROM audit WHERE tenant = ? AND kind = 'tally' ORDER BY seq",
  )
    .bind(tenant)
    .all<{ detail: string }>();
  return results.map(({ detail }) => JSON.parse(detail) as Row);
};

const books = () => openBooks({ accounts: { alice: 100, bob: 0 } });

it("replays and mismatches of some seconds are one row, by operation and by the hash of a key; effects are not in it", async () => {
  const tenant = await books();
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 1);
  for (let times = 0; times < 3; times++) await one.submit(call);
  await one.submit({ ...payment(tenant, "alice", "bob", 2), key: call.key });
  await one.submit(payment(tenant, "alice", "bob", 1));
  expect(await tallies(tenant)).toEqual([]);
  await one.advance(TALLY_DELAY_MS);

  const counts = { replayed: 2, "idempotency-key-reused": 1 };
  await expect
    .poll(() => tallies(tenant))
    .toMatchObject([
      {
        object: one.object,
        number: 1,
        answers: { "payments.create": counts },
        keys: { [keyHash(tenant, call.key)]: counts },
      },
    ]);
});

it("a row that is lost shows as a missing number, and is not sent again; another life has numbers of its own", async () => {
  const tenant = await books();
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 1);
  await one.submit(call);
  for (const fault of ["none", "lost-before", "none"] as const) {
    const before = one.batches.length;
    await one.submit(call);
    one.db.next(fault);
    await one.advance(TALLY_DELAY_MS);
    await expect.poll(() => one.batches.length).toBe(before + 1);
  }
  const next = incarnation({ object: one.object });
  await next.submit(call);
  await next.advance(TALLY_DELAY_MS);
  await expect.poll(async () => (await tallies(tenant)).length).toBe(3);

  const rows = await tallies(tenant);
  expect(rows.map(({ number }) => number)).toEqual([1, 3, 1]);
  expect(rows[1]?.life).toBe(rows[0]?.life);
  expect(rows[2]?.life).not.toBe(rows[0]?.life);
});

it("no request waits for it: with a database that does not answer, replays go on", async () => {
  const tenant = await books();
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 1);
  await one.submit(call);
  await one.submit(call);
  one.db.next("stalled-before");
  await one.advance(TALLY_DELAY_MS);
  expect(verdict(await one.submit(call))).toBe(201);
});

it(`tells ${TALLY_KEYS_MAX} keys apart, and counts the others in its sums`, async () => {
  const tenant = await books();
  const one = incarnation();
  const calls = Array.from({ length: TALLY_KEYS_MAX + 3 }, () =>
    payment(tenant, "alice", "bob", 1),
  );
  await one.submitAll(calls);
  await one.submitAll(calls);
  await one.advance(TALLY_DELAY_MS);

  await expect.poll(async () => (await tallies(tenant)).length).toBe(1);
  const [row] = await tallies(tenant);
  expect(Object.keys(row?.keys ?? {})).toHaveLength(TALLY_KEYS_MAX);
  expect(row?.answers).toEqual({ "payments.create": { replayed: TALLY_KEYS_MAX + 3 } });
});
