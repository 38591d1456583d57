/**
 * A batch whose answer was lost, delayed or repeated. Every guarantee is asked of three kinds of effect: a row with
 * an id of its own, a row whose trigger changes another, and a bare UPDATE, where nothing but the claim stands in
 * the way of a second application. Each call changes a number by one, so that number counts the effects.
 */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  ABSENCE_UNKNOWN_MS,
  BATCH_LIFE_MS,
  COMMIT_BUDGET_MS,
  SEND_TIMEOUT_MS,
} from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import { operations } from "../../src/operations/registry.ts";
import type { BatchFault } from "../support/faulty-database.ts";
import { balanceOf, expectSoundBooks, journalRow, openBooks, quantityOf } from "./support/books.ts";
import {
  bodyOf,
  callOf,
  payment,
  refund,
  idIn,
  stockChange,
  tally,
  verdict,
} from "./support/calls.ts";
import { customOperations, restock } from "./support/custom-operations.ts";
import { type EngineOptions, type Incarnation, useEngines } from "./support/engines.ts";
import { VirtualTime } from "./support/virtual-time.ts";

const incarnation = useEngines();

type Kind = {
  readonly name: string;
  readonly call: (tenant: string, key?: string) => KeyCall;
  readonly effects: (tenant: string) => Promise<number | null>;
  readonly status: number;
};

const keyed = (key: string | undefined) => (key === undefined ? {} : { key });

const kinds: readonly Kind[] = [
  {
    name: "a payment",
    call: (tenant, key) => payment(tenant, "alice", "bob", 1, keyed(key)),
    effects: (tenant) => balanceOf(tenant, "bob"),
    status: 201,
  },
  {
    name: "a stock change",
    call: (tenant, key) => stockChange(tenant, "mug", 1, keyed(key)),
    effects: (tenant) => quantityOf(tenant, "mug"),
    status: 200,
  },
  {
    name: "a bare update",
    call: (tenant, key) =>
      callOf(tenant, restock.name, { pieces: 1 }, { ...keyed(key), params: { sku: "mug" } }),
    effects: (tenant) => quantityOf(tenant, "mug"),
    status: 200,
  },
];

const books = () => openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 0 } });

const engine = (options: EngineOptions = {}): Incarnation =>
  incarnation({ ...options, operations: [...operations, ...customOperations] });

describe.each(kinds)("$name", ({ call: callFor, effects, status }) => {
  it.each<BatchFault>(["lost-after", "timed-out-after"])(
    "50: a commit whose answer is lost is found by its key and not sent again (%s)",
    async (fault) => {
      const tenant = await books();
      const one = engine();
      one.db.next(fault);
      const call = callFor(tenant);

      const first = await one.time.passing(one.submit(call));

      expect(first).toMatchObject({ kind: "outcome", replayed: false });
      expect(verdict(first)).toBe(status);
      expect(one.batches).toHaveLength(1);
      const retry = await one.submit(call);
      expect(retry).toMatchObject({ replayed: true });
      expect(bodyOf(retry)).toBe(bodyOf(first));
      expect(await effects(tenant)).toBe(1);
    },
  );

  it.each<BatchFault>(["lost-before", "timed-out-before", "overloaded"])(
    "51: a batch that is lost before its commit is sent again within the budget (%s)",
    async (fault) => {
      const tenant = await books();
      const one = engine();
      one.db.next(fault, fault);
      const call = callFor(tenant);

      const first = await one.time.passing(one.submit(call));

      expect(verdict(first)).toBe(status);
      expect(await journalRow(tenant, call.key)).toMatchObject({ attempt: 3, deliveries: 1 });
      expect(bodyOf(await one.submit(call))).toBe(bodyOf(first));
      expect(await effects(tenant)).toBe(1);
    },
  );

  it("51: when the budget is spent the caller hears 503, and the same key runs once the database is back", async () => {
    const tenant = await books();
    const one = engine();
    one.db.always("lost-before", "none");
    const call = callFor(tenant);
    const startedAtMs = one.time.nowMs;

    const first = await one.time.passing(one.submit(call));

    expect(verdict(first)).toBe("outcome-unknown-yet");
    expect(one.time.nowMs - startedAtMs).toBeGreaterThanOrEqual(COMMIT_BUDGET_MS);
    expect(one.batches.length).toBeGreaterThan(1);
    expect(await effects(tenant)).toBe(0);
    one.db.heal();
    expect(verdict(await one.submit(call))).toBe(status);
    expect(await effects(tenant)).toBe(1);
  });

  it("51: a send that gets no answer at all is looked up, and sent again if it is not there", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("stalled-before");
    const reply = one.submit(callFor(tenant));
    await one.db.stalled(1);
    await one.advance(SEND_TIMEOUT_MS);

    expect(verdict(await one.time.passing(reply))).toBe(status);
    expect(one.batches).toHaveLength(2);
    expect(await effects(tenant)).toBe(1);
  });

  it("50: a send that commits and gets no answer at all is looked up, and not sent again", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("stalled-after");
    const reply = one.submit(callFor(tenant));
    await one.db.stalled(1);
    await one.advance(SEND_TIMEOUT_MS);

    expect(verdict(await one.time.passing(reply))).toBe(status);
    expect(one.batches).toHaveLength(1);
    expect(await effects(tenant)).toBe(1);
  });

  it("51a: a batch that is delivered after its re-send has committed changes nothing", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("late");
    const call = callFor(tenant);
    const first = await one.time.passing(one.submit(call));
    const row = await journalRow(tenant, call.key);

    expect(await one.db.deliverLate()).toBe(1);

    expect(verdict(first)).toBe(status);
    expect(await effects(tenant)).toBe(1);
    expect(await journalRow(tenant, call.key)).toEqual(row);
    expect(row).toMatchObject({ attempt: 2, deliveries: 1 });
    expect(bodyOf(await one.submit(call))).toBe(bodyOf(first));
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(first));
    await expectLedgerZero(tenant);
  });

  it("51a: two sends of one request carry different nonces, in the claim and in every effect", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("lost-before", "lost-before");
    const call = callFor(tenant);
    await one.time.passing(one.submit(call));

    const claims = one.batches.map(({ statements }) => statements[0]?.params ?? []);
    expect(claims).toHaveLength(3);
    const place = claims[0]?.findIndex(
      (value, i) => typeof value === "string" && value !== claims[1]?.[i],
    );
    expect(place, "of the one text that a re-send does not share with the first").not.toBe(-1);
    const nonces = claims.map((params) => params[place ?? -1]);
    expect(new Set(nonces).size).toBe(3);
    one.batches.forEach(({ statements }, i) => {
      for (const { params } of statements) {
        // The audit log's statement has all nonces of the group in one text.
        const texts = params.map(String);
        const named = nonces.filter((nonce) => texts.some((text) => text.includes(String(nonce))));
        expect(named).toEqual([nonces[i]]);
      }
    });
    // The ids of what is made, and all other texts, are the same for every send.
    const others = claims.map((params) =>
      params.filter((value, i) => typeof value === "string" && i !== place),
    );
    expect(others).toEqual([others[0], others[0], others[0]]);
  });

  it("51a: every one of many late sends finds a foreign claim", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("late", "late", "late");
    const call = callFor(tenant);
    const first = await one.time.passing(one.submit(call));

    expect(await one.db.deliverLate()).toBe(3);

    expect(await effects(tenant)).toBe(1);
    expect(await journalRow(tenant, call.key)).toMatchObject({ attempt: 4, deliveries: 1 });
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(first));
  });

  it("51a: a first send that commits while its re-send is on the way is the outcome, and the re-send changes nothing", async () => {
    const tenant = await books();
    const one = engine();
    const held = [one.db.hold(), one.db.hold()] as const;
    const call = callFor(tenant);
    const reply = one.time.passing(one.submit(call));
    await held[0].arrived();
    held[0].release("late");
    await held[1].arrived();
    await one.db.deliverLate();
    held[1].release();

    expect(verdict(await reply)).toBe(status);
    expect(await reply).toMatchObject({ replayed: false });
    expect(await effects(tenant)).toBe(1);
    expect(await journalRow(tenant, call.key)).toMatchObject({ attempt: 1, deliveries: 1 });
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(await reply));
  });

  it("51a: a batch that is delivered after its caller was told 503 is what the key then replays", async () => {
    const tenant = await books();
    const one = engine();
    one.db.always("late", "none");
    const call = callFor(tenant);
    expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");
    one.db.heal();
    expect(await one.lookUp(call)).toMatchObject({ state: "unknown-yet" });

    expect(await one.db.deliverLate()).toBeGreaterThan(1);

    expect(await one.lookUp(call)).toMatchObject({ state: "completed", attempts: 1 });
    const retry = await one.submit(call);
    expect(retry).toMatchObject({ kind: "outcome", replayed: true });
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(retry));
    expect(await effects(tenant)).toBe(1);
  });

  it("51a: a batch that is delivered after another request of the same key has run changes nothing", async () => {
    const tenant = await books();
    const one = engine();
    one.db.always("late", "none");
    const call = callFor(tenant);
    expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");
    one.db.heal();
    const retry = await one.submit(call);

    await one.db.deliverLate();

    expect(retry).toMatchObject({ kind: "outcome", replayed: false });
    expect(await effects(tenant)).toBe(1);
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(retry));
    await expectLedgerZero(tenant);
  });

  it.each<BatchFault>(["twice", "twice-lost", "twice-late"])(
    "51b: a batch that is delivered twice applies once (%s)",
    async (fault) => {
      const tenant = await books();
      const one = engine();
      one.db.next(fault);
      const call = callFor(tenant);

      const first = await one.time.passing(one.submit(call));
      await one.db.deliverLate();

      expect(verdict(first)).toBe(status);
      expect(one.batches).toHaveLength(1);
      expect(await effects(tenant)).toBe(1);
      expect(await journalRow(tenant, call.key)).toMatchObject({ attempt: 1, deliveries: 2 });
      expect(bodyOf(await one.submit(call))).toBe(bodyOf(first));
      expect(bodyOf(await engine().submit(call))).toBe(bodyOf(first));
      await expectLedgerZero(tenant);
    },
  );

  it("51b: a batch that is delivered twice, both times after its re-send has committed, changes nothing", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("late-twice");
    const call = callFor(tenant);
    const first = await one.time.passing(one.submit(call));
    const row = await journalRow(tenant, call.key);

    expect(await one.db.deliverLate()).toBe(2);

    expect(row).toMatchObject({ attempt: 2, deliveries: 1 });
    expect(await journalRow(tenant, call.key)).toEqual(row);
    expect(await effects(tenant)).toBe(1);
    expect(bodyOf(await engine().submit(call))).toBe(bodyOf(first));
    await expectLedgerZero(tenant);
  });

  it("51b: a group that is delivered again much later applies once", async () => {
    const tenant = await books();
    const one = engine();
    const calls = Array.from({ length: 10 }, () => callFor(tenant));
    one.db.always("twice-late", "none");
    const first = await one.submitAll(calls);
    one.db.heal();
    const more = callFor(tenant);
    await one.submit(more);

    expect(await one.db.deliverLate()).toBeGreaterThan(0);

    expect(await effects(tenant)).toBe(calls.length + 1);
    const retries = await engine().submitAll(calls);
    expect(retries.map(bodyOf)).toEqual(first.map(bodyOf));
  });

  it("51c: where the read that looks for the commit fails too, it is read again until it answers", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("lost-after");
    one.db.nextReads("lost", "overloaded", "lost");
    const call = callFor(tenant);

    const first = await one.time.passing(one.submit(call));

    expect(first).toMatchObject({ kind: "outcome", replayed: false });
    expect(one.batches).toHaveLength(1);
    expect(await effects(tenant)).toBe(1);
  });

  it.each<BatchFault>(["lost-before", "lost-after", "late"])(
    "51c: where no read answers within the budget nothing is denied: 503, and the retry gets the one outcome (%s)",
    async (fault) => {
      const tenant = await books();
      const one = engine();
      one.db.next(fault);
      one.db.always("none", "lost");
      const call = callFor(tenant);

      expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");
      expect(await one.lookUp(call)).toBe("unavailable");
      expect(one.batches).toHaveLength(1);

      one.db.heal();
      const retry = await one.submit(call);
      await one.db.deliverLate();
      expect(verdict(retry)).toBe(status);
      expect(await effects(tenant)).toBe(1);
      expect(bodyOf(await engine().submit(call))).toBe(bodyOf(retry));
    },
  );

  it("51c: where a key was taken, and by whom cannot be read, nothing is denied: 503, then the replay", async () => {
    const tenant = await books();
    const one = engine();
    const call = callFor(tenant);
    const elsewhere = await engine().submit(call);
    one.db.always("none", "lost");

    expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");

    one.db.heal();
    const retry = await one.submit(call);
    expect(retry).toMatchObject({ replayed: true });
    expect(bodyOf(retry)).toBe(bodyOf(elsewhere));
    expect(await effects(tenant)).toBe(1);
  });

  it("51d: a key that another incarnation has committed says nothing of its neighbours in a lost group", async () => {
    const tenant = await books();
    const one = engine();
    const other = engine();
    const filler = callFor(tenant);
    const calls = [callFor(tenant), callFor(tenant), callFor(tenant)];
    const [, shared = filler] = calls;
    const held = [one.db.hold(), one.db.hold()] as const;
    const leader = one.submit(filler);
    await held[0].arrived();
    const replies = one.time.passing(one.submitAll(calls));
    await one.quiet();
    held[0].release();
    await held[1].arrived();
    const elsewhere = await other.submit(shared);
    held[1].release("lost-before");

    expect(tally(await replies)).toEqual({ [status]: 3 });
    expect(verdict(await leader)).toBe(status);
    expect(claimsIn(one)).toEqual([1, 3, 2]);
    const [before, replayed, after] = await replies;
    expect([before, after]).toMatchObject([{ replayed: false }, { replayed: false }]);
    expect(replayed).toMatchObject({ replayed: true });
    expect(replayed === undefined ? "" : bodyOf(replayed)).toBe(bodyOf(elsewhere));
    expect(await effects(tenant)).toBe(4);
  });

  it("51d: of a group that commits unheard, a key with a foreign claim is judged by that claim", async () => {
    const tenant = await books();
    const one = engine();
    const other = engine();
    const filler = callFor(tenant);
    const mine = callFor(tenant);
    const contested = callFor(tenant);
    const foreign = stockChange(tenant, "mug", 9, { key: contested.key });
    const held = [one.db.hold(), one.db.hold()] as const;
    const leader = one.submit(filler);
    await held[0].arrived();
    const replies = one.time.passing(one.submitAll([mine, contested]));
    await one.quiet();
    held[0].release();
    await held[1].arrived();
    expect(verdict(await other.submit(foreign))).toBe(200);
    held[1].release("lost-after");

    const [ours, theirs] = await replies;
    expect(ours).toMatchObject({ kind: "outcome", replayed: false });
    expect(theirs).toMatchObject({ code: "idempotency-key-reused" });
    await leader;
    expect(one.batches).toHaveLength(2);
  });

  it("43: what fails after the commit is never run again: 503, then the replay", async () => {
    const tenant = await books();
    const one = engine();
    one.db.next("mangled");
    const call = callFor(tenant);

    expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");

    expect(one.alerts).toMatchObject([{ event: "group-abandoned" }]);
    const retry = await one.submit(call);
    expect(retry).toMatchObject({ kind: "outcome", replayed: true });
    expect(verdict(retry)).toBe(status);
    expect(await effects(tenant)).toBe(1);
  });
});

it("51b: a second delivery does not judge anew: what was refused stays refused", async () => {
  const tenant = await openBooks({ accounts: { alice: 0, bob: 0 } });
  const one = engine();
  one.db.next("twice-late");
  const call = payment(tenant, "alice", "bob", 60);
  const first = await one.submit(call);
  await one.submit(payment(tenant, "system:EUR", "alice", 100));

  await one.db.deliverLate();

  expect(verdict(first)).toBe(402);
  expect(await balanceOf(tenant, "bob")).toBe(0);
  expect(bodyOf(await engine().submit(call))).toBe(bodyOf(first));
  await expectSoundBooks(tenant);
});

it("51a: a late first send of an older plan changes nothing, though its facts hold again", async () => {
  const tenant = await openBooks({ accounts: { alice: 100, bob: 0 }, products: { mug: 0 } });
  const one = engine();
  const other = engine();
  const paid = await one.submit(payment(tenant, "alice", "bob", 100));
  const held = [one.db.hold(), one.db.hold()] as const;
  const reply = one.time.passing(one.submit(refund(tenant, idIn(paid))));
  await held[0].arrived();
  held[0].release("late");
  await held[1].arrived();
  // What is left changes between the two sends: the second is stale, and a third gives back the rest.
  expect(verdict(await other.submit(refund(tenant, idIn(paid), 30)))).toBe(201);
  held[1].release();
  expect(bodyOf(await reply)).toContain('"amountMinor":70');

  await one.db.deliverLate();

  expect(await balanceOf(tenant, "alice")).toBe(100);
  await expectSoundBooks(tenant);
});

it("absence is not evidence: a key that got no answer is not called free while its batch may yet commit", async () => {
  const tenant = await books();
  const one = engine();
  const call = payment(tenant, "alice", "bob", 1);
  // The object is old enough that only this request's own sends are in question.
  one.time.advance(ABSENCE_UNKNOWN_MS);
  one.db.always("late", "none");
  await one.run(() => undefined);
  one.time.advance(ABSENCE_UNKNOWN_MS);
  expect(await one.lookUp(call)).toEqual({ state: "free" });
  expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");

  expect(await one.lookUp(call)).toEqual({ state: "unknown-yet", afterMs: BATCH_LIFE_MS });
  one.time.advance(BATCH_LIFE_MS - 1);
  expect(await one.lookUp(call)).toEqual({ state: "unknown-yet", afterMs: 1 });
  one.time.advance(1);
  expect(await one.lookUp(call)).toEqual({ state: "free" });
});

it("absence is not evidence: what commits while the journal is read is not called free", async () => {
  const tenant = await books();
  let readMs = 0;
  const time = new VirtualTime(Date.now());
  const readFault = () => {
    time.advance(readMs);
    return "none" as const;
  };
  const one = engine({ time, faults: { readFault } });
  const call = payment(tenant, "alice", "bob", 1);
  await one.run(() => undefined);
  time.advance(ABSENCE_UNKNOWN_MS);
  one.db.always("late", "none");
  expect(verdict(await time.passing(one.submit(call)))).toBe("outcome-unknown-yet");
  one.db.heal();
  time.advance(BATCH_LIFE_MS - 1);
  readMs = 1;

  // When it was read, a batch could still commit; when the answer is given, none can.
  expect(await one.lookUp(call)).toEqual({ state: "unknown-yet", afterMs: 1 });
  expect(await one.lookUp(call)).toEqual({ state: "free" });
});

/** How many claims each batch carried. */
const claimsIn = ({ batches }: Incarnation): number[] =>
  batches.map(
    ({ statements }) =>
      statements.filter(({ text }) => text.includes("INSERT INTO journal")).length,
  );

const expectLedgerZero = async (tenant: string): Promise<void> => {
  const sum = await env.DB.prepare("SELECT SUM(balance) AS sum FROM accounts WHERE tenant = ?")
    .bind(tenant)
    .first<number>("sum");
  expect(sum).toBe(0);
};
