/** Answers that are kept in chunks: of a try that broke off nothing is left, and what is cut short is never told as whole. */
import { describe, expect, it } from "vitest";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import { ANSWER_CHUNK_BYTES } from "../../src/kernel/limits.ts";
import type { Resolution, UpstreamCall } from "../../src/objects/exchange-call.ts";
import type { ExchangeEngine } from "../../src/objects/exchange-engine.ts";
import { Exchanges } from "../../src/objects/exchanges.ts";
import type { KeyEngine } from "../../src/objects/key-engine.ts";
import {
  ASKABLE,
  exchangeCall,
  type ExchangeIncarnation,
  heardOf,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

/** As many bytes as are kept in several chunks, and then the connection breaks. */
const brokenOff = (chunks: number): Response => {
  let sent = 0;
  return new Response(
    new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1;
        if (sent > chunks) controller.error(new Error("Network connection lost."));
        else controller.enqueue(new Uint8Array(ANSWER_CHUNK_BYTES).fill(1));
      },
    }),
  );
};

/** A whole one, in chunks too, but in fewer. */
const shorter = new Uint8Array(ANSWER_CHUNK_BYTES + 1).fill(2);

const chunksIn = (object: ExchangeIncarnation) =>
  object.run((_engine, { storage }) =>
    storage.sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM exchange_chunks").one(),
  );

describe("64, 77: an answer that broke off", () => {
  it.each([
    ["sent again", { honoursKey: true }],
    ["asked for", { status: ASKABLE }],
  ])("is no part of the one that comes when it is %s", async (_how, policy) => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy });
    let answers = 0;
    upstream.answer = () => {
      answers += 1;
      return answers === 1 ? brokenOff(4) : new Response(shorter);
    };
    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    expect(await chunksIn(object)).toEqual({ n: 4 });
    await object.nextAlarm();

    const replay = await object.exchange(call);
    if (replay.kind !== "answer") throw new Error(`Not an answer but ${verdict(replay)}.`);
    expect(replay.body.byteLength).toBe(shorter.byteLength);
    expect(replay.body.every((byte) => byte === 2)).toBe(true);
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("is no part of what a person says of it, which may be empty", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    upstream.answer = () => brokenOff(2);
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    expect(await chunksIn(object)).toEqual({ n: 0 });

    const said: Resolution = {
      outcome: { kind: "executed", status: 200, headers: [], body: new Uint8Array(0), link: null },
      record: {
        outcome: "executed",
        status: 200,
        digest: "d1",
        reason: "Seen in the ledger.",
        by: "latchkey/ada",
        atMs: object.time.nowMs,
      },
    };
    expect(await object.run((engine) => engine.resolve(call.tenant, call.key, said))).toEqual({
      kind: "resolved",
    });
    expect(await object.exchange(call)).toMatchObject({ kind: "answer", status: 200, text: "" });
  });

  it("leaves nothing behind when an uncertain key was asked for once more", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-after");
    const object = incarnation({ upstream });
    const policy = {
      status: { path: "/status/{key}", absenceIsFinal: false, quietMs: 0 },
      heal: { attemptsMax: 1, elapsedMsMax: -1 },
    };
    const call = exchangeCall(tenantOf(), { policy });
    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    upstream.answer = () => brokenOff(2);
    expect(await object.run((engine) => engine.redrive(call.key, "operator"))).toBe("uncertain");
    expect(upstream.questions).toBe(1);
    expect(await chunksIn(object)).toEqual({ n: 0 });
  });
});

describe("78: an answer that is too large to keep, and that nobody takes", () => {
  it("is read to its end all the same: the key tells its size and hash", async () => {
    const upstream = new Upstream();
    const bytes = new Uint8Array(8 * 1024 * 1024 + 1).fill(3);
    upstream.answer = () => new Response(bytes);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { detached: true });
    expect(verdict(await object.exchange(call))).toBe("accepted");
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    const sha256 = [...new Uint8Array(digest)]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
    let heard = await object.exchange({ ...call, detached: false });
    for (let i = 0; i < 500 && !JSON.stringify(heard).includes("sha256"); i++) {
      await scheduler.wait(10);
      heard = await object.exchange({ ...call, detached: false });
    }
    expect(heard).toMatchObject({
      code: "response-not-stored",
      members: { bytes: bytes.byteLength, sha256 },
    });
    expect(await chunksIn(object)).toEqual({ n: 0 });
    expect(upstream.calls).toBe(1);
  });
});

describe("78: one too large to keep, which its caller takes slowly", () => {
  const LARGE = 8 * 1024 * 1024 + 1;

  /** Takes all of it but its end, and the end after something has happened. */
  const takeAcross = (
    object: ExchangeIncarnation,
    call: UpstreamCall,
    happens: (exchanges: ExchangeEngine, keys: KeyEngine) => Promise<void>,
  ): Promise<void> =>
    object.run(async (engine, _state, keys) => {
      const reply = await engine.exchange({ ...call, object: object.object });
      if (reply.kind !== "stream") throw new Error(reply.kind);
      const reader = reply.body.getReader();
      for (let taken = 0; taken < LARGE;) taken += (await reader.read()).value?.byteLength ?? LARGE;
      await happens(engine, keys);
      expect(await reader.read()).toMatchObject({ done: true });
    });

  it("69: is not told of any more once it is erased", async () => {
    const upstream = new Upstream();
    upstream.answer = () => new Response(new Uint8Array(LARGE));
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    await takeAcross(object, call, async (engine) => {
      expect(await engine.erase(call.key, BY_SERVICE)).toMatchObject({ kind: "erased" });
    });
    const kept = await object.run((_engine, state) => new Exchanges(state.storage).find(call.key));
    expect(kept).toMatchObject({ left: "erased", unstored: null });
  });

  it("leaves the answer alone that its key has by then, long after it was forgotten", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { tombstoneSeconds: 0 } });
    upstream.answer = () => new Response(new Uint8Array(LARGE));
    await takeAcross(object, call, async (engine, keys) => {
      await scheduler.wait(20);
      object.time.advance((call.policy.keyLifetimeSeconds + 1) * 1_000);
      await engine.care();
      await keys.sweep();
      upstream.answer = () => new Response(shorter);
      const anew = await heardOf(await engine.exchange({ ...call, object: object.object }));
      expect(anew).toMatchObject({ kind: "answer", body: shorter, replayed: false });
    });
    expect(await object.exchange(call)).toMatchObject({ body: shorter, replayed: true });
    expect(upstream.calls).toBe(2);
  });
});

describe("69: an answer that is erased while somebody reads it", () => {
  /** Reads the first chunk, lets it be erased, and reads on. */
  const readAcrossErasure = async (bytes: number, replays: boolean) => {
    const upstream = new Upstream();
    upstream.answer = () => new Response(new Uint8Array(bytes));
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    if (replays) await object.exchange(call);
    return object.run(async (engine) => {
      const reply = await engine.exchange({ ...call, object: object.object });
      if (reply.kind === "problem" || reply.kind === "accepted") throw new Error(reply.kind);
      const reader = new Response(reply.body).body?.getReader();
      await reader?.read();
      expect(await engine.erase(call.key, BY_SERVICE)).toMatchObject({ kind: "erased" });
      let read = await reader?.read();
      while (read?.done === false) read = await reader?.read();
    });
  };

  it.each([
    ["a replay", 4 * ANSWER_CHUNK_BYTES, true],
    ["one too large to keep", 8 * 1024 * 1024 + 1, false],
  ])("breaks off, and does not end as if it were whole: %s", async (_which, bytes, replays) => {
    await expect(readAcrossErasure(bytes, replays)).rejects.toThrow("erased while it was read");
  });
});
