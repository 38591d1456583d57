/** A claim that goes with others leaves what it would have left on its own: row, audit and what is told of it. */
import { describe, expect, it } from "vitest";
import { batchOf } from "../../../src/journal/group-statements.ts";
import { type Settlement, settlementStatements } from "../../../src/journal/settlements.ts";
import { type Send, statementsOf } from "../../../src/journal/statements.ts";
import type { Submission } from "../../../src/journal/submission.ts";
import { renderSql, sql } from "../../../src/kernel/sql.ts";
import { Sqlite } from "../sqlite.ts";

const NASTY = [
  "plain-key-0000000001",
  "12345678901234567890",
  "9007199254740993",
  "1e400",
  "-0",
  "0x1F",
  "null",
  "true",
  "NaN",
  "it's-a-quote",
  `it"s`,
  "[1,2]",
  '{"a":1}',
  "$.x",
  "%_?",
  "back\\slash\\u0000",
  "über-ключ-🔑",
  "line\nbreak\ttab",
  " leading and trailing ",
  "",
];

const send = (text: string, i: number): Send => ({
  nonce: `nonce-${i}-${text}`,
  attempt: i + 1,
  submission: {
    tenant: "t",
    key: text,
    operation: `upstream/${text}`,
    by: { actor: text, requestId: text },
    fingerprintVersion: 1,
    fingerprint: text,
    members: { [text]: text, "\u0000": "\u0000" },
    object: `bucket/1:t/${text}`,
    opens: true,
    plan: {
      guards: [],
      effects: [],
      answer: { status: 200, body: {}, link: "" },
      ...(i % 2 === 0 ? {} : { held: { [text]: text, n: 9007199254740991, z: null } }),
    },
    answerBody: "{}",
    bytes: 10,
    createdAtMs: 1_795_000_000_000 + i,
    expiresAtS: 1_795_000_000,
    forgetAtS: 1_795_000_000 + 2_592_000,
    deadlineMs: 0,
    refusalDocument: () => ({}),
    refusalOf: () => "x",
  } satisfies Submission,
});

const left = (db: Sqlite) => ({
  journal: db.rows(
    sql`SELECT *, typeof(status), typeof(key), typeof(body) FROM journal ORDER BY key`,
  ),
  audit: db
    .rows(
      sql`SELECT at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, json_extract(detail, '$.attempt') AS attempt FROM audit`,
    )
    .toSorted((a, b) => String(a["actor"]).localeCompare(String(b["actor"]))),
});

describe("claims in one statement", () => {
  it("leave the rows and the audit that each leaves by itself, whatever the texts are", () => {
    const sends = NASTY.map(send);
    const together = new Sqlite();
    const batch = batchOf(sends);
    expect(batch.statements).toHaveLength(1);
    const results = together
      .batch(batch.statements)
      .map((rows) => ({ results: rows }) as unknown as D1Result);
    const told = batch.resultsOf(results);
    const alone = new Sqlite();
    sends.forEach((one, i) => {
      const [[claimed] = []] = alone.batch(statementsOf(one));
      expect(told[i]?.claimed).toMatchObject({ ...claimed });
    });
    expect(left(together)).toEqual(left(alone));
  });

  it("of one key twice in a batch are one claim, and one audit row", () => {
    const one = send("same-key-0000000001", 0);
    const two = { ...one, nonce: "another" };
    const db = new Sqlite();
    const batch = batchOf([one, two]);
    const results = db
      .batch(batch.statements)
      .map((rows) => ({ results: rows }) as unknown as D1Result);
    const claimed = batch.resultsOf(results).filter((r) => r.claimed !== undefined);
    expect(claimed).toHaveLength(1);
    expect(db.rows(sql`SELECT COUNT(*) AS n FROM audit`)).toEqual([{ n: 1 }]);
  });
});

describe("settlements in one statement", () => {
  it("store status, headers, body and link as they are, whatever the texts are", () => {
    const db = new Sqlite();
    const sends = NASTY.map(send);
    db.batch(batchOf(sends).statements);
    const settlements = sends.map(({ submission: { key }, nonce, attempt }): Settlement => ({
      tenant: "t",
      key,
      nonce,
      attempt,
      to: {
        state: "final",
        status: 201,
        refusal: null,
        headers: { location: key },
        body: `${key}\u0001 ${key}`,
        link: key,
        expiresAtS: 1_795_000_100,
        forgetAtS: 1_797_592_100,
      },
      resolution: null,
    }));
    for (let times = 0; times < 2; times++) db.batch(settlementStatements("t", settlements, 7));
    for (const { key } of settlements) {
      expect(
        db.rows(
          sql`SELECT state, status, headers, body, link, expires_at_s FROM journal WHERE key = ${key}`,
        ),
      ).toEqual([
        {
          state: "final",
          status: 201,
          headers: JSON.stringify({ location: key }),
          body: `${key}\u0001 ${key}`,
          link: key,
          expires_at_s: 1_795_000_100,
        },
      ]);
    }
    expect(db.rows(sql`SELECT kind, COUNT(*) AS n FROM audit GROUP BY kind ORDER BY kind`)).toEqual(
      [
        { kind: "outcome", n: NASTY.length },
        { kind: "started", n: NASTY.length },
      ],
    );
  });

  it("stay within what D1 takes as one value, however long the answers are", () => {
    const settlements = Array.from({ length: 64 }, (_, i): Settlement => ({
      tenant: "t",
      key: `key-${i}`,
      nonce: `n-${i}`,
      attempt: 1,
      to: {
        state: "final",
        status: 200,
        refusal: null,
        headers: {},
        body: JSON.stringify({ text: "x".repeat(64 * 1024) }),
        link: null,
        expiresAtS: 1,
        forgetAtS: 2,
      },
      resolution: null,
    }));
    for (const one of settlementStatements("t", settlements, 7)) {
      for (const value of renderSql(one).params)
        expect(String(value).length).toBeLessThan(2_000_000);
    }
  });
});
