/** What is found by reading the whole journal: lists of keys by state, and the slow pass for what lost its object. */
import { createScheduledController } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type JournalPlace,
  listRecords,
  type ListedState,
  sweepAfter,
} from "../../src/journal/journal.ts";
import { runSlowPass } from "../../src/journal/slow-pass.ts";
import {
  ORPHAN_AGE_MS,
  ORPHANS_PER_STEP_MAX,
  SLOW_PASS_ROWS,
  SLOW_PASS_STEPS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import worker from "../../src/worker.ts";
import { FaultyDatabase } from "../support/faulty-database.ts";
import { payment, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const NOW_S = 1_800_000_000;

type Row = {
  readonly tenant: string;
  readonly key: string;
  readonly state?: string;
  readonly expiresAtS?: number;
  readonly forgetAtS?: number;
};

/** Journal rows without an object, as one leaves them behind that lost its storage. */
const put = async (rows: readonly Row[]): Promise<void> => {
  await env.DB.prepare(
    `INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, attempt,
       state, created_at_ms, expires_at_s, forget_at_s, refusal, status, headers, body, link)
     SELECT value ->> 'tenant', value ->> 'key', 'payments.create', 1, 'print', NULL, 'lost', 'n', 1,
       value ->> 'state', 0, value ->> 'expiresAtS', value ->> 'forgetAtS', NULL, 201, value ->> 'headers', value ->> 'body', '/v1/x'
     FROM json_each(?)`,
  )
    .bind(
      JSON.stringify(
        rows.map((row) => ({
          state: "final",
          expiresAtS: NOW_S,
          forgetAtS: (row.expiresAtS ?? NOW_S) + TOMBSTONE_SECONDS,
          ...(row.state === undefined || row.state === "final"
            ? { headers: "{}", body: "private" }
            : {}),
          ...row,
        })),
      ),
    )
    .run();
};

const keyOf = (i: number): string => `key-${String(i).padStart(12, "0")}`;

const states = async (tenant: string): Promise<Record<string, string>> => {
  const { results } = await env.DB.prepare("SELECT key, state FROM journal WHERE tenant = ?")
    .bind(tenant)
    .all<{ key: string; state: string }>();
  return Object.fromEntries(results.map(({ key, state }) => [key, state]));
};

const countByState = async (): Promise<Record<string, number>> => {
  const { results } = await env.DB.prepare(
    "SELECT state, COUNT(*) AS n FROM journal GROUP BY state",
  ).all<{ state: string; n: number }>();
  return Object.fromEntries(results.map(({ state, n }) => [state, n]));
};

const place = async () =>
  env.DB.prepare("SELECT tenant, key FROM housekeeping WHERE pass = 'journal'").first();

beforeEach(async () => {
  await env.DB.batch([
    env.DB.prepare("DELETE FROM journal"),
    env.DB.prepare("DELETE FROM housekeeping"),
  ]);
});

describe("the slow pass", () => {
  const living = { tenant: "t", key: keyOf(1), expiresAtS: NOW_S + 1 };
  const mixed: Row[] = [
    living,
    { tenant: "t", key: keyOf(2) },
    { tenant: "t", key: keyOf(3), state: "erased" },
    { tenant: "t", key: keyOf(4), state: "erased", expiresAtS: NOW_S + 1 },
    { tenant: "t", key: keyOf(5), state: "expired" },
    { tenant: "t", key: keyOf(6), state: "expired", forgetAtS: NOW_S },
    { tenant: "t", key: keyOf(7), forgetAtS: NOW_S },
    { tenant: "t", key: keyOf(8), state: "in-flight", forgetAtS: NOW_S },
    { tenant: "t", key: keyOf(9), state: "uncertain", forgetAtS: NOW_S },
    { tenant: "u", key: keyOf(1) },
  ];
  const swept = {
    [keyOf(1)]: "final",
    [keyOf(2)]: "expired",
    [keyOf(3)]: "expired",
    [keyOf(4)]: "erased",
    [keyOf(5)]: "expired",
    [keyOf(8)]: "in-flight",
    [keyOf(9)]: "uncertain",
  };

  it("57: erases what has expired and forgets what is past its tombstone, of every tenant; what lives, runs or is uncertain is left alone", async () => {
    await put(mixed);

    await runSlowPass(env.DB, NOW_S);

    expect(await states("t")).toEqual(swept);
    expect(await states("u")).toEqual({ [keyOf(1)]: "expired" });
    const { results } = await env.DB.prepare(
      "SELECT body, headers, members, link FROM journal WHERE state = 'expired'",
    ).all();
    expect(results).toHaveLength(4);
    for (const row of results) {
      expect(row).toEqual({ body: null, headers: null, members: null, link: "/v1/x" });
    }
  });

  it("57: names the claims that have been in flight for long, and no young one: however many are under way, those are found", async () => {
    const last = ORPHANS_PER_STEP_MAX;
    await put(
      Array.from({ length: last + 1 }, (_, i) => ({
        tenant: "t",
        key: keyOf(i),
        state: "in-flight",
        expiresAtS: NOW_S + 1,
      })),
    );
    const [old, young] = [NOW_S * 1000 - ORPHAN_AGE_MS - 1, NOW_S * 1000 - ORPHAN_AGE_MS];
    await env.DB.prepare("UPDATE journal SET created_at_ms = CASE key WHEN ? THEN ? ELSE ? END")
      .bind(keyOf(last), old, young)
      .run();

    const { orphans } = await sweepAfter(env.DB, { tenant: "", key: "" }, 1_000, NOW_S);

    expect(orphans).toEqual([{ tenant: "t", key: keyOf(last), object: "lost" }]);
  });

  it("45: does no more when it is repeated", async () => {
    await put(mixed);
    await runSlowPass(env.DB, NOW_S);

    await Promise.all([runSlowPass(env.DB, NOW_S), runSlowPass(env.DB, NOW_S)]);

    expect(await states("t")).toEqual(swept);
  });

  it("56: judges by the whole second, as every reader does", async () => {
    await put([living]);
    await runSlowPass(env.DB, NOW_S);
    expect(await states("t")).toEqual({ [keyOf(1)]: "final" });
    await runSlowPass(env.DB, NOW_S + 1);
    expect(await states("t")).toEqual({ [keyOf(1)]: "expired" });
  });

  const sweepFrom = async (after: JournalPlace, limit: number) =>
    (await sweepAfter(env.DB, after, limit, NOW_S)).reached;

  it("goes in pages, and each leaves what lies behind it", async () => {
    await put(Array.from({ length: 7 }, (_, i) => ({ tenant: "t", key: keyOf(i) })));
    await put([{ tenant: "u", key: keyOf(0) }]);

    expect(await sweepFrom({ tenant: "", key: "" }, 3)).toEqual({ tenant: "t", key: keyOf(2) });
    expect(await countByState()).toEqual({ expired: 3, final: 5 });
    expect(await sweepFrom({ tenant: "t", key: keyOf(5) }, 2)).toEqual({
      tenant: "u",
      key: keyOf(0),
    });
    expect(await countByState()).toEqual({ expired: 5, final: 3 });
    expect(await sweepFrom({ tenant: "u", key: keyOf(0) }, 2)).toBeUndefined();
  });

  it("goes on behind the last row of a page that was full of what is forgotten", async () => {
    await put(
      Array.from({ length: 6 }, (_, i) => ({ tenant: "t", key: keyOf(i), forgetAtS: NOW_S })),
    );
    const reached = await sweepFrom({ tenant: "", key: "" }, 3);
    expect(reached).toEqual({ tenant: "t", key: keyOf(2) });
    expect(reached && (await sweepFrom(reached, 3))).toEqual({ tenant: "t", key: keyOf(5) });
    expect(await states("t")).toEqual({});
  });

  it("starts anew once it has come to the end", async () => {
    await put([living]);
    await runSlowPass(env.DB, NOW_S);
    expect(await place()).toEqual({ tenant: "", key: "" });
    await runSlowPass(env.DB, NOW_S + 1);
    expect(await states("t")).toEqual({ [keyOf(1)]: "expired" });
  });

  it("that D1 ends in the middle goes on where it stopped, and repeats one step at most", async () => {
    const count = SLOW_PASS_ROWS + 10;
    await put(Array.from({ length: count }, (_, i) => ({ tenant: "t", key: keyOf(i) })));
    const db = new FaultyDatabase(env.DB);
    db.next("none", "lost-before");

    await expect(runSlowPass(db, NOW_S)).rejects.toThrow("connection lost");

    expect(await countByState()).toEqual({ expired: SLOW_PASS_ROWS, final: 10 });
    expect(await place()).toEqual({ tenant: "t", key: keyOf(SLOW_PASS_ROWS - 1) });
    const { reads } = db;
    await runSlowPass(db, NOW_S);
    expect(await countByState()).toEqual({ expired: count });
    // Where it was, the end of its page, and where it is: the first page is not walked again.
    expect(db.reads - reads).toBe(3);
  });

  it("whose note of the place is lost repeats that step without harm", async () => {
    await put(mixed);
    const db = new FaultyDatabase(env.DB);
    db.nextReads("none", "none", "lost");

    await expect(runSlowPass(db, NOW_S)).rejects.toThrow("connection lost");
    expect(await states("t")).toEqual(swept);
    expect(await place()).toBeNull();

    await runSlowPass(db, NOW_S);
    expect(await states("t")).toEqual(swept);
  });

  it("of one run is bounded, and within what an invocation may ask of D1", () => {
    // The place, and of each step the end of its page, two statements and the place.
    expect(1 + 4 * SLOW_PASS_STEPS).toBeLessThan(1_000);
  });

  it("is what the schedule runs", async () => {
    await put([{ tenant: "t", key: keyOf(1), expiresAtS: 1, forgetAtS: 4_000_000_000 }]);

    await worker.scheduled(createScheduledController(), env);

    expect(await states("t")).toEqual({ [keyOf(1)]: "expired" });
  });

  it("57: goes on where an object does not answer for its claim: it is asked again by the next pass", async () => {
    const pages = Array.from({ length: SLOW_PASS_ROWS }, (_, i) => ({
      tenant: "t",
      key: keyOf(i),
      state: i === 0 ? "in-flight" : "uncertain",
    }));
    await put([...pages, { tenant: "u", key: keyOf(1), expiresAtS: 1, forgetAtS: 4_000_000_000 }]);
    const asked: string[] = [];
    const getByName = (name: string): never => {
      asked.push(name);
      throw new Error("away");
    };

    await worker.scheduled(createScheduledController(), {
      ...env,
      KEY_OBJECT: { getByName },
    } as unknown as typeof env);

    expect(asked).toEqual(["lost"]);
    expect(await states("u")).toEqual({ [keyOf(1)]: "expired" });
  });
});

describe("a list of keys by state", () => {
  const list = (
    state: ListedState,
    { after = "", limit = 100, scan = 100, nowS = NOW_S, tenant = "t" } = {},
  ) => listRecords(env.DB, tenant, state, { after, limit, scan, nowS });

  /** Every page, and how many there were. */
  const all = async (state: ListedState, options: { limit: number; scan: number }) => {
    const keys: string[] = [];
    let after: string | null = "";
    let pages = 0;
    while (after !== null) {
      const page = await list(state, { ...options, after });
      expect(page.entries.length).toBeLessThanOrEqual(options.limit);
      keys.push(...page.entries.map(({ key }) => key));
      after = page.next;
      pages += 1;
    }
    return { keys, pages };
  };

  it.each<[ListedState, number[]]>([
    ["completed", [1, 2]],
    ["expired", [3, 4, 5]],
    ["in-flight", [6]],
    ["uncertain", [7]],
  ])("%s has the keys that a look-up of each calls so, swept or not", async (state, expected) => {
    const living = { expiresAtS: NOW_S + 1 };
    await put([
      { tenant: "t", key: keyOf(1), ...living },
      { tenant: "t", key: keyOf(2), ...living, state: "erased" },
      { tenant: "t", key: keyOf(3) },
      { tenant: "t", key: keyOf(4), state: "erased" },
      { tenant: "t", key: keyOf(5), state: "expired" },
      { tenant: "t", key: keyOf(6), state: "in-flight" },
      { tenant: "t", key: keyOf(7), state: "uncertain" },
    ]);

    const { entries, next } = await list(state);

    expect(entries.map(({ key }) => key)).toEqual(expected.map(keyOf));
    expect(next).toBeNull();
  });

  it("24: has no other tenant's keys", async () => {
    await put([{ tenant: "u", key: keyOf(1), state: "uncertain" }]);
    expect(await list("uncertain")).toEqual({ entries: [], next: null });
    expect((await list("uncertain", { tenant: "u" })).entries).toHaveLength(1);
  });

  it.each([1, 2, 3, 7, 20, 21])(
    "in pages of %i has each key once, in order, and then no next",
    async (limit) => {
      await put(
        Array.from({ length: 40 }, (_, i) => ({
          tenant: "t",
          key: keyOf(i),
          state: i % 2 === 0 ? "uncertain" : "final",
        })),
      );
      const { keys } = await all("uncertain", { limit, scan: 100 });
      expect(keys).toEqual(Array.from({ length: 20 }, (_, i) => keyOf(2 * i)));
    },
  );

  it("whose state is rare looks at no more rows than it may: a page may be empty and yet have a next", async () => {
    await put(
      Array.from({ length: 95 }, (_, i) => ({
        tenant: "t",
        key: keyOf(i),
        state: i === 40 || i === 94 ? "uncertain" : "final",
      })),
    );

    expect(await list("uncertain", { scan: 10 })).toEqual({ entries: [], next: keyOf(9) });

    expect(await all("uncertain", { limit: 5, scan: 10 })).toEqual({
      keys: [keyOf(40), keyOf(94)],
      pages: 10,
    });
  });

  it("that ends with the last row it looks at has one more page, which is empty", async () => {
    await put(Array.from({ length: 10 }, (_, i) => ({ tenant: "t", key: keyOf(i) })));
    expect(await all("uncertain", { limit: 5, scan: 10 })).toEqual({ keys: [], pages: 2 });
  });
});

describe("81: records of another version", () => {
  it("81: a fingerprint of a version that this build does not know is neither replayed nor run, nor called another request's", async () => {
    const one = incarnation();
    const call = payment("t", "alice", "bob", 1);
    await put([{ tenant: "t", key: call.key, expiresAtS: Math.floor(one.time.nowMs / 1000) + 60 }]);
    await env.DB.prepare("UPDATE journal SET fingerprint_version = 2").run();

    for (const waitMs of [0, 1_000]) {
      expect(verdict(await one.submit({ ...call, waitMs }))).toBe("temporarily-unavailable");
    }
    expect(verdict(await incarnation().submit({ ...call, key: call.key }))).toBe(
      "temporarily-unavailable",
    );
    expect(await states("t")).toEqual({ [call.key]: "final" });
  });
});
