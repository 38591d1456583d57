/** 69: an erasure reaches the object that made the claim, however keys are spread over objects by then. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { keyObjectNamed, objectFor } from "../../src/objects/routing.ts";
import { effectsByKey, openBooks } from "./support/books.ts";
import { exchangeCall, heardOf, rowOf } from "./support/exchanges.ts";
import { type KeyedRequest, useWorker, WorkerClient } from "./support/worker-client.ts";

useWorker();

const request = (): KeyedRequest => ({
  method: "POST",
  path: "/v1/payments",
  body: {
    source: "alice",
    destination: "bob",
    amountMinor: 1,
    currency: "EUR",
    description: "a private note",
  },
  key: crypto.randomUUID(),
});

/** What an object has stored of outcomes, as text; empty before it has written any. */
const copiesIn = (object: string): Promise<string> =>
  runInDurableObject(env.KEY_OBJECT.getByName(object), (_instance, { storage }) => {
    const exists = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'copies'").toArray();
    return exists.length === 0
      ? ""
      : JSON.stringify(storage.sql.exec("SELECT copy FROM copies").toArray());
  });

it.each([
  { claimed: 1, erased: 1 },
  { claimed: 1, erased: "per-key" },
  { claimed: "per-key", erased: 1 },
  { claimed: 4, erased: 7 },
] as const)(
  "69: claimed with KEY_OBJECTS = $claimed and erased with $erased: nobody replays it any more",
  async ({ claimed, erased }) => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const before = await WorkerClient.for(tenant, String(claimed));
    const after = await WorkerClient.for(tenant, String(erased));
    const sent = request();
    const claimer = objectFor(tenant, sent.key, claimed);
    expect((await before.send(sent)).status).toBe(201);
    // An object writes once it is quiet.
    while (!(await copiesIn(claimer)).includes("private")) await scheduler.wait(10);

    expect(await after.erase(sent.key)).toMatchObject({ status: 204, body: "" });
    expect(await after.erase(sent.key)).toMatchObject({ status: 204, body: "" });

    expect(await copiesIn(claimer)).not.toContain("private");
    for (const client of [before, after]) {
      const answer = await client.send(sent);
      expect(answer).toMatchObject({ status: 410, replayed: false });
      expect(answer.body).toContain('"code":"outcome-erased"');
      expect(answer.body).toContain('"link":"/v1/payments/');
    }
    expect(await effectsByKey(tenant)).toEqual(new Map([[sent.key, 1]]));
  },
);

it("69: of a key that a dead object may have sent is 503 with a time, and of a key that no key may be 400", async () => {
  const client = await WorkerClient.for(await openBooks(), "1");
  const early = await client.erase(crypto.randomUUID());
  expect(early).toMatchObject({ status: 503 });
  expect(early.body).toContain("afterMs");
  expect((await client.erase("short")).status).toBe(400);
});

it("49, 69: of an exchange that another object made erases its answer there: nobody hears it any more", async () => {
  const made = exchangeCall(`t-${crypto.randomUUID().slice(0, 8)}`, {
    policy: { upstream: { kind: "service", binding: "UPSTREAM" } },
  });
  const { tenant, key } = made;
  const call = { ...made, object: objectFor(tenant, key, "per-key") };
  const claimer = keyObjectNamed(env, call.object)();
  expect(await heardOf(await claimer.exchange(call))).toMatchObject({ kind: "answer" });
  while ((await rowOf(call))?.state !== "final") await scheduler.wait(5);
  const client = await WorkerClient.for(tenant, "1");

  expect(await client.erase(key)).toMatchObject({ status: 204 });

  expect(await heardOf(await claimer.exchange(call))).toMatchObject({ code: "outcome-erased" });
});
