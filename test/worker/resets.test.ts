/**
 * The real Worker and its real objects, which are reset while they stand at a labelled point: the object's memory is
 * gone, what it was about to do does not happen, and its callers see a broken call.
 */
import { abortAllDurableObjects } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CrashPoint } from "../../src/kernel/crash-point.ts";
import { until } from "../support/faulty-database.ts";
import { effectsByKey, expectSoundBooks, openBooks } from "./support/books.ts";
import { type KeyedRequest, useWorker, WorkerClient } from "./support/worker-client.ts";

useWorker();

let armed: readonly CrashPoint[] = [];
/** Who stands at an armed point, one entry for each. */
let reached: CrashPoint[] = [];

beforeEach(() => {
  reached = [];
  globalThis.CRASH_POINTS = true;
  globalThis.latchkeyCrashPoint = async (point) => {
    if (!armed.includes(point)) return;
    reached.push(point);
    await until(() => !armed.includes(point));
  };
  // A broken call is logged for people; here it is no news.
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});

afterEach(() => {
  armed = [];
  globalThis.CRASH_POINTS = false;
  globalThis.latchkeyCrashPoint = undefined;
  vi.restoreAllMocks();
});

const payment = (): KeyedRequest => ({
  method: "POST",
  path: "/v1/payments",
  body: { source: "alice", destination: "bob", amountMinor: 1, currency: "EUR" },
  key: crypto.randomUUID(),
});

describe.each(["1", "per-key"])("with KEY_OBJECTS = %s", (keyObjects) => {
  it.each<CrashPoint>(["queued", "before-claim", "batch-sent", "batch-committed"])(
    "44: an object that is reset at %s: its callers hear that the outcome is not known, and every retry gets the one outcome",
    async (point) => {
      const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
      const client = await WorkerClient.for(tenant, keyObjects);
      const requests = Array.from({ length: 5 }, payment);
      armed = [point];
      const broken = Promise.all(requests.map((request) => client.send(request)));
      await until(() => reached.length > 0);

      await abortAllDurableObjects();
      armed = [];

      // Nobody is told that nothing has happened: that is not known.
      const answers = await broken;
      const unanswered = answers.filter(({ status }) => status !== 201);
      expect(unanswered.length).toBeGreaterThan(0);
      for (const { status, body } of unanswered) {
        expect(status).toBe(503);
        expect(body).toContain('"code":"outcome-unknown-yet"');
      }
      const finals = await Promise.all(requests.map((request) => client.untilOutcome(request)));
      expect(new Set(finals.map(({ status }) => status))).toEqual(new Set([201]));
      const retries = await Promise.all(requests.map((request) => client.send(request)));
      expect(retries.map(({ body }) => body)).toEqual(finals.map(({ body }) => body));
      expect(await effectsByKey(tenant)).toEqual(new Map(requests.map(({ key }) => [key, 1])));
      await expectSoundBooks(tenant);
    },
  );

  it("36–40: an object that is reset at async-accepted: its alarm runs what it has accepted, though nobody asks again", async () => {
    const tenant = await openBooks({ accounts: { alice: 1_000, bob: 0 } });
    const client = await WorkerClient.for(tenant, keyObjects);
    const requests = Array.from({ length: 3 }, payment);
    // The run is begun in the same turn, and would else be done before the 202.
    armed = ["async-accepted", "before-claim"];
    const broken = Promise.all(requests.map((request) => client.send(request, { detached: true })));
    // Each of them is durable then. Of the run, the first ones stand at the other point.
    const accepted = () => reached.filter((point) => point === "async-accepted").length;
    await until(() => accepted() === requests.length);

    await abortAllDurableObjects();
    armed = [];

    for (const { status } of await broken) expect(status).not.toBe(202);
    expect(await effectsByKey(tenant)).toEqual(new Map());
    // The alarm comes by itself, after its grace.
    const once = new Map(requests.map(({ key }) => [key, 1]));
    while ((await effectsByKey(tenant)).size < requests.length) await scheduler.wait(50);
    expect(await effectsByKey(tenant)).toEqual(once);
    for (const request of requests) {
      for (const detached of [false, true]) {
        expect(await client.send(request, { detached })).toMatchObject({
          status: 201,
          replayed: true,
        });
      }
    }
    expect(await effectsByKey(tenant)).toEqual(once);
    await expectSoundBooks(tenant);
  });
});
