import { expect, it } from "vitest";
import { WAITERS_PER_KEY_MAX, WAITERS_PER_OBJECT_MAX } from "../../../src/kernel/limits.ts";
import { Flights } from "../../../src/objects/flights.ts";
import type { KeyReply } from "../../../src/objects/key-call.ts";

const REPLY: KeyReply = { kind: "problem", code: "temporarily-unavailable" };

/** Runs of some keys, and what ends them all. */
const flightsOf = (keys: readonly string[]) => {
  const flights = new Flights();
  const { promise: reply, resolve } = Promise.withResolvers<KeyReply>();
  for (const key of keys) {
    flights.begin(key, {
      operation: "payments.create",
      fingerprint: "print",
      fingerprintVersion: 1,
      members: {},
      startedAtMs: 0,
      reply,
    });
  }
  return { flights, land: () => resolve(REPLY) };
};

/** What so many who wait for each of the keys hear, while the runs go on and once they end. */
const heard = async (keys: readonly string[], each: number) => {
  const { flights, land } = flightsOf(keys);
  const waits = keys.flatMap((key) =>
    Array.from({ length: each }, () => flights.replyOf(key, 1_000)),
  );
  land();
  const replies = await Promise.all(waits);
  return { flights, told: replies.filter((reply) => reply !== undefined).length };
};

it(`35: ${WAITERS_PER_KEY_MAX} wait for a key, and as many again once those have been told`, async () => {
  const { flights, told } = await heard(["key"], WAITERS_PER_KEY_MAX + 1);
  expect(told).toBe(WAITERS_PER_KEY_MAX);
  const again = Array.from({ length: WAITERS_PER_KEY_MAX }, () => flights.replyOf("key", 1_000));
  expect(await Promise.all(again)).not.toContain(undefined);
});

it(`35: ${WAITERS_PER_OBJECT_MAX} wait in an object, whatever their keys, and as many again once those have been told`, async () => {
  const keys = Array.from(
    { length: WAITERS_PER_OBJECT_MAX / WAITERS_PER_KEY_MAX + 1 },
    (_, i) => `key-${i}`,
  );
  const { flights, told } = await heard(keys, WAITERS_PER_KEY_MAX);
  expect(told).toBe(WAITERS_PER_OBJECT_MAX);
  expect(await flights.replyOf("key-0", 1_000)).toEqual(REPLY);
});

it("35: who has waited for as long as it wanted leaves its place to the next", async () => {
  const { flights, land } = flightsOf(["key"]);
  const waits = () => Array.from({ length: WAITERS_PER_KEY_MAX }, () => flights.replyOf("key", 1));
  expect(new Set(await Promise.all(waits()))).toEqual(new Set([undefined]));
  const next = flights.replyOf("key", 1_000);
  land();
  expect(await next).toEqual(REPLY);
});
