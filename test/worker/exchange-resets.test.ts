/**
 * The real objects, reset while an exchange stands at a labelled point: the object's memory is gone, what it was about to
 * do does not happen, and its callers see a broken call. The API behind lives on, and counts.
 */
import {
  abortAllDurableObjects,
  applyD1Migrations,
  reset,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CrashPoint } from "../../src/kernel/crash-point.ts";
import type { ExchangeCall } from "../../src/objects/exchange-call.ts";
import { runHourly } from "../../src/objects/scheduled.ts";
import { keyObjectNamed, objectFor } from "../../src/objects/routing.ts";
import { until } from "../support/faulty-database.ts";
import {
  ASKABLE,
  exchangeCall,
  type ExchangeCallOptions,
  type Heard,
  heardOf,
  rowOf,
  tenantOf,
  verdict,
} from "./support/exchanges.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let armed: CrashPoint | undefined;
let reached = 0;

beforeEach(async () => {
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
  reached = 0;
  globalThis.CRASH_POINTS = true;
  globalThis.latchkeyCrashPoint = async (point) => {
    if (armed !== point) return;
    reached += 1;
    await until(() => armed !== point);
  };
  // A broken call is logged for people; here it is no news.
  vi.spyOn(console, "error").mockImplementation(() => undefined);
});

afterEach(async () => {
  armed = undefined;
  // What an object of one test has left for its alarm must not come to the point that the next test waits for.
  await reset();
  globalThis.CRASH_POINTS = false;
  globalThis.latchkeyCrashPoint = undefined;
  vi.restoreAllMocks();
});

/** @param keyObjects how keys are spread over objects */
const addressed = (call: ExchangeCall, keyObjects: number | "per-key" = 1): ExchangeCall => ({
  ...call,
  object: objectFor(call.tenant, call.key, keyObjects),
});

/** @param more headers, for the API behind */
const callTo = (
  tenant: string,
  options: ExchangeCallOptions = {},
  more: readonly (readonly [name: string, value: string])[] = [],
): ExchangeCall => {
  const call = exchangeCall(tenant, options);
  const honours = String(call.policy.honoursKey);
  const headers = [...call.request.headers, ["x-honours", honours] as const, ...more];
  return addressed({ ...call, request: { ...call.request, headers } });
};

const send = async (call: ExchangeCall): Promise<Heard> =>
  heardOf(await keyObjectNamed(env, call.object)().exchange(call));

const countOf = async ({ key }: ExchangeCall): Promise<number> =>
  (await env.UPSTREAM.fetch(`https://upstream.invalid/count/${key}`)).json();

/** What the objects have written is on the disk: a write that is not, is lost with the object, and so is what it stands for. */
const flushed = async (calls: readonly ExchangeCall[]): Promise<void> => {
  for (const { object } of calls) {
    const stub = env.KEY_OBJECT.getByName(object);
    await runInDurableObject(stub, (_object, { storage }) => storage.sync());
  }
};

/** Tries again, as a client would, until it hears something that stays. */
const untilStanding = async (call: ExchangeCall): Promise<Heard> => {
  for (let tries = 0; tries < 500; tries++) {
    const heard = await send(call).catch(() => undefined);
    if (heard !== undefined && heard.kind !== "accepted") {
      if (heard.kind !== "problem" || heard.code === "outcome-uncertain") return heard;
    }
    await scheduler.wait(20);
  }
  throw new Error("The key came to nothing.");
};

describe("an object that is reset", () => {
  it.each<CrashPoint>([
    "exchange-claimed",
    "exchange-intent",
    "exchange-sent",
    "exchange-answered",
    "exchange-stored",
    "exchange-final",
  ])(
    "44, 36–40: at %s: at most one effect, and every key comes to what its policy says",
    async (point) => {
      const heal = { attemptsMax: 5, elapsedMsMax: 600_000 };
      const calls = {
        honours: callTo(tenantOf(), { policy: { honoursKey: true, heal } }),
        askable: callTo(tenantOf(), {
          policy: {
            status: { ...ASKABLE, path: "/status/{key}", quietMs: 1_000, absenceIsFinal: true },
            timeoutMs: 400,
            heal,
          },
        }),
        neither: callTo(tenantOf()),
      };
      armed = point;
      const broken = Promise.allSettled(Object.values(calls).map(send));
      await until(() => reached === 3);
      await flushed(Object.values(calls));
      await abortAllDurableObjects();
      armed = undefined;
      await broken;

      const standing = {
        honours: await untilStanding(calls.honours),
        askable: await untilStanding(calls.askable),
        neither: await untilStanding(calls.neither),
      };

      expect(verdict(standing.honours)).toBe(200);
      expect(verdict(standing.askable)).toBe(200);
      // Whoever neither honours keys nor can be asked is never called again once it may have been called.
      const mayHaveRun = ["exchange-intent", "exchange-sent", "exchange-answered"].includes(point);
      expect(verdict(standing.neither)).toBe(mayHaveRun ? "outcome-uncertain" : 200);
      expect(await countOf(calls.honours)).toBe(1);
      expect(await countOf(calls.askable)).toBe(1);
      expect(await countOf(calls.neither)).toBeLessThanOrEqual(1);
      for (const [name, call] of Object.entries(calls)) {
        const again = await send(call);
        expect(verdict(again)).toBe(verdict(standing[name as keyof typeof standing]));
      }
    },
  );

  it("44: its alarm heals what it has begun, though nobody asks again", async () => {
    const call = callTo(tenantOf(), {
      detached: true,
      policy: { honoursKey: true, timeoutMs: 100 },
    });
    armed = "exchange-intent";
    const broken = send(call).catch(() => undefined);
    await until(() => reached === 1);
    await flushed([call]);
    await abortAllDurableObjects();
    armed = undefined;
    await broken;
    expect(await countOf(call)).toBe(0);
    // The alarm comes by itself: after the time-out, the grace and a pause.
    while ((await rowOf(call))?.state !== "final") await scheduler.wait(50);

    expect(await countOf(call)).toBe(1);
    expect(await send({ ...call, detached: false })).toMatchObject({ status: 200, replayed: true });
  });
});

describe("49: KEY_OBJECTS changed", () => {
  it("49: while a call is outstanding: the object that made the claim answers, and there is one call", async () => {
    const first = callTo(tenantOf(), { waitMs: 20_000 });
    const elsewhere = addressed(first, "per-key");
    expect(elsewhere.object).not.toBe(first.object);
    armed = "exchange-answered";
    const leader = send(first);
    await until(() => reached === 1);
    const during = await send({ ...elsewhere, waitMs: 0 });
    const waiting = send(elsewhere);
    await scheduler.wait(50);
    armed = undefined;

    expect(during).toMatchObject({ code: "request-in-flight" });
    expect(await leader).toMatchObject({ status: 200, replayed: false });
    expect(await waiting).toMatchObject({ status: 200, replayed: true });
    expect(await send(elsewhere)).toMatchObject({ status: 200, replayed: true });
    const other = { ...elsewhere, fingerprint: "another" };
    expect(verdict(await send(other))).toBe("idempotency-key-reused");
    expect(await countOf(first)).toBe(1);
  });
});

describe("49: KEY_OBJECTS changed, and an answer of many chunks", () => {
  it("49, 64: reaches who is sent on from another object byte for byte, while it is made and afterwards", async () => {
    const length = 3 * 1024 * 1024 + 7;
    const first = callTo(tenantOf(), { waitMs: 20_000 }, [["x-bytes", String(length)]]);
    const elsewhere = addressed(first, "per-key");
    expect(elsewhere.object).not.toBe(first.object);
    armed = "exchange-answered";
    const leader = send(first);
    await until(() => reached === 1);
    const waiting = send(elsewhere);
    await scheduler.wait(50);
    armed = undefined;

    const expected = Uint8Array.from({ length }, (_, at) => (at * 31) % 251);
    for (const heard of [await leader, await waiting, await send(elsewhere)]) {
      if (heard.kind !== "answer") throw new Error(`Not an answer but ${verdict(heard)}.`);
      expect(heard.body.byteLength).toBe(length);
      expect(heard.body.every((byte, at) => byte === expected[at])).toBe(true);
    }
    expect(await countOf(first)).toBe(1);
  });
});

describe("a claim that nobody cares for", () => {
  it("is released by the hourly pass when it is old, if nobody called for it: the key is free", async () => {
    const call = callTo(tenantOf());
    armed = "exchange-claimed";
    const broken = send(call).catch(() => undefined);
    await until(() => reached === 1);
    await abortAllDurableObjects();
    armed = undefined;
    await broken;
    await runHourly(env);
    expect(await rowOf(call)).toMatchObject({ state: "in-flight" });
    await env.DB.prepare(
      "UPDATE journal SET created_at_ms = created_at_ms - 660000 WHERE tenant = ?",
    )
      .bind(call.tenant)
      .run();
    await runHourly(env);

    expect(await rowOf(call)).toBeNull();
    expect(await countOf(call)).toBe(0);
    expect(await send(call)).toMatchObject({ status: 200, replayed: false });
  });
});
