/** Exchanges: one call to an upstream for each key, and what everybody hears of it. */
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { exchangeFingerprint } from "../../src/gateway/content-fingerprint.ts";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import type { Resolution } from "../../src/objects/exchange-call.ts";
import { until } from "../support/faulty-database.ts";
import {
  ASKABLE,
  exchangeCall,
  PAUSE_MS,
  rowOf,
  tenantOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();
const hexOf = (bytes: Uint8Array) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

describe("an exchange", () => {
  it("is called once, and every retry gets its answer, with status, headers and bytes", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    const first = await object.exchange(call);
    const again = await object.exchange(call);

    expect(first).toMatchObject({ kind: "answer", status: 201, replayed: false });
    expect(again).toMatchObject({ ...first, replayed: true });
    expect(again).toMatchObject({ headers: { location: `/things/${call.key}` } });
    expect(upstream.effectsOf(call.key)).toBe(1);
    expect(upstream.requests[0]).toMatchObject({ url: "https://upstream.invalid/things?x=1" });
    expect(new TextDecoder().decode(upstream.requests[0]?.body)).toBe('{"amount":1}');
    await object.settled();
    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201, object: object.object });
  });

  it("35: a hundred at once are one call; who does not wait hears 423, who waits gets the answer", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const call = exchangeCall(tenant);
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    const waiting = Array.from({ length: 50 }, () => object.exchange({ ...call, waitMs: 20_000 }));
    const others = await Promise.all(Array.from({ length: 50 }, () => object.exchange(call)));
    upstream.release();

    expect(new Set(others.map(verdict))).toEqual(new Set(["request-in-flight"]));
    expect(await first).toMatchObject({ status: 201, replayed: false });
    for (const heard of await Promise.all(waiting)) {
      expect(heard).toMatchObject({ status: 201, replayed: true });
    }
    expect(upstream.calls).toBe(1);
  });

  it("81: is answered from what an earlier version of the fingerprint stored, with 422 for another request", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const printed = (version: number, amount: number): typeof call => {
      const body = new TextEncoder().encode(`{"amount":${amount}}`);
      const request = { ...call.request, body };
      const fingerprint = exchangeFingerprint(request, version) ?? "";
      return { ...call, request, fingerprint, fingerprintVersion: version };
    };
    const first = await object.exchange(printed(1, 1));

    expect(await object.exchange(printed(2, 1))).toMatchObject({ ...first, replayed: true });
    expect(await object.exchange(printed(2, 2))).toMatchObject({ code: "idempotency-key-reused" });
    expect(upstream.calls).toBe(1);
  });

  it("tells another request under its key 422 before it tells that it is in flight, and after", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const other = { ...exchangeCall(call.tenant, { key: call.key, fingerprint: "another" }) };
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    const during = await object.exchange(other);
    upstream.release();
    await first;
    const after = await object.exchange(other);

    expect(during).toMatchObject({
      code: "idempotency-key-reused",
      members: { mismatched: ["amount"] },
    });
    expect(after).toMatchObject({ code: "idempotency-key-reused" });
    expect(upstream.calls).toBe(1);
  });

  it("is accepted with 202 once it is durable, and carried out whoever is there", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { detached: true });

    expect(verdict(await object.exchange(call))).toBe("accepted");
    expect(verdict(await object.exchange(call))).toBe("accepted");
    upstream.release();
    while ((await rowOf(call))?.state !== "final") await scheduler.wait(5);

    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it.each([
    ["empty", new Uint8Array(0)],
    ["binary", Uint8Array.from({ length: 5_000 }, (_, i) => (i * 7) % 256)],
    ["of one chunk and a byte", new Uint8Array(256 * 1024 + 1).fill(7)],
    ["of the largest size that is kept", new Uint8Array(8 * 1024 * 1024).fill(255)],
  ])("64: an answer that is %s is replayed byte for byte", async (_name, bytes) => {
    const upstream = new Upstream();
    upstream.answer = () =>
      new Response(bytes, { headers: { "content-type": "application/octet-stream" } });
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    const first = await object.exchange(call);
    const again = await object.exchange(call);

    for (const heard of [first, again]) {
      if (heard.kind !== "answer") throw new Error(`Not an answer but ${verdict(heard)}.`);
      expect(heard.status).toBe(200);
      expect(heard.body.byteLength).toBe(bytes.byteLength);
      expect(heard.body.every((byte, i) => byte === bytes[i])).toBe(true);
    }
    expect(upstream.calls).toBe(1);
  });

  it("78: an answer that is too large goes through once; then the key tells its size and hash, and never runs again", async () => {
    const upstream = new Upstream();
    const bytes = new Uint8Array(8 * 1024 * 1024 + 12_345).fill(3);
    upstream.answer = () => new Response(bytes);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    const first = await object.exchange(call);
    const again = await object.exchange(call);

    if (first.kind !== "stream") throw new Error("It was not streamed.");
    expect(first.body.byteLength).toBe(bytes.byteLength);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    expect(again).toMatchObject({
      code: "response-not-stored",
      members: { bytes: bytes.byteLength, sha256: hexOf(digest) },
    });
    expect(upstream.calls).toBe(1);
    await object.settled();
    expect(await rowOf(call)).toMatchObject({ state: "final", refusal: "response-not-stored" });
  });

  it("78: says that it is oversize before the first byte past the limit goes out", async () => {
    const upstream = new Upstream();
    upstream.answer = () => new Response(new Uint8Array(8 * 1024 * 1024 + 1));
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    await object.run(async (engine) => {
      const reply = await engine.exchange({ ...call, object: object.object });
      expect(reply.kind).toBe("stream");
      // Nothing of the stream is read yet.
      const other = await engine.exchange({ ...call, object: object.object });
      expect(other).toMatchObject({ kind: "problem", code: "response-not-stored" });
      if (reply.kind === "stream") await reply.body.cancel();
    });
    expect(upstream.calls).toBe(1);
  });
});

describe("what an answer means", () => {
  it.each([200, 204, 302, 400, 404, 422])("%i is an outcome, and replayed", async (status) => {
    const upstream = new Upstream();
    upstream.answer = () =>
      new Response(null, { status, headers: status === 302 ? { location: "/elsewhere" } : {} });
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    expect(await object.exchange(call)).toMatchObject({ status, replayed: false });
    expect(await object.exchange(call)).toMatchObject({ status, replayed: true });
    expect(upstream.calls).toBe(1);
  });

  it.each([500, 502, 503, 408, 425])(
    "76: %i of an upstream that neither honours keys nor can be asked is uncertain, and never run again",
    async (status) => {
      const upstream = new Upstream();
      upstream.faults.push(status);
      const object = incarnation({ upstream });
      const call = exchangeCall(tenantOf());

      expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
      expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
      await object.settled();
      await object.alarm();

      expect(await rowOf(call)).toMatchObject({ state: "uncertain" });
      expect(upstream.calls).toBe(1);
    },
  );

  it("76: a time-out is uncertain where the upstream neither honours keys nor can be asked", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());

    expect(verdict(await object.timedOut(call))).toBe("outcome-uncertain");
    expect(upstream.calls).toBe(1);
  });

  it("76: a time-out is healed with the same key where the upstream runs a key once", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });

    expect(await object.timedOut(call)).toMatchObject({
      code: "request-in-flight",
      afterMs: PAUSE_MS,
    });
    await object.nextAlarm();
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.effectsOf(call.key)).toBe(1);
    const keys = upstream.requests.map(({ headers }) => headers.get("idempotency-key"));
    expect(keys).toEqual([call.key, call.key]);
  });

  it.each(["reset-before", "reset-after"] as const)(
    "77: a connection that breaks (%s) is healed with the same key where the upstream runs a key once",
    async (fault) => {
      const upstream = new Upstream();
      upstream.honoursKeys = true;
      upstream.faults.push(fault, fault);
      const object = incarnation({ upstream });
      const call = exchangeCall(tenantOf(), { policy: { honoursKey: true } });

      expect(verdict(await object.exchange(call))).toBe("request-in-flight");
      await object.nextAlarm();
      await object.nextAlarm();

      expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
      expect(upstream.effectsOf(call.key)).toBe(1);
      expect(upstream.calls).toBe(3);
    },
  );

  it("77: a connection that breaks after the effect is asked about, and the answer is the outcome", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-after");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { status: ASKABLE } });
    upstream.answer = (key) => Response.json({ asked: key });

    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    // What is due at once is done by whoever comes first: the alarm, or the client.
    await object.alarm();

    expect(await object.exchange(call)).toMatchObject({ status: 200, replayed: true });
    expect(upstream.requests[1]).toMatchObject({
      method: "GET",
      url: `https://upstream.invalid/status/${call.key}`,
    });
    expect(upstream.requests[1]?.headers.get("authorization")).toBe("Bearer upstream");
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("77: 'not found' allows another call only after the time-out and the quiet period", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-before");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { policy: { status: ASKABLE, timeoutMs: 5_000 } });
    const sentAtMs = object.time.nowMs;

    await object.exchange(call);
    await object.alarm();
    expect([upstream.calls, upstream.questions]).toEqual([1, 1]);
    expect(await object.exchange(call)).toMatchObject({
      code: "request-in-flight",
      afterMs: 15_000,
    });
    object.time.setTo(sentAtMs + 14_999);
    await object.alarm();
    expect([upstream.calls, upstream.questions]).toEqual([1, 1]);
    object.time.setTo(sentAtMs + 15_000);
    await object.alarm();
    await object.alarm();

    expect([upstream.calls, upstream.questions]).toEqual([2, 2]);
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("77: 'not found' of an upstream whose absence is not final leaves it uncertain", async () => {
    const upstream = new Upstream();
    upstream.faults.push("reset-before");
    const object = incarnation({ upstream });
    const status = { path: "/status/{key}", absenceIsFinal: false, quietMs: 1_000 };
    const call = exchangeCall(tenantOf(), { policy: { status } });

    await object.exchange(call);
    await object.alarm();
    await object.nextAlarm();

    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    expect(upstream.calls).toBe(1);
  });

  it("429 was not executed: it is sent again, and when that is spent the key is free, and runs when it comes back", async () => {
    const upstream = new Upstream();
    upstream.faults.push(429, 429);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), {
      policy: { heal: { attemptsMax: 2, elapsedMsMax: 60_000 } },
    });

    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    await object.nextAlarm();
    expect(await rowOf(call)).toBeNull();
    // Its row is gone because it was set free, which is no loss: nothing is written again.
    const { results } = await env.DB.prepare("SELECT kind, code FROM audit WHERE tenant = ?")
      .bind(call.tenant)
      .all();
    expect(results).toEqual([
      { kind: "started", code: null },
      { kind: "outcome", code: "not-executed" },
    ]);
    // Free for everybody: also for another request.
    const other = exchangeCall(call.tenant, { key: call.key, fingerprint: "another" });

    expect(await object.exchange(other)).toMatchObject({ status: 201, replayed: false });
    expect(upstream.calls).toBe(3);
    expect(upstream.effectsOf(call.key)).toBe(1);
  });

  it("a waiting caller gets what the heal comes to", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push(500);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), { waitMs: 20_000, policy: { honoursKey: true } });
    const heard = object.exchange(call);
    await until(() => upstream.calls === 1);
    await object.settled();
    await object.nextAlarm();

    expect(await heard).toMatchObject({ status: 201 });
    expect(upstream.calls).toBe(2);
  });

  it("the bounds of a heal end it as uncertain where it may have been executed", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push(500, 500, 500);
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf(), {
      policy: { honoursKey: true, heal: { attemptsMax: 3, elapsedMsMax: 600_000 } },
    });
    await object.exchange(call);
    await object.nextAlarm();
    await object.nextAlarm();

    expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
    expect(upstream.calls).toBe(3);
    expect(object.alerts).toContain("exchange-uncertain");
  });
});

describe("the order", () => {
  it("54: a database that is away at the claim: 503, and nothing is sent", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    object.db.always("lost-before", "lost");
    const heard = await object.time.passing(object.exchange(call));
    object.db.always("none", "none");

    expect(["temporarily-unavailable", "outcome-unknown-yet"]).toContain(verdict(heard));
    expect(upstream.calls).toBe(0);
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: false });
  });

  it("54: a database that is away at the end: the answer goes out all the same, and the row follows by the alarm", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    object.db.always("lost-before", "lost");
    upstream.release();

    expect(await first).toMatchObject({ status: 201, replayed: false });
    await object.settled();
    expect(await rowOf(call)).toMatchObject({ state: "in-flight" });
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    object.db.always("none", "none");
    await object.nextAlarm();

    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
    expect(upstream.calls).toBe(1);
  });

  it("53: storage that does not take the intent: nothing is sent, and the key is free", async () => {
    const upstream = new Upstream();
    const storage = new FaultyStorage();
    const object = incarnation({ upstream, storage: storage.around });
    const call = exchangeCall(tenantOf());
    const held = object.db.hold();
    const heard = object.exchange(call);
    await held.arrived();
    storage.alarmBroken = true;
    held.release();

    expect(verdict(await heard)).toBe("temporarily-unavailable");
    expect(upstream.calls).toBe(0);
    expect(await rowOf(call)).toBeNull();
    storage.alarmBroken = false;
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: false });
  });

  it("42: a claim that was never called for is taken over by the next life of the object, and called once", async () => {
    const upstream = new Upstream();
    const storage = new FaultyStorage();
    const zombie = incarnation({ upstream, storage: storage.around });
    const call = exchangeCall(tenantOf());
    const held = zombie.db.hold();
    const first = zombie.exchange(call);
    await held.arrived();
    // From here on it is replaced: neither its storage nor its database answers it, and it does not know.
    storage.broken = true;
    held.release("stalled-after");
    await zombie.db.stalled(1);
    const row = await rowOf(call);

    const next = incarnation({ upstream, object: zombie.object, time: zombie.time });
    expect(await next.exchange(call)).toMatchObject({ status: 201 });
    expect(upstream.effectsOf(call.key)).toBe(1);
    await next.settled();
    expect(await rowOf(call)).toMatchObject({ state: "final" });
    expect(row).toMatchObject({ state: "in-flight" });
    expect((await rowOf(call))?.nonce).not.toBe(row?.nonce);
    zombie.db.endStalls();
    await zombie.time.passing(first);
    expect(upstream.effectsOf(call.key)).toBe(1);
    expect(await rowOf(call)).toMatchObject({ state: "final" });
  });

  it("44: a call whose object died is healed, asked for or uncertain, and its late answer changes nothing", async () => {
    for (const policy of [{ honoursKey: true }, { status: ASKABLE }, {}]) {
      const upstream = new Upstream();
      upstream.honoursKeys = policy.honoursKey === true;
      upstream.faults.push("hang");
      const zombie = incarnation({ upstream });
      const call = exchangeCall(tenantOf(), { policy });
      const late = zombie.exchange(call);
      await until(() => upstream.calls === 1);
      const next = incarnation({ upstream, object: zombie.object, time: zombie.time });
      upstream.answer = () => Response.json({ told: "second" });
      zombie.time.advance(PAUSE_MS);
      const heard = await next.exchange(call);
      if (verdict(heard) === "request-in-flight") await next.nextAlarm();
      const standing = await next.exchange(call);
      upstream.answer = () => Response.json({ told: "late" });
      upstream.release();
      await late;

      expect(verdict(standing)).toBe(
        "honoursKey" in policy || "status" in policy ? 200 : "outcome-uncertain",
      );
      expect(await next.exchange(call)).toEqual(standing);
      expect(upstream.effectsOf(call.key)).toBe(1);
      await next.settled();
      expect((await rowOf(call))?.state).toBe(
        "status" in policy || "honoursKey" in policy ? "final" : "uncertain",
      );
    }
  });

  it("45: one alarm serves sweeps and heals: none of them puts the other off", async () => {
    const upstream = new Upstream();
    upstream.honoursKeys = true;
    upstream.faults.push(500);
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    await object.exchange(exchangeCall(tenant));
    await object.settled();
    const call = exchangeCall(tenant, { policy: { honoursKey: true } });
    upstream.faults.push(500);
    await object.exchange(call);
    const atMs = await object.alarmAtMs();

    expect(atMs).not.toBeNull();
    expect(atMs ?? Infinity).toBeLessThanOrEqual(object.time.nowMs + PAUSE_MS);
    await object.run((_exchanges, _state, keys) => keys.sweep());
    expect((await object.alarmAtMs()) ?? Infinity).toBeLessThanOrEqual(
      object.time.nowMs + PAUSE_MS,
    );
  });

  it("56, 57: an answer expires to a tombstone in both places, and what is uncertain is not swept", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const tenant = tenantOf();
    const done = exchangeCall(tenant);
    const doubtful = exchangeCall(tenant);
    await object.exchange(done);
    upstream.faults.push(500);
    await object.exchange(doubtful);
    await object.settled();
    const heard = await object.exchange(done);
    if (heard.kind !== "answer") throw new Error("It was not answered.");
    object.time.setTo(heard.expiresAtS * 1000 - 1);
    expect(await object.exchange(done)).toMatchObject({ status: 201 });
    object.time.setTo(heard.expiresAtS * 1000);

    expect(verdict(await object.exchange(done))).toBe("idempotency-key-expired");
    await object.alarm();
    expect(await rowOf(done)).toMatchObject({ state: "expired", body: null });
    expect(await object.exchange(done)).toMatchObject({
      code: "idempotency-key-expired",
      members: { link: `/things/${done.key}` },
    });
    expect(verdict(await object.exchange(doubtful))).toBe("outcome-uncertain");
    object.time.setTo((heard.expiresAtS + 7_200) * 1000);
    await object.alarm();
    expect(await rowOf(done)).toBeNull();
    expect(await rowOf(doubtful)).toMatchObject({ state: "uncertain" });
    expect(upstream.calls).toBe(2);
  });

  it("69: erasing reaches the answer's chunks, and the key never runs again", async () => {
    const upstream = new Upstream();
    upstream.answer = () => new Response(new Uint8Array(600 * 1024));
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    await object.exchange(call);

    expect(await object.run((engine) => engine.erase(call.key, BY_SERVICE))).toMatchObject({
      kind: "erased",
    });
    const left = await object.run((_engine, { storage }) =>
      storage.sql.exec("SELECT COUNT(*) AS n FROM exchange_chunks").one(),
    );
    expect(left).toEqual({ n: 0 });
    expect(verdict(await object.exchange(call))).toBe("outcome-erased");
    expect(await rowOf(call)).toMatchObject({ state: "erased", body: null });
    expect(upstream.calls).toBe(1);
  });
});

describe("an uncertain key", () => {
  const uncertain = async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    expect(verdict(await object.timedOut(call))).toBe("outcome-uncertain");
    await object.settled();
    return { upstream, object, call };
  };
  const record = { reason: "Seen in the ledger.", by: "latchkey t1", atMs: 1_800_000_000_000 };
  const executed: Resolution = {
    outcome: {
      kind: "executed",
      status: 201,
      headers: [["content-type", "application/json"]],
      body: new TextEncoder().encode('{"id":"ch_1"}'),
      link: "/things/ch_1",
    },
    record: { ...record, outcome: "executed", status: 201, digest: "d1" },
  };
  const notExecuted: Resolution = {
    outcome: { kind: "not-executed" },
    record: { ...record, outcome: "not-executed", status: null, digest: "d2" },
  };
  const auditOf = ({ tenant, key }: { readonly tenant: string; readonly key: string }) =>
    env.DB.prepare(
      "SELECT outcome, reason, decided_by FROM resolutions WHERE tenant = ? AND key = ?",
    )
      .bind(tenant, key)
      .all()
      .then(({ results }) => results);

  it("76: is what a person says of it, for every retry; the same word again is the same, another is refused", async () => {
    const { upstream, object, call } = await uncertain();
    const say = (resolution: Resolution) =>
      object.run((engine) => engine.resolve(call.tenant, call.key, resolution));

    expect(await say(executed)).toEqual({ kind: "resolved" });
    expect(await say(executed)).toEqual({ kind: "resolved" });
    expect(await say(notExecuted)).toEqual({ kind: "refused" });

    expect(await object.exchange(call)).toMatchObject({
      status: 201,
      text: '{"id":"ch_1"}',
      replayed: true,
    });
    expect(await rowOf(call)).toMatchObject({ state: "final", status: 201 });
    expect(await auditOf(call)).toEqual([
      { outcome: "executed", reason: record.reason, decided_by: record.by },
    ]);
    expect(upstream.calls).toBe(1);
  });

  it("76: that was not executed is free to run, and its resolution is kept", async () => {
    const { upstream, object, call } = await uncertain();
    const say = (resolution: Resolution) =>
      object.run((engine) => engine.resolve(call.tenant, call.key, resolution));

    expect(await say(notExecuted)).toEqual({ kind: "resolved" });
    expect(await rowOf(call)).toBeNull();
    expect(await say(notExecuted)).toEqual({ kind: "resolved" });
    expect(await say(executed)).toEqual({ kind: "refused" });
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: false });
    expect(upstream.calls).toBe(2);
    expect(await auditOf(call)).toHaveLength(1);
  });

  it("76: that was set free, and is uncertain again, goes by the last word: the one before it is refused from then on", async () => {
    const { upstream, object, call } = await uncertain();
    const say = (resolution: Resolution) =>
      object.run((engine) => engine.resolve(call.tenant, call.key, resolution));
    const later = { ...executed, record: { ...executed.record, atMs: record.atMs + 1 } };
    expect(await say(notExecuted)).toEqual({ kind: "resolved" });
    upstream.faults.push("hang");
    expect(verdict(await object.timedOut(call))).toBe("outcome-uncertain");
    await object.settled();

    expect(await say(later)).toEqual({ kind: "resolved" });

    expect(await say(notExecuted)).toEqual({ kind: "refused" });
    expect(await say(later)).toEqual({ kind: "resolved" });
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(await auditOf(call)).toHaveLength(2);
  });

  it("is resolved only while it is uncertain: not in flight, not final, not unknown", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const say = (key: string) => object.run((engine) => engine.resolve(call.tenant, key, executed));
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    expect(await say(call.key)).toEqual({ kind: "refused" });
    upstream.release();
    const heard = await first;
    expect(await say(call.key)).toEqual({ kind: "refused" });
    expect(await object.exchange(call)).toMatchObject({ ...heard, replayed: true });
    expect(await say("never-seen")).toEqual({ kind: "unknown-key" });
  });

  it("that is resolved after its life lives once more, so that the word can be heard", async () => {
    const { object, call } = await uncertain();
    object.time.advance(3_600_000 * 5);
    await object.run((engine) => engine.resolve(call.tenant, call.key, executed));
    expect(await object.exchange(call)).toMatchObject({ status: 201, text: '{"id":"ch_1"}' });
  });
});

describe("a webhook", () => {
  it("tells of a final key, signed, under one id, again until it is taken; the outcome waits for none of it", async () => {
    const upstream = new Upstream();
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const told: { readonly headers: Record<string, string>; readonly body: string }[] = [];
    const object = incarnation({
      upstream,
      parts: {
        secretNamed: (name) => (name === "HOOK" ? secret : undefined),
        post: async (request) => {
          told.push({ headers: Object.fromEntries(request.headers), body: await request.text() });
          return new Response(null, { status: told.length < 3 ? 500 : 204 });
        },
      },
    });
    const webhook = { url: "https://hooks.test/", secretName: "HOOK" };
    const call = exchangeCall(tenantOf(), { policy: { webhook } });

    expect(await object.exchange(call)).toMatchObject({ status: 201 });
    while (told.length < 1) await scheduler.wait(1);
    await object.settled();
    for (let i = 0; i < 3; i++) await object.nextAlarm();

    expect(told).toHaveLength(3);
    expect(new Set(told.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    for (const { headers, body } of told) {
      expect(headers["idempotency-key"]).toBe(headers["webhook-id"]);
      const at = new Date(Number(headers["webhook-timestamp"]) * 1000);
      const signed = new Webhook(secret).sign(headers["webhook-id"] ?? "", at, body);
      expect(headers["webhook-signature"]).toBe(signed);
      expect(JSON.parse(body)).toMatchObject({ data: { key: call.key, status: 201 } });
    }
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(upstream.calls).toBe(1);
  });

  it("without its secret is not sent, and the outcome stands", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const webhook = { url: "https://hooks.test/", secretName: "MISSING" };
    const call = exchangeCall(tenantOf(), { policy: { webhook } });
    expect(await object.exchange(call)).toMatchObject({ status: 201 });
    await object.settled();
    expect(object.alerts).toContain("webhook-failed");
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
  });
});
