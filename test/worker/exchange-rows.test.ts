/** What is kept of an exchange in the object: it stays due for what is owed, and older rows are still read. */
import { describe, expect, it } from "vitest";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import { Exchanges } from "../../src/objects/exchanges.ts";
import { dueAtMs, type Exchange } from "../../src/objects/exchange-record.ts";
import { seededRandom, until } from "../support/faulty-database.ts";
import { exchangeCall, tenantOf, useExchanges, verdict } from "./support/exchanges.ts";
import { Upstream } from "./support/upstream.ts";

const incarnation = useExchanges();

describe("an exchange that is settled twice at a time", () => {
  it("is still swept: an answer erased between the two is due for its expiry and its end", async () => {
    const upstream = new Upstream();
    upstream.faults.push("hang");
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    const slow = object.db.hold();
    upstream.release();
    expect(await first).toMatchObject({ status: 201 });
    await slow.arrived();

    const erased = await object.run((engine) => engine.erase(call.key, BY_SERVICE));
    expect(erased).toMatchObject({ kind: "erased" });
    const dueBefore = await object.run((_engine, state) =>
      new Exchanges(state.storage).nextDueAtMs(),
    );
    expect(dueBefore).toBeGreaterThan(0);
    slow.release();
    await object.settled();

    const due = await object.run((_engine, state) => new Exchanges(state.storage).nextDueAtMs());
    expect(due).toBe(dueBefore);
    object.time.advance(24 * 3_600_000);
    await object.alarm();
    await object.settled();
    expect(
      await object.run((_engine, state) => new Exchanges(state.storage).find(call.key)),
    ).toBeUndefined();
  });

  it("still tells who is to be told: a webhook that failed between the two is tried again", async () => {
    const upstream = new Upstream();
    let posts = 0;
    let isUp = false;
    const object = incarnation({
      upstream,
      parts: {
        secretNamed: () => `whsec_${btoa("0123456789abcdef0123456789abcdef")}`,
        post: () => {
          posts += 1;
          return Promise.resolve(new Response(null, { status: isUp ? 204 : 500 }));
        },
      },
    });
    const webhook = { url: "https://hooks.test/", secretName: "HOOK" };
    const call = exchangeCall(tenantOf(), { policy: { webhook } });
    upstream.faults.push("hang");
    const first = object.exchange(call);
    await until(() => upstream.calls === 1);
    // The database does not take the settlement at first.
    object.db.next("lost-before");
    upstream.release();
    expect(await first).toMatchObject({ status: 201 });
    await object.settled();
    expect(posts).toBe(1);

    // Later, a client that asks again has it settled; and so has the alarm, at the same time.
    object.time.advance(40_000);
    const slow = object.db.hold();
    expect(await object.exchange(call)).toMatchObject({ status: 201, replayed: true });
    await slow.arrived();
    await object.alarm();
    expect(posts).toBe(2);
    slow.release();
    await object.settled();

    isUp = true;
    for (let minute = 0; minute < 30; minute++) {
      object.time.advance(60_000);
      await object.alarm();
    }
    expect(posts).toBe(3);
  });
});

describe("an object whose table was made by the version before", () => {
  it("still replays what it stored, and calls nobody again", async () => {
    const upstream = new Upstream();
    const object = incarnation({ upstream });
    const call = exchangeCall(tenantOf());
    expect(await object.exchange(call)).toMatchObject({ status: 201 });
    await object.settled();
    // The same rows, as the version before has them: the record has all, and there are four columns.
    await object.run((_engine, { storage: { sql } }) => {
      sql.exec(
        "CREATE TABLE before (key TEXT PRIMARY KEY, due_at_ms INTEGER, record TEXT NOT NULL, bytes BLOB) WITHOUT ROWID",
      );
      sql.exec(
        "INSERT INTO before SELECT key, due_at_ms, json_set(record, '$.settling', NULL), bytes FROM exchanges",
      );
      sql.exec("DROP TABLE exchanges");
      sql.exec("ALTER TABLE before RENAME TO exchanges");
      sql.exec("CREATE INDEX exchanges_due ON exchanges (due_at_ms) WHERE due_at_ms IS NOT NULL");
    });
    const next = incarnation({ upstream, object: object.object, time: object.time });
    expect(await next.exchange(call)).toMatchObject({ status: 201, replayed: true });
    expect(verdict(await next.exchange(exchangeCall(call.tenant)))).toBe(201);
    expect(upstream.effectsOf(call.key)).toBe(1);
  });
});

describe("an answer of a service binding, whose Content-Length is whatever it says", () => {
  it.each([
    ["kept", 3, "answer", 201],
    ["passed on once, as larger than what is kept", 9, "stream", "response-not-stored"],
  ] as const)(
    "is %s by what came, in no row larger than the platform takes",
    async (_name, mebibytes, kind, replay) => {
      const upstream = new Upstream();
      const bytes = new Uint8Array(mebibytes * 1024 * 1024).fill(7);
      upstream.answer = () =>
        new Response(bytes, { status: 201, headers: { "content-length": "5" } });
      const object = incarnation({ upstream });
      const call = exchangeCall(tenantOf());
      const first = await object.exchange(call);
      expect(first).toMatchObject({ kind, status: 201 });
      expect(verdict(await object.exchange(call))).toBe(replay);
      expect(upstream.effectsOf(call.key)).toBe(1);
      const largest = await object.run(
        (_engine, { storage: { sql } }) =>
          sql
            .exec<{ size: number }>("SELECT COALESCE(MAX(LENGTH(bytes)), 0) AS size FROM exchanges")
            .one().size,
      );
      // A row may have 2 MB.
      expect(largest).toBeLessThan(2_000_000);
    },
  );
});

describe("rows that several hold at once", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "lose no change, and are due for what they say, in any order of changes (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const object = incarnation({ upstream: new Upstream() });
      const call = exchangeCall(tenantOf());
      expect(await object.exchange(call)).toMatchObject({ status: 201 });
      await object.settled();
      const found = await object.run((_engine, { storage }) => {
        const rows = new Exchanges(storage);
        const first = rows.find(call.key);
        if (first === undefined) throw new Error("It is gone.");
        const held: Exchange[] = [first];
        const any = () => held[Math.floor(random() * held.length)] ?? first;
        let changes = 0;
        const wrong: string[] = [];
        for (let step = 0; step < 400; step++) {
          const drawn = random();
          if (drawn < 0.3) {
            const now = rows.find(call.key);
            if (now !== undefined) held.push(now);
          } else if (drawn < 0.5) {
            // As the alarm does, or as a resolution does.
            const next = rows.update(any(), (now) => ({
              exchange: { ...now, settling: { tries: step, dueAtMs: 1_000_000 + step } },
            }));
            if (next !== undefined) held.push(next);
          } else if (drawn < 0.75) {
            const next = rows.update(any(), (now) => ({
              exchange: {
                ...now,
                unstored: { bytes: (now.unstored?.bytes ?? 0) + 1, sha256: "" },
                telling: random() < 0.5 ? null : { tries: step, dueAtMs: 2_000_000 + step },
              },
            }));
            if (next !== undefined) {
              changes += 1;
              held.push(next);
            }
          } else {
            rows.settled([any()]);
          }
          const now = rows.find(call.key);
          if (now === undefined) throw new Error("It is gone.");
          if ((now.unstored?.bytes ?? 0) !== changes) wrong.push(`${step}: a change is lost`);
          if (rows.nextDueAtMs() !== (dueAtMs(now) ?? undefined)) wrong.push(`${step}: due`);
        }
        return wrong;
      });
      expect(found.slice(0, 3)).toEqual([]);
    },
  );
});

describe("what an object remembers of an answer", () => {
  /** A settled exchange, and its rows as one life of the object has them; `statements` counts what they ask storage. */
  const remembering =
    (
      work: (parts: {
        readonly key: string;
        readonly rows: Exchanges;
        /** As another life reads it. */
        readonly stored: () => { exchange: Exchange | undefined; bytes: Uint8Array };
        readonly statements: () => number;
      }) => void,
    ) =>
    async (): Promise<void> => {
      const object = incarnation({ upstream: new Upstream() });
      const call = exchangeCall(tenantOf());
      expect(await object.exchange(call)).toMatchObject({ status: 201 });
      await object.settled();
      await object.run((_engine, { storage }) => {
        let statements = 0;
        const sql: Pick<SqlStorage, "exec"> = {
          exec: (...asked) => {
            statements += 1;
            return storage.sql.exec(...asked);
          },
        };
        const rows = new Exchanges({
          sql: sql as SqlStorage,
          transactionSync: (change) => storage.transactionSync(change),
        });
        const another = new Exchanges(storage);
        work({
          key: call.key,
          rows,
          stored: () => ({ exchange: another.find(call.key), bytes: another.bytes(call.key) }),
          statements: () => statements,
        });
      });
    };

  it(
    "is read once, and then told without asking storage",
    remembering(({ key, rows, stored, statements }) => {
      const first = rows.findWithAnswer(key);
      const read = statements();
      const second = rows.findWithAnswer(key);
      if (first === undefined || second === undefined) throw new Error("It is gone.");
      expect(rows.answerOf(second)).toEqual(stored().bytes);
      expect(second).toEqual(first);
      expect(statements()).toBe(read);
    }),
  );

  it(
    "is forgotten with the storage",
    remembering(({ key, rows, stored }) => {
      expect(rows.findWithAnswer(key)).toEqual(stored().exchange);
      rows.storageGone();
      expect(rows.findWithAnswer(key)).toBeUndefined();
    }),
  );

  it.each([1, 2, 3, 4])("is what is stored, whatever was done to the row (seed %i)", (seed) =>
    remembering(({ key, rows, stored }) => {
      const random = seededRandom(seed);
      const before = rows.findWithAnswer(key);
      if (before === undefined) throw new Error("It is gone.");
      const answer = rows.answerOf(before);
      const changes: readonly (() => void)[] = [
        () => rows.settleAnew(key, 5),
        () => rows.settled([rows.find(key) ?? before]),
        () => rows.strip(rows.find(key) ?? before, random() < 0.5 ? "erased" : "expired"),
        () => rows.update(before, (now) => ({ exchange: { ...now, link: `/${random()}` } })),
        () =>
          rows.update(before, (now) => ({
            exchange: { ...now, left: "whole", answer: before.answer },
            bytes: answer,
          })),
        () => rows.remove(rows.find(key) ?? before),
        () => rows.add(before, answer),
      ];
      for (let step = 0; step < 300; step++) {
        const change = Math.floor(random() * changes.length);
        changes[change]?.();
        if (random() < 0.5) rows.findWithAnswer(key);
        const remembered = rows.findWithAnswer(key);
        const { exchange, bytes } = stored();
        expect([step, change, remembered]).toEqual([step, change, exchange]);
        const told = remembered === undefined ? new Uint8Array(0) : rows.answerOf(remembered);
        expect(told).toEqual(bytes);
      }
    })(),
  );
});
