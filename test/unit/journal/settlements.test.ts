import { describe, expect, it } from "vitest";
import { type Settlement, settlementStatements } from "../../../src/journal/settlements.ts";
import { insert } from "../../../src/kernel/plan.ts";
import { sql } from "../../../src/kernel/sql.ts";
import { Sqlite } from "../sqlite.ts";

const resolution = {
  outcome: "executed",
  status: 200,
  digest: "d",
  reason: "seen there",
  by: "issuer/subject",
  atMs: 5,
} as const;

const settlement = (key: string, more: Partial<Settlement> = {}): Settlement => ({
  tenant: "a",
  key,
  nonce: `nonce-${key}`,
  attempt: 1,
  to: {
    state: "final",
    status: 200,
    refusal: null,
    headers: {},
    body: "",
    link: `/v1/${key}`,
    expiresAtS: 20,
    forgetAtS: 30,
  },
  resolution: null,
  ...more,
});

/** A journal with open rows, and what a batch makes of it. */
const settled = (open: readonly string[], settlements: readonly Settlement[], times = 1) => {
  const db = new Sqlite();
  for (const key of open) {
    const [name = "", state = "in-flight", attempt = "1"] = key.split(":");
    db.rows(
      sql`INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, attempt, state, status, body, created_at_ms, expires_at_s, forget_at_s) VALUES ('a', ${name}, 'upstream/x', 1, 'print', 'o', ${`nonce-${name}`}, ${Number(attempt)}, ${state}, 202, 'held', 0, 1, 2)`,
    );
  }
  const statements = settlementStatements("a", settlements, 7);
  let told: unknown;
  for (let i = 0; i < times; i++) told = db.batch(statements).at(-1);
  return {
    told,
    rows: db.rows(
      sql`SELECT key, state, attempt, status, body, link, expires_at_s FROM journal ORDER BY key`,
    ),
    audit: db.rows(sql`SELECT kind, status, code, actor FROM audit ORDER BY seq`),
    resolutions: db.rows(sql`SELECT key, outcome FROM resolutions`),
    effects: db.rows(sql`SELECT id FROM accounts`),
  };
};

const asOpened = (key: string, state: string, attempt = 1) => ({
  key,
  state,
  attempt,
  status: 202,
  body: "held",
  link: null,
  expires_at_s: 1,
});
const asSettled = (key: string) => ({
  key,
  state: "final",
  attempt: 1,
  status: 200,
  body: "",
  link: `/v1/${key}`,
  expires_at_s: 20,
});

describe("settlements", () => {
  it("change each row to what is said of it, in one batch, and audit each of them once however often it is sent", () => {
    const { rows, audit, resolutions, told } = settled(
      ["k1", "k2", "k3", "k4:uncertain", "k5"],
      [
        settlement("k1"),
        settlement("k2", { to: { state: "uncertain" } }),
        settlement("k3", { to: { state: "free" } }),
        settlement("k4", { resolution }),
      ],
      2,
    );
    expect(rows).toEqual([
      asSettled("k1"),
      asOpened("k2", "uncertain"),
      asSettled("k4"),
      asOpened("k5", "in-flight"),
    ]);
    expect(audit).toEqual([
      { kind: "outcome", status: 200, code: null, actor: "service" },
      { kind: "outcome", status: null, code: "outcome-uncertain", actor: "service" },
      { kind: "outcome", status: null, code: "not-executed", actor: "service" },
      { kind: "resolution", status: 200, code: null, actor: "issuer/subject" },
    ]);
    expect(resolutions).toEqual([{ key: "k4", outcome: "executed" }]);
    expect(told).toEqual(["k1", "k2", "k4"].map((key) => ({ key, nonce: `nonce-${key}` })));
  });

  it.each([
    ["of another claim", ["k1"], settlement("k1", { nonce: "another's" }), "in-flight", 1],
    ["that knows of a later try", ["k1:in-flight:2"], settlement("k1"), "in-flight", 2],
    ["that is final", ["k1:expired"], settlement("k1"), "expired", 1],
    [
      "that is uncertain already",
      ["k1:uncertain"],
      settlement("k1", { to: { state: "uncertain" } }),
      "uncertain",
      1,
    ],
  ] as const)(
    "leave a row %s as it is, and audit nothing of it",
    (_, open, one, state, attempt) => {
      const { rows, audit } = settled(open, [one]);
      expect(rows).toEqual([asOpened("k1", state, attempt)]);
      expect(audit).toEqual([]);
    },
  );

  // What moves the money, what keeps a person's word and what sets a key free ask for the open row by themselves.
  const final = settlement("k1").to;
  it.each([
    ["sets free", "another claim", "k1", { nonce: "another's" }, { state: "free" }],
    ["sets free", "a later try", "k1:in-flight:2", {}, { state: "free" }],
    ["sets free", "a final key", "k1:expired", {}, { state: "free" }],
    ["ends", "another claim", "k1", { nonce: "another's" }, final],
    ["ends", "a later try", "k1:in-flight:2", {}, final],
    ["ends", "a final key", "k1:expired", {}, final],
    ["doubts", "another claim", "k1", { nonce: "another's" }, { state: "uncertain" }],
    ["doubts", "a later try", "k1:in-flight:2", {}, { state: "uncertain" }],
    ["doubts", "an uncertain key", "k1:uncertain", {}, { state: "uncertain" }],
  ] as const)(
    "one that %s, sent late, moves nothing of %s: its row stays, and neither effect nor word is kept",
    (_, __, open, more, to) => {
      const effects = [
        insert("accounts", { id: "moved", currency: "EUR", overdraft_limit: 0, created_at_ms: 0 }),
      ];
      const late = settlement("k1", { ...more, to, effects, resolution });
      const [, state = "in-flight", attempt = "1"] = open.split(":");
      expect(settled([open], [late])).toEqual({
        told: [{ key: "k1", nonce: "nonce-k1" }],
        rows: [asOpened("k1", state, Number(attempt))],
        audit: [],
        resolutions: [],
        effects: [],
      });
    },
  );

  it("apply their effects and keep the word once, however often they are sent", () => {
    const effects = [
      insert("accounts", { id: "moved", currency: "EUR", overdraft_limit: 0, created_at_ms: 0 }),
    ];
    const free = settlement("k1", { to: { state: "free" }, effects, resolution });
    expect(settled(["k1:uncertain"], [free], 3)).toMatchObject({
      rows: [],
      resolutions: [{ key: "k1", outcome: "executed" }],
      effects: [{ id: "moved" }],
    });
  });

  it("find their rows by key: no statement walks a tenant's journal", () => {
    const db = new Sqlite();
    const all = ["k1", "k2", "k3"].map((key, i) =>
      settlement(key, i === 1 ? { to: { state: "uncertain" } } : { resolution }),
    );
    const plans = settlementStatements("a", all, 7)
      .flatMap((one) => db.rows(sql`EXPLAIN QUERY PLAN ${one}`))
      .map(({ detail }) => String(detail))
      .filter((detail) => /\b(journal|j)\b/.test(detail));
    expect(plans.length).toBeGreaterThanOrEqual(4);
    for (const plan of plans) expect(plan).toContain("PRIMARY KEY (tenant=? AND key=?)");
  });
});
