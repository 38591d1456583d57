/** Payouts: money is held with the claim, sent by a processor, and settled or released with the key's outcome, once. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { CHECKS } from "../../src/audit/checks.ts";
import { reconcile } from "../../src/audit/reconcile.ts";
import type { ExchangePolicy } from "../../src/gateway/exchange.ts";
import { SETTLE_GATHER_MS } from "../../src/kernel/limits.ts";
import type { JsonObject } from "../../src/kernel/json.ts";
import type { OperationCall } from "../../src/objects/exchange-call.ts";
import { operationCallOf } from "../../src/objects/operation-exchange.ts";
import { until } from "../support/faulty-database.ts";
import { balanceOf, openBooks } from "./support/books.ts";
import { callOf } from "./support/calls.ts";
import { corrupt } from "./support/corruption.ts";
import {
  ASKABLE,
  exchangeCall,
  type Heard,
  PAUSE_MS,
  POLICY,
  rowOf,
  useExchanges,
  verdict,
} from "./support/exchanges.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

const HONOURS: ExchangePolicy = { ...POLICY, honoursKey: true };

/** Can be asked, and is not asked by itself any more. */
const ASKED_LATER: ExchangePolicy = {
  ...POLICY,
  status: { path: "/status/{key}", absenceIsFinal: true, quietMs: 0 },
  heal: { attemptsMax: 1, elapsedMsMax: -1 },
};

/** A tenant of whom alice has 1,000. */
const books = () => openBooks({ accounts: { alice: 1_000 } });

const payout = (tenant: string, change: JsonObject = {}, key?: string): OperationCall =>
  operationCallOf(
    callOf(
      tenant,
      "payouts.create",
      { account: "alice", amountMinor: 300, currency: "EUR", destination: "DE00", ...change },
      key === undefined ? {} : { key },
    ),
    env.FINGERPRINT_SECRET,
  );

/** A processor that pays: it counts by the key that it is told. */
const processor = () => {
  const upstream = new Upstream();
  upstream.answer = () => Response.json({ id: "tr_1", state: "paid" }, { status: 200 });
  return upstream;
};

const effectsIn = ({ effects }: Upstream): number =>
  [...effects.values()].reduce((sum, count) => sum + count, 0);

/** Where the money is, and what the payouts say; the ledger sums to zero whatever it is. */
const standing = async (tenant: string) => {
  const { results } = await env.DB.prepare("SELECT state FROM payouts WHERE tenant = ? ORDER BY id")
    .bind(tenant)
    .all<{ state: string }>();
  const sum = await env.DB.prepare("SELECT SUM(balance) AS sum FROM accounts WHERE tenant = ?")
    .bind(tenant)
    .first<number>("sum");
  expect(sum, "the sum of the ledger").toBe(0);
  return {
    alice: await balanceOf(tenant, "alice"),
    held: (await balanceOf(tenant, "system:EUR:held")) ?? 0,
    paidOut: (await balanceOf(tenant, "system:EUR:paid-out")) ?? 0,
    payouts: results.map(({ state }) => state).toSorted(),
  };
};

const UNTOUCHED = { alice: 1_000, held: 0, paidOut: 0, payouts: [] };
const HELD = { alice: 700, held: 300, paidOut: 0, payouts: ["held"] };
const PAID = { alice: 700, held: 0, paidOut: 300, payouts: ["paid"] };
const RELEASED = { alice: 1_000, held: 0, paidOut: 0, payouts: ["released"] };

const bodyIn = (heard: Heard): JsonObject => {
  if (heard.kind !== "answer") throw new Error(`Not an answer but ${verdict(heard)}.`);
  return JSON.parse(heard.text) as JsonObject;
};

describe("a payout", () => {
  it("holds, calls and settles once, and every retry gets the operation's own answer", async () => {
    const upstream = processor();
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);

    const first = await object.exchange(call);
    const again = await object.exchange(call);

    expect(first).toMatchObject({ status: 201, replayed: false });
    expect(again).toMatchObject({ ...first, replayed: true });
    expect(bodyIn(first)).toMatchObject({ state: "paid", reference: "tr_1", amountMinor: 300 });
    // Whoever hears it finds the money moved.
    expect(await standing(tenant)).toEqual(PAID);
    expect(effectsIn(upstream)).toBe(1);
    const row = await rowOf(call);
    expect(row).toMatchObject({ state: "final", status: 201, refusal: null });
    expect(row?.body).toBe(first.kind === "answer" ? first.text : "");
    // A processor is never told the client's own key, nor anything that another try would say otherwise.
    const [sent] = upstream.requests;
    expect(sent?.headers.get("idempotency-key")).toMatch(/^[\w-]{43}$/);
    expect(sent?.headers.get("authorization")).toBe("Bearer processor-token");
    expect(JSON.parse(new TextDecoder().decode(sent?.body))).toEqual({
      amount: 300,
      currency: "EUR",
      destination: "DE00",
      reference: sent?.headers.get("idempotency-key"),
    });
  });

  it.each([
    ["sent again where its processor runs a key once", HONOURS, "request-in-flight", PAID],
    ["asked for where its processor can be asked", ASKED_LATER, "outcome-uncertain", PAID],
    ["left alone where neither is so", POLICY, "outcome-uncertain", HELD],
  ] as const)(
    "76: stuck between what it holds and what became of it, and taken up again, it is %s: once",
    async (_, terms, stands, after) => {
      const upstream = processor();
      upstream.honoursKeys = terms === HONOURS;
      upstream.faults.push("reset-after");
      const object = incarnation({ upstream, processor: terms });
      const tenant = await books();
      const call = payout(tenant);
      expect(verdict(await object.exchange(call))).toBe(stands);
      await object.settled();
      expect(await standing(tenant)).toEqual(HELD);

      await object.run((engine) =>
        Promise.all([engine.redrive(call.key, "operator"), engine.redrive(call.key, "operator")]),
      );
      await object.settled();

      expect(await standing(tenant)).toEqual(after);
      expect(effectsIn(upstream)).toBe(1);
      expect(verdict(await object.exchange(call))).toBe(after === PAID ? 201 : "outcome-uncertain");
    },
  );

  it("is replayed from the journal alone by an object that knows nothing of it", async () => {
    const upstream = processor();
    const call = payout(await books());
    const first = await incarnation({ upstream }).exchange(call);

    expect(await incarnation({ upstream }).exchange(call)).toEqual({ ...first, replayed: true });
    expect(effectsIn(upstream)).toBe(1);
  });

  it("24: one key of two tenants is two payouts, also to a processor that runs keys once", async () => {
    const upstream = processor();
    upstream.honoursKeys = true;
    const [north, south] = [payout(await books()), payout(await books())];
    const object = incarnation({ upstream });
    await object.exchange(north);
    await incarnation({ upstream }).exchange({ ...south, key: north.key });
    expect(new Set(upstream.effects.keys()).size).toBe(2);
  });

  it("62: that is not covered is a stored refusal: nothing is held, and nobody is called", async () => {
    const upstream = processor();
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant, { amountMinor: 1_001 });

    const first = await object.exchange(call);

    expect(first).toMatchObject({ status: 402, replayed: false });
    expect(bodyIn(first)).toMatchObject({ code: "insufficient-funds" });
    expect(await object.exchange(call)).toEqual({ ...first, replayed: true });
    expect(upstream.calls).toBe(0);
    expect(await standing(tenant)).toEqual(UNTOUCHED);
  });

  it("62: that was refused is so for every retry, however many come at once: none hears that it is in flight", async () => {
    const upstream = processor();
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant, { amountMinor: 1_001 });
    const first = await object.exchange(call);

    const retries = await Promise.all(Array.from({ length: 5 }, async () => object.exchange(call)));

    expect(retries).toEqual(Array.from({ length: 5 }, () => ({ ...first, replayed: true })));
    expect(upstream.calls).toBe(0);
  });

  it("61: that is not valid, or has no processor, consumes no key", async () => {
    const upstream = processor();
    const tenant = await books();
    const call = payout(tenant, { amountMinor: -1 });
    expect(verdict(await incarnation({ upstream }).exchange(call))).toBe("request-invalid");
    const valid = payout(tenant);
    const without = incarnation({ upstream, processor: null });
    expect(verdict(await without.exchange(valid))).toBe("temporarily-unavailable");
    for (const { key } of [call, valid]) expect(await rowOf({ ...call, key })).toBeNull();
    expect(await standing(tenant)).toEqual(UNTOUCHED);
  });

  it("12: another amount under the key is 422, while it is held and after", async () => {
    const upstream = processor();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);
    const other = payout(tenant, { amountMinor: 1 }, call.key);
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    expect(await object.exchange(other)).toMatchObject({
      code: "idempotency-key-reused",
      members: { mismatched: ["amountMinor"] },
    });
    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    expect(await standing(tenant)).toEqual(HELD);
    upstream.release();
    await first;
    expect(verdict(await object.exchange(other))).toBe("idempotency-key-reused");
  });

  it("that the processor declines is a stored refusal, and the money is back when it is told", async () => {
    const upstream = processor();
    upstream.answer = () => Response.json({ error: "closed account" }, { status: 422 });
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);

    const first = await object.exchange(call);

    expect(first).toMatchObject({ status: 402, replayed: false });
    expect(bodyIn(first)).toMatchObject({ code: "payout-declined" });
    expect(await standing(tenant)).toEqual(RELEASED);
    expect(await object.exchange(call)).toEqual({ ...first, replayed: true });
    expect(await rowOf(call)).toMatchObject({ refusal: "payout-declined", status: 402 });
  });

  it("that the processor never took is free again, with the money back; the retry runs", async () => {
    const upstream = processor();
    upstream.faults.push(429);
    const heal = { attemptsMax: 0, elapsedMsMax: 0 };
    const object = incarnation({ upstream, processor: { ...POLICY, heal } });
    const tenant = await books();
    const call = payout(tenant);
    expect(verdict(await object.exchange(call))).toBe("temporarily-unavailable");
    expect(await rowOf(call)).toBeNull();
    expect(await standing(tenant)).toEqual(RELEASED);

    expect(verdict(await object.exchange(call))).toBe(201);
    expect(await standing(tenant)).toEqual({ ...PAID, payouts: ["paid", "released"] });
    const keys = upstream.requests.map(({ headers }) => headers.get("idempotency-key"));
    expect(new Set(keys).size).toBe(1);
  });

  it("76: whose processor does not answer is healed with the same key where that runs once", async () => {
    const upstream = processor();
    upstream.honoursKeys = true;
    upstream.faults.push("reset-after");
    const object = incarnation({ upstream, processor: HONOURS });
    const tenant = await books();
    const call = payout(tenant);
    expect(verdict(await object.exchange(call))).toBe("request-in-flight");
    expect(await standing(tenant)).toEqual(HELD);
    await object.nextAlarm();
    expect(verdict(await object.exchange(call))).toBe(201);
    expect(effectsIn(upstream)).toBe(1);
    expect(await standing(tenant)).toEqual(PAID);
  });

  it("77: is asked about where the processor can be, and settled by what it says", async () => {
    const upstream = processor();
    upstream.faults.push("reset-after");
    const object = incarnation({ upstream, processor: { ...POLICY, status: ASKABLE } });
    const tenant = await books();
    const call = payout(tenant);
    await object.exchange(call);
    object.time.advance(PAUSE_MS);
    expect(verdict(await object.exchange(call))).toBe(201);
    expect(effectsIn(upstream)).toBe(1);
    expect(await standing(tenant)).toEqual(PAID);
  });

  it("76: that may have been sent is uncertain, and stays held, until a person says what happened", async () => {
    const said = [
      ["executed", 200, '{"id":"tr_9"}', 201, PAID],
      ["executed", 402, "", 402, RELEASED],
      ["not-executed", null, "", null, RELEASED],
    ] as const;
    for (const [kind, status, text, heard, money] of said) {
      const upstream = processor();
      upstream.faults.push("reset-after");
      const object = incarnation({ upstream });
      const tenant = await books();
      const call = payout(tenant);
      expect(verdict(await object.exchange(call))).toBe("outcome-uncertain");
      await object.settled();
      expect(await standing(tenant)).toEqual(HELD);
      expect(await rowOf(call)).toMatchObject({ state: "uncertain" });

      const record = {
        status,
        digest: kind + String(status),
        reason: "asked",
        by: "test",
        atMs: 1,
      };
      const body = new TextEncoder().encode(text);
      const resolution = {
        outcome:
          kind === "executed"
            ? { kind, status: status ?? 0, headers: [], body, link: null }
            : { kind },
        record: { ...record, outcome: kind },
      } as const;
      const resolve = () => object.run((engine) => engine.resolve(tenant, call.key, resolution));
      expect(await resolve()).toEqual({ kind: "resolved" });
      expect(await standing(tenant)).toEqual(money);
      expect(await resolve()).toEqual({ kind: "resolved" });
      expect(await standing(tenant)).toEqual(money);
      expect(effectsIn(upstream)).toBe(1);
      // Free, it runs; else it is replayed.
      expect((await rowOf(call))?.state).toBe(heard === null ? undefined : "final");
      expect(verdict(await object.exchange(call))).toBe(heard ?? 201);
    }
  });
});

/** Until the claim has committed, whoever is told. */
const claimed = async (call: OperationCall): Promise<void> => {
  while ((await rowOf(call)) === null) await scheduler.wait(2);
};

describe("a payout that is interrupted", () => {
  it("54: a database that is away at the claim: nothing is held, nobody is called", async () => {
    const upstream = processor();
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);
    object.db.always("lost-before", "none");
    const heard = await object.time.passing(object.exchange(call));
    expect(["temporarily-unavailable", "outcome-unknown-yet"]).toContain(verdict(heard));
    object.db.heal();
    expect(upstream.calls).toBe(0);
    expect(await standing(tenant)).toEqual(UNTOUCHED);
  });

  it("53: that could not be recorded gives back what it held, and sends nothing", async () => {
    const upstream = processor();
    const storage = new FaultyStorage();
    const object = incarnation({ upstream, storage: storage.around });
    const tenant = await books();
    const call = payout(tenant);
    const claim = object.db.hold();
    const first = object.exchange(call);
    await claim.arrived();
    storage.broken = true;
    claim.release();
    expect(verdict(await first)).toBe("temporarily-unavailable");
    expect(upstream.calls).toBe(0);
    expect(await rowOf(call)).toBeNull();
    expect(await standing(tenant)).toEqual(RELEASED);
    storage.broken = false;
    expect(verdict(await object.exchange(call))).toBe(201);
    expect(await standing(tenant)).toEqual({ ...PAID, payouts: ["paid", "released"] });
  });

  it("42: that was held and never called for is taken over as it was held, and called once", async () => {
    const upstream = processor();
    const storage = new FaultyStorage();
    const zombie = incarnation({ upstream, storage: storage.around });
    const tenant = await books();
    const call = payout(tenant);
    const claim = zombie.db.hold();
    const first = zombie.exchange(call);
    await claim.arrived();
    // From here on it is replaced: neither its storage nor its database answers it, and it does not know.
    storage.broken = true;
    claim.release("stalled-after");
    await claimed(call);

    const next = incarnation({ upstream, object: zombie.object, time: zombie.time });
    expect(await next.exchange(call)).toMatchObject({ status: 201 });
    expect(await standing(tenant)).toEqual(PAID);
    zombie.db.endStalls();
    await zombie.time.passing(first);
    expect(effectsIn(upstream)).toBe(1);
    expect(await standing(tenant)).toEqual(PAID);
  });

  it("57: that was held and never called for, and whose client is gone, is given back by the hourly pass", async () => {
    const upstream = processor();
    const storage = new FaultyStorage();
    const gone = incarnation({ upstream, storage: storage.around });
    const tenant = await books();
    const call = payout(tenant);
    const claim = gone.db.hold();
    const first = gone.exchange(call);
    await claim.arrived();
    storage.broken = true;
    claim.release("stalled-after");
    await claimed(call);
    expect(await standing(tenant)).toEqual(HELD);

    const next = incarnation({ upstream, object: gone.object, time: gone.time });
    gone.time.advance(11 * 60 * 1000);
    await next.run((engine) => engine.recover(tenant, call.key, gone.object));
    await next.run((engine) => engine.recover(tenant, call.key, gone.object));
    expect(await rowOf(call)).toBeNull();
    expect(await standing(tenant)).toEqual(RELEASED);
    gone.db.endStalls();
    await gone.time.passing(first);
    expect(upstream.calls).toBe(0);
    expect(await standing(tenant)).toEqual(RELEASED);
  });

  it("54: a database that is away at the end: the outcome is told, and settled by the alarm, once", async () => {
    const upstream = processor();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    object.db.next("lost-before");
    upstream.release();
    expect(verdict(await object.time.passing(first))).toBe(201);
    expect(await standing(tenant)).toEqual(HELD);
    expect(verdict(await object.exchange(call))).toBe(201);
    await object.nextAlarm();
    expect(await standing(tenant)).toEqual(PAID);
    expect(await rowOf(call)).toMatchObject({ state: "final" });
  });

  it.each([
    ["paid", 201, PAID, () => Response.json({ id: "tr_1", state: "paid" })],
    ["declined", 402, RELEASED, () => Response.json({}, { status: 422 })],
  ] as const)(
    "54: that was %s ended when its processor said so, however late it is settled",
    async (_, status, end, answer) => {
      const upstream = new Upstream();
      upstream.answer = answer;
      upstream.faults.push("hang");
      const object = incarnation({ upstream });
      const tenant = await books();
      const first = object.exchange(payout(tenant));
      await until(() => upstream.calls === 1);
      object.db.next("lost-before");
      const saidAtMs = object.time.nowMs;
      upstream.release();
      const told = await object.time.passing(first);
      expect(verdict(told)).toBe(status);

      await object.nextAlarm();

      expect(object.time.nowMs).toBeGreaterThan(saidAtMs);
      expect(await standing(tenant)).toEqual(end);
      const endedAtMs = await env.DB.prepare("SELECT ended_at_ms FROM payouts WHERE tenant = ?")
        .bind(tenant)
        .first("ended_at_ms");
      expect(endedAtMs).toBe(saidAtMs);
      const endedAt = new Date(saidAtMs).toISOString();
      expect(bodyIn(told)["endedAt"]).toBe(status === 201 ? endedAt : undefined);
    },
  );

  it("45: an alarm that was lost, though storage says that it is set, is set anew by the next write", async () => {
    const upstream = processor();
    const storage = new FaultyStorage();
    storage.lostAlarmAtMs = Date.now() - 60_000;
    const object = incarnation({ upstream, storage: storage.around });
    const tenant = await books();
    expect(verdict(await object.exchange(payout(tenant)))).toBe(201);
    expect(storage.lostAlarmAtMs).toBeUndefined();
    expect(await object.alarmAtMs()).not.toBeNull();
  });

  it("51b: a settlement that is delivered twice, or whose answer is lost, moves the money once", async () => {
    for (const fault of ["lost-after", "twice"] as const) {
      const upstream = processor();
      upstream.faults.push("hang");
      const object = incarnation({ upstream });
      const tenant = await books();
      const call = payout(tenant);
      const first = object.exchange(call);
      await until(() => upstream.calls === 1);
      object.db.next(fault);
      upstream.release();
      expect(verdict(await object.time.passing(first))).toBe(201);
      object.time.advance(60_000);
      await object.alarm();
      expect(await standing(tenant)).toEqual(PAID);
    }
  });

  it("48: a person's word and a late answer of the processor: the first settles, the other changes nothing", async () => {
    const upstream = processor();
    upstream.faults.push("hang");
    const zombie = incarnation({ upstream });
    const tenant = await books();
    const call = payout(tenant);
    const late = zombie.exchange(call);
    await until(() => upstream.calls === 1);
    const next = incarnation({ upstream, object: zombie.object, time: zombie.time });
    expect(verdict(await next.exchange(call))).toBe("outcome-uncertain");
    const resolution = {
      outcome: {
        kind: "executed",
        status: 422,
        headers: [],
        body: new TextEncoder().encode("{}"),
        link: null,
      },
      record: {
        outcome: "executed",
        status: 422,
        digest: "d",
        reason: "asked",
        by: "test",
        atMs: 1,
      },
    } as const;
    expect(await next.run((engine) => engine.resolve(tenant, call.key, resolution))).toEqual({
      kind: "resolved",
    });
    upstream.release();
    expect(verdict(await late)).toBe(402);
    await next.settled();
    expect(verdict(await next.exchange(call))).toBe(402);
    expect(await standing(tenant)).toEqual(RELEASED);
  });

  it("52: a settlement that the database refuses keeps no neighbour waiting, and stays held and known", async () => {
    const upstream = processor();
    const object = incarnation({ upstream });
    const tenant = await books();
    const spoilt = payout(tenant);
    const sound = payout(tenant, { amountMinor: 100 });
    upstream.faults.push("hang", "hang");
    const replies = [object.exchange(spoilt), object.exchange(sound)];
    await until(() => upstream.calls === 2);
    // Somebody has written to the books by hand.
    await env.DB.prepare(
      "UPDATE payouts SET state = 'paid', ended_at_ms = 1 WHERE tenant = ? AND key = ?",
    )
      .bind(tenant, spoilt.key)
      .run();
    upstream.release();
    for (const reply of replies) expect(verdict(await reply)).toBe(201);
    expect(await rowOf(sound)).toMatchObject({ state: "final" });
    expect(await rowOf(spoilt)).toMatchObject({ state: "in-flight" });
    expect(object.alerts).toContain("exchanges-not-settled");
    expect(await balanceOf(tenant, "system:EUR:held")).toBe(300);
    expect(await balanceOf(tenant, "system:EUR:paid-out")).toBe(100);
  });
});

/** What one look at every page finds of a tenant: `kind subject`. */
const faultsFound = async (tenant: string): Promise<string[]> => {
  const { results } = await env.DB.prepare(
    "SELECT kind, subject FROM issues WHERE tenant = ? AND state = 'open' ORDER BY kind, subject",
  )
    .bind(tenant)
    .all<{ kind: string; subject: string }>();
  return results.map(({ kind, subject }) => `${kind} ${subject}`);
};

describe("the reconciliation", () => {
  it("reports nothing of payouts that are held, paid, declined or free again, and names each that does not fit", async () => {
    const upstream = processor();
    const heal = { attemptsMax: 0, elapsedMsMax: 0 };
    const object = incarnation({ upstream, processor: { ...POLICY, heal } });
    const tenant = await openBooks({ accounts: { alice: 10_000 } });
    const paid = payout(tenant);
    await object.exchange(paid);
    upstream.faults.push(429);
    await object.exchange(payout(tenant));
    upstream.answer = () => Response.json({ error: "closed account" }, { status: 422 });
    await object.exchange(payout(tenant));
    upstream.faults.push("reset-after");
    const uncertain = await object.exchange(payout(tenant));
    expect(verdict(uncertain)).toBe("outcome-uncertain");
    await object.settled();
    const { results } = await env.DB.prepare(
      "SELECT id, state FROM payouts WHERE tenant = ? ORDER BY id",
    )
      .bind(tenant)
      .all<{ id: string; state: string }>();
    expect(results.map(({ state }) => state).toSorted()).toEqual([
      "held",
      "paid",
      "released",
      "released",
    ]);
    const idOf = (state: string): string => results.find((row) => row.state === state)?.id ?? "";
    const run = () =>
      reconcile({ db: env.DB, checks: CHECKS, steps: 1_000, nowMs: object.time.clock() });

    await run();
    expect(await faultsFound(tenant)).toEqual([expect.stringMatching(/^outcome-uncertain /)]);

    await corrupt(
      `UPDATE payouts SET state = 'released', ended_at_ms = 1 WHERE id = '${idOf("held")}'`,
      `DELETE FROM journal WHERE tenant = '${tenant}' AND key = '${paid.key}'`,
    );
    await run();
    expect(await faultsFound(tenant)).toEqual([
      `effect-without-key ${idOf("paid")}`,
      expect.stringMatching(/^outcome-uncertain /),
      `payout-differs-from-transfers ${idOf("held")}`,
    ]);
  });
});

describe("settlements that wait for more", () => {
  it.each([
    ["while they wait", false],
    ["while the batch before them is under way", true],
  ])("go at once when a caller comes to wait for one of them %s", async (_when, isUnderWay) => {
    // Time enough for others to come, which here ends only when somebody ends it.
    const runtimes = scheduler.wait.bind(scheduler);
    let gathering = 0;
    const wait = vi.spyOn(scheduler, "wait").mockImplementation((ms = 0, options) => {
      if (ms !== SETTLE_GATHER_MS) return runtimes(ms, options);
      gathering += 1;
      return new Promise((_resolve, reject) => {
        options?.signal?.addEventListener("abort", () => reject(new Error("aborted")));
      });
    });
    try {
      const upstream = processor();
      const object = incarnation({ upstream });
      const tenant = await books();
      const [first, second] = [exchangeCall(tenant), exchangeCall(tenant)];
      upstream.faults.push("hang");
      const answer = object.exchange(first);
      await until(() => upstream.calls === 1);
      const slow = object.db.hold();
      upstream.release();
      expect(verdict(await answer)).toBe(200);
      await slow.arrived();
      // Behind the batch that is under way.
      expect(verdict(await object.exchange(second))).toBe(200);
      if (!isUnderWay) {
        slow.release();
        await until(() => gathering > 0);
      }
      expect((await rowOf(second))?.state).toBe("in-flight");

      const waited = object.exchange(payout(tenant));
      await until(() => upstream.calls === 3);
      // Its outcome is stored, and it waits, or has been told already.
      await runtimes(20);
      slow.release();
      expect(verdict(await waited)).toBe(201);

      expect(await standing(tenant)).toEqual(PAID);
      expect((await rowOf(second))?.state).toBe("final");
    } finally {
      wait.mockRestore();
    }
  });
});
