/** 69: the stored answer of a key is erased; the key stays used, and never runs again. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import {
  ABSENCE_UNKNOWN_MS,
  COPY_FAILURES_MAX,
  COPY_IDLE_MS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import {
  effectsByKey,
  expectSoundBooks,
  journalRow,
  journalSize,
  openBooks,
  quantityOf,
} from "./support/books.ts";
import { callOf, idIn, payment, verdict } from "./support/calls.ts";
import { restockBriefly } from "./support/custom-operations.ts";
import { type Incarnation, useEngines } from "./support/engines.ts";
import { FaultyStorage } from "./support/faulty-storage.ts";

const incarnation = useEngines();

const BY = { actor: "caller-hash", requestId: "request" };

const books = () => openBooks({ accounts: { alice: 100, bob: 0 } });

const paid = (tenant: string, amountMinor = 1, key = crypto.randomUUID()): KeyCall =>
  payment(tenant, "alice", "bob", amountMinor, { key });

const idle = (one: Incarnation): Promise<void> => one.advance(COPY_IDLE_MS);

/** The object's own copies, as text. */
const copiesOf = (one: Incarnation): Promise<string[]> =>
  one.run((_engine, { storage }) => {
    const exists = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'copies'").toArray();
    if (exists.length === 0) return [];
    return storage.sql
      .exec<{ copy: string }>("SELECT copy FROM copies")
      .toArray()
      .map(({ copy }) => copy);
  });

/** The state of the copy in the object's storage. */
const stateOfCopy = (one: Incarnation, { key }: KeyCall): Promise<string> =>
  one.run(
    (_engine, { storage }) =>
      storage.sql
        .exec<{ state: string }>(
          "SELECT json_extract(copy, '$.record.state') AS state FROM copies WHERE key = ?",
          key,
        )
        .one().state,
  );

describe("69: a key whose answer is erased", () => {
  it("69: puts off nothing that is due sooner, though this life of the object has not looked when that is", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);
    const { object, time } = one;
    const next = incarnation({ object, time });
    await next.run((_engine, { storage }) => storage.setAlarm(time.nowMs + 1));

    expect(await next.erase(call)).toMatchObject({ kind: "erased" });

    expect(await next.run((_engine, { storage }) => storage.getAlarm())).toBe(time.nowMs + 1);
  });

  it("69: answers 410 with a link to what it made, in this life of the object, the next, and another object", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    const id = idIn(await one.submit(call));
    await idle(one);
    const link = `/v1/payments/${id}`;

    expect(await one.erase(call)).toMatchObject({
      kind: "erased",
      object: one.object,
      record: { state: "erased", link, members: {} },
    });

    const { object, time } = one;
    const lives = [one, incarnation({ object, time }), incarnation({ time })];
    for (const life of lives) {
      for (const detached of [false, true]) {
        const reply = await life.submit({ ...call, detached, waitMs: detached ? 20_000 : 0 });
        if (reply.kind === "accepted") continue;
        expect(reply).toEqual({ kind: "problem", code: "outcome-erased", members: { link } });
      }
      expect(await life.lookUp(call)).toMatchObject({
        state: "completed",
        outcome: { status: 201, refusal: null },
        link,
      });
    }
    expect(await effectsByKey(tenant)).toEqual(new Map([[call.key, 1]]));
    await expectSoundBooks(tenant);
  });

  it("69: is no key for another request, and it is not said what differs", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await one.erase(call);

    for (const life of [one, incarnation()]) {
      expect(await life.submit(paid(tenant, 2, call.key))).toEqual({
        kind: "problem",
        code: "idempotency-key-reused",
        members: {},
      });
    }
    await expectSoundBooks(tenant);
  });

  it("69: leaves no byte of the answer, nor a hash of the request's members, in D1 or in the object", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = callOf(tenant, "payments.create", {
      source: "alice",
      destination: "bob",
      amountMinor: 1,
      currency: "EUR",
      description: "a private note",
    });
    await one.submit(call);
    await idle(one);
    expect(String(await copiesOf(one))).toContain("private");

    await one.erase(call);

    expect(await journalRow(tenant, call.key)).toMatchObject({
      state: "erased",
      headers: null,
      body: null,
      members: null,
    });
    const [copy, ...others] = await copiesOf(one);
    expect(others).toEqual([]);
    expect(JSON.parse(copy ?? "")).toMatchObject({ record: { state: "erased", members: {} } });
    expect(copy).not.toContain("private");
  });

  it("69: also when its copy was not written yet, or there is none", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);

    for (const life of [one, incarnation()]) {
      expect((await life.erase(call)).kind).toBe("erased");
      await idle(life);
      expect(verdict(await life.submit(call))).toBe("outcome-erased");
      for (const copy of await copiesOf(life)) expect(copy).not.toContain("response");
    }
  });

  it("69: can be erased again, and nothing changes", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);
    const once = await one.erase(call);
    const left = { row: await journalRow(tenant, call.key), copies: await copiesOf(one) };

    expect(await one.erase(call)).toEqual(once);
    const [first, second] = await one.run((engine) =>
      Promise.all([engine.erase(tenant, call.key, BY), engine.erase(tenant, call.key, BY)]),
    );

    expect([first, second]).toEqual([once, once]);
    expect({ row: await journalRow(tenant, call.key), copies: await copiesOf(one) }).toEqual(left);
  });

  it("69: expires and is forgotten like any other", async () => {
    const tenant = await openBooks({ products: { mug: 0 } });
    const one = incarnation({ operations: [restockBriefly] });
    const call = callOf(tenant, restockBriefly.name, { pieces: 1 }, { params: { sku: "mug" } });
    await one.submit(call);
    await one.erase(call);
    one.time.advance(60_000);

    const { time } = one;
    for (const life of [one, incarnation({ operations: [restockBriefly], time })]) {
      expect(await life.submit(call)).toMatchObject({
        code: "idempotency-key-expired",
        members: { link: "/v1/products/mug" },
      });
      expect(await life.lookUp(call)).toMatchObject({ state: "expired" });
    }
    await one.sweep();
    expect(await journalRow(tenant, call.key)).toMatchObject({ state: "expired" });
    // Erasing it now is too late to matter, and says so without harm.
    expect(await one.erase(call)).toMatchObject({ kind: "erased", record: { state: "expired" } });
    expect(verdict(await one.submit(call))).toBe("idempotency-key-expired");
    one.time.advance(TOMBSTONE_SECONDS * 1000);
    await one.sweep();
    expect(await journalSize(tenant)).toBe(0);
    expect(await copiesOf(one)).toEqual([]);
    expect(await quantityOf(tenant, "mug")).toBe(1);
  });
});

describe("69: an erasure", () => {
  it("69: of a key that was never used, or is another tenant's, finds nothing and makes nothing", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);
    const other = incarnation();

    expect(await other.erase(paid(tenant))).toMatchObject({ kind: "unknown-yet" });
    other.time.advance(ABSENCE_UNKNOWN_MS);
    expect(await other.erase(paid(tenant))).toEqual({ kind: "unknown-key" });
    expect(await other.erase({ ...call, tenant: await books() })).toEqual({ kind: "unknown-key" });

    expect(await copiesOf(other)).toEqual([]);
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
  });

  it("69: of a key that runs waits for its outcome to be there", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    const held = one.db.hold();
    const reply = one.submit(call);
    await held.arrived();

    expect(await one.erase(call)).toEqual({ kind: "in-flight" });

    held.release();
    expect(verdict(await reply)).toBe(201);
    expect((await one.erase(call)).kind).toBe("erased");
  });

  it.each(["in-flight", "uncertain"])(
    "69: of a record that is %s is none: nobody knows yet what to erase",
    async (state) => {
      const tenant = await books();
      const one = incarnation();
      const call = paid(tenant);
      await one.submit(call);
      await env.DB.prepare("UPDATE journal SET state = ? WHERE tenant = ?")
        .bind(state, tenant)
        .run();

      expect(await incarnation().erase(call)).toEqual({ kind: "in-flight" });

      expect(await journalRow(tenant, call.key)).toMatchObject({ state });
    },
  );

  it("69: that D1 does not answer, before it or after it, is not said to be done, and is done when repeated", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);

    one.db.next("lost-before");
    expect(await one.erase(call)).toEqual({ kind: "unavailable" });
    expect(await one.submit(call)).toMatchObject({ kind: "outcome", replayed: true });
    one.db.next("lost-after");
    expect(await one.erase(call)).toEqual({ kind: "unavailable" });
    expect(await journalRow(tenant, call.key)).toMatchObject({ state: "erased", body: null });

    expect((await one.erase(call)).kind).toBe("erased");
    expect(verdict(await one.submit(call))).toBe("outcome-erased");
    expect(String(await copiesOf(one))).not.toContain("response");
  });

  it.each([0, COPY_FAILURES_MAX - 1, COPY_FAILURES_MAX])(
    "69: after %i copies that could not be written is not done until the old copy is gone from storage",
    async (failures) => {
      const tenant = await books();
      const storage = new FaultyStorage();
      const one = incarnation({ storage: storage.around });
      const call = paid(tenant);
      await one.submit(call);
      await idle(one);
      storage.broken = true;
      for (let i = 0; i < failures; i++) {
        await one.submit(paid(tenant));
        await idle(one);
      }

      expect(await one.erase(call)).toEqual({ kind: "unavailable" });

      storage.broken = false;
      expect((await one.erase(call)).kind).toBe("erased");
      expect(await stateOfCopy(one, call)).toBe("erased");
      const { object, time } = one;
      expect(verdict(await incarnation({ object, time }).submit(call))).toBe("outcome-erased");
    },
  );

  it("69: stays erased when the answer of the run itself arrives after the erasure", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    const held = one.db.hold();
    const reply = one.submit(call);
    await held.arrived();
    // Another object has found the row and erased it; this one's answer is still on its way.
    const nowS = Math.floor(one.time.clock() / 1000);
    await one.run((engine) =>
      engine.eraseCopy(
        tenant,
        call.key,
        {
          state: "erased",
          fingerprintVersion: call.fingerprintVersion,
          fingerprint: call.fingerprint,
          members: {},
          expiresAtS: nowS + 3_600,
          link: null,
        },
        nowS + TOMBSTONE_SECONDS,
      ),
    );
    held.release();
    expect(verdict(await reply)).toBe(201);
    await idle(one);

    expect(verdict(await one.submit(call))).toBe("outcome-erased");
    expect(await stateOfCopy(one, call)).toBe("erased");
    expect(String(await copiesOf(one))).not.toContain("response");
  });

  it("69: two erasures at once, while storage fails, are both not done; repeated, they are", async () => {
    const tenant = await books();
    const storage = new FaultyStorage();
    const one = incarnation({ storage: storage.around });
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);
    const both = () =>
      one.run((engine) =>
        Promise.all([engine.erase(tenant, call.key, BY), engine.erase(tenant, call.key, BY)]),
      );
    storage.broken = true;
    expect((await both()).map(({ kind }) => kind)).toEqual(["unavailable", "unavailable"]);
    storage.broken = false;
    expect((await both()).map(({ kind }) => kind)).toEqual(["erased", "erased"]);
    expect(await stateOfCopy(one, call)).toBe("erased");
    expect(verdict(await one.submit(call))).toBe("outcome-erased");
  });

  it("69: is done though other keys come to their outcomes meanwhile", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = paid(tenant);
    await one.submit(call);
    await idle(one);
    const others = Array.from({ length: 30 }, () => paid(tenant));

    const [erasure] = await one.run((engine) =>
      Promise.all([
        engine.erase(tenant, call.key, BY),
        ...others.map((other) => engine.submit({ ...other, object: one.object })),
      ]),
    );

    expect(erasure).toMatchObject({ kind: "erased" });
    expect(verdict(await one.submit(call))).toBe("outcome-erased");
    await expectSoundBooks(tenant);
  });
});
