import { beforeEach, describe, expect, it } from "vitest";
import { batchOf } from "../../../src/journal/group-statements.ts";
import { type Send, statementsOf } from "../../../src/journal/statements.ts";
import type { Submission } from "../../../src/journal/submission.ts";
import { exists, type Plan, require } from "../../../src/kernel/plan.ts";
import { sql } from "../../../src/kernel/sql.ts";
import { Sqlite } from "../sqlite.ts";

const submission = (key: string, more: Partial<Submission> = {}): Submission => ({
  tenant: "a",
  key,
  operation: "upstream/default",
  by: { actor: "caller-hash", requestId: `request-${key}` },
  fingerprintVersion: 1,
  fingerprint: `print-${key}`,
  members: { '"quoted" name': "hash" },
  object: "bucket/1:a/0",
  opens: true,
  plan: { guards: [], effects: [], answer: { status: 200, body: {}, link: "" } },
  answerBody: "{}",
  bytes: 100,
  createdAtMs: 1_800_000_000_123,
  expiresAtS: 1_800_086_400,
  forgetAtS: 1_802_678_400,
  deadlineMs: 0,
  refusalDocument: (code) => ({ code, status: 409 }),
  refusalOf: () => "operation-failed",
  ...more,
});

const send = (key: string, nonce = `nonce-${key}`, more: Partial<Submission> = {}): Send => ({
  submission: submission(key, more),
  nonce,
  attempt: 1,
});

const guarded: Plan = {
  guards: [require(exists("accounts", sql`id = ${"nobody"}`), "unknown-account", "none")],
  effects: [],
  answer: { status: 201, body: {}, link: "/v1/x" },
};

let db: Sqlite;

beforeEach(() => {
  db = new Sqlite();
});

/** Delivers a group; what the batch's reader makes of the results, as far as it tells whose claim it was. */
const deliver = (sends: readonly Send[]) => {
  const { statements, resultsOf } = batchOf(sends);
  const results = db.batch(statements).map((rows) => ({ results: rows }) as unknown as D1Result);
  return resultsOf(results).map(({ claimed }) => claimed !== undefined);
};

const journal = (from: Sqlite) => from.rows(sql`SELECT * FROM journal ORDER BY key`);

describe("a group", () => {
  it("claims many keys that only open in one statement, and stores of each what it would alone", () => {
    const sends = ["k1", "k2", 'k"3'].map((key) => send(key));
    expect(batchOf(sends).statements).toHaveLength(1);
    expect(deliver(sends)).toEqual([true, true, true]);
    const alone = new Sqlite();
    for (const one of sends) alone.batch(statementsOf(one));
    expect(journal(db)).toEqual(journal(alone));
  });

  it("tells each send of its own row, whatever stands between them, and of a taken key that there is none", () => {
    db.batch(statementsOf(send("k2", "somebody's")));
    const paying = send("k4", "n4", { opens: false, plan: guarded });
    expect(deliver([paying, send("k1"), send("k2"), send("k3")])).toEqual([
      true,
      true,
      false,
      true,
    ]);
    // Somebody else's row is left as it was: it was not delivered again.
    expect(db.rows(sql`SELECT nonce, deliveries FROM journal WHERE key = 'k2'`)).toEqual([
      { nonce: "somebody's", deliveries: 1 },
    ]);
  });

  it("52: stores the refusal of one that is forced to it, and opens its neighbours", () => {
    const refused: Send = {
      ...send("k2"),
      forcedRefusal: { code: "operation-failed", status: 500 },
    };
    expect(deliver([send("k1"), refused, send("k3")])).toEqual([true, true, true]);
    expect(db.rows(sql`SELECT key, state, refusal FROM journal ORDER BY key`)).toEqual([
      { key: "k1", state: "in-flight", refusal: null },
      { key: "k2", state: "final", refusal: "operation-failed" },
      { key: "k3", state: "in-flight", refusal: null },
    ]);
  });

  it("judges the facts of one that holds nothing else: a stale one does not open", () => {
    const stale = send("k2", "n2", {
      plan: {
        ...submission("k2").plan,
        facts: [exists("accounts", sql`id = ${"nobody"}`)],
      },
    });
    expect(deliver([send("k1"), stale, send("k3")])).toEqual([true, false, true]);
    expect(db.rows(sql`SELECT key FROM journal ORDER BY key`)).toEqual([
      { key: "k1" },
      { key: "k3" },
    ]);
  });

  it("51: of two sends of one key in it, one claims", () => {
    expect(deliver([send("k1", "n1"), send("k1", "n2")])).toEqual([true, false]);
  });

  it("51a: that is delivered twice counts it, and claims for the same sends", () => {
    const sends = [send("k1"), send("k2")];
    deliver(sends);
    expect(deliver(sends)).toEqual([true, true]);
    expect(db.rows(sql`SELECT deliveries FROM journal`)).toEqual([
      { deliveries: 2 },
      { deliveries: 2 },
    ]);
  });

  it("51b: writes one audit row for each claim, however often it is delivered, and none for a taken key", () => {
    db.batch(statementsOf(send("k2", "somebody's")));
    const sends = [send("k1"), send("k2"), send("k3", "n3", { opens: false, plan: guarded })];
    deliver(sends);
    deliver(sends);
    const rows = db.rows(sql`SELECT kind, request_id, code FROM audit ORDER BY seq`);
    expect(rows).toEqual([
      { kind: "started", request_id: "request-k2", code: null },
      { kind: "started", request_id: "request-k1", code: null },
      { kind: "refusal", request_id: "request-k3", code: "unknown-account" },
    ]);
  });
});
