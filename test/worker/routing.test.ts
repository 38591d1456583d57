/** `KEY_OBJECTS` may change at any time, and old and new may run side by side: the journal knows the key. */
import { expect, it } from "vitest";
import { balanceOf, effectsByKey, expectSoundBooks, openBooks } from "./support/books.ts";
import { type KeyedRequest, useWorker, WorkerClient } from "./support/worker-client.ts";

useWorker();

const MODES = ["1", "4", "7", "per-key"];

const payment = (amountMinor: number): KeyedRequest => ({
  method: "POST",
  path: "/v1/payments",
  body: { source: "alice", destination: "bob", amountMinor, currency: "EUR" },
  key: crypto.randomUUID(),
});

it.each(MODES)(
  "49: KEY_OBJECTS changed from %s between two tries: the retry is a replay",
  async (mode) => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const before = await WorkerClient.for(tenant, mode);
    const made = payment(60);
    const refused = payment(60);
    const first = [await before.send(made), await before.send(refused)];
    expect(first.map(({ status }) => status)).toEqual([201, 402]);

    for (const other of MODES) {
      const after = await WorkerClient.for(tenant, other);
      for (const [i, request] of [made, refused].entries()) {
        expect(await after.send(request)).toEqual({ ...first[i], replayed: true });
      }
    }

    expect(await balanceOf(tenant, "bob")).toBe(60);
    await expectSoundBooks(tenant);
  },
);

it("49: during a gradual deploy, when two versions route differently, one key has one effect and one body", async () => {
  const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
  const clients = await Promise.all(MODES.map((mode) => WorkerClient.for(tenant, mode)));
  const requests = Array.from({ length: 30 }, () => payment(1));

  const answers = await Promise.all(
    requests.map((request) =>
      Promise.all(clients.map((client) => client.send(request, { waitS: 20 }))),
    ),
  );

  for (const ofOneKey of answers) {
    expect(ofOneKey.map(({ status }) => status)).toEqual(MODES.map(() => 201));
    expect(new Set(ofOneKey.map(({ body }) => body)).size).toBe(1);
    expect(ofOneKey.filter(({ replayed }) => !replayed)).toHaveLength(1);
  }
  expect(await effectsByKey(tenant)).toEqual(new Map(requests.map(({ key }) => [key, 1])));
  await expectSoundBooks(tenant);
});
