/**
 * The model's database does what the product's own statements do on SQLite: every row that a claim can find, every
 * way that a send can relate to it, alone and in groups.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import { type Send as ProductSend, statementsOf } from "../../src/journal/statements.ts";
import type { Submission } from "../../src/journal/submission.ts";
import { exists, type Plan, refused, refusedPlan, require, update } from "../../src/kernel/plan.ts";
import { sql } from "../../src/kernel/sql.ts";
import { Sqlite } from "../unit/sqlite.ts";
import { type Data, deliver, type Kind, RULES } from "./database.ts";
import { REFUSALS, type Row, type Send } from "./state.ts";

const TENANT = "a";
const KINDS: readonly Kind[] = ["guarded", "unguarded", "planned"];

/** Two clients, a key for each. */
const keyOf = (client: number): string => `key-000000000000000${client}`;

const piecesLeft = exists("shelf", sql`pieces >= 1`);
const take = update("shelf", { pieces: sql`pieces - 1` }, sql`true`);
const count = (client: number) => update("counts", { n: sql`n + 1` }, sql`key = ${keyOf(client)}`);

/** What the model's kinds are, as plans. */
const planOf = (kind: Kind, client: number, seen: number): Plan => {
  const answer: Plan["answer"] = { status: 201, body: {}, link: "/made" };
  const effects = [take, count(client)];
  switch (kind) {
    case "guarded":
      return { guards: [require(piecesLeft, "guard", "None left.")], effects, answer };
    case "unguarded":
      return { guards: [], effects, answer };
    case "planned": {
      const facts = [exists("shelf", sql`pieces = ${seen}`)];
      return seen === 0
        ? refusedPlan(refused(facts, "guard", "None left."))
        : { facts, guards: [], effects, answer };
    }
  }
};

const submissionOf = ({ client, seen }: Send, kind: Kind): Submission => ({
  tenant: TENANT,
  key: keyOf(client),
  operation: "take",
  by: BY_SERVICE,
  fingerprintVersion: 1,
  fingerprint: String(client),
  members: {},
  object: "object",
  plan: planOf(kind, client, seen),
  answerBody: "{}",
  bytes: 0,
  createdAtMs: 0,
  expiresAtS: 1,
  forgetAtS: 2,
  deadlineMs: 0,
  refusalDocument: (code) => ({ code, status: 409 }),
  refusalOf: (constraint) => constraint,
});

const productSend = (send: Send, kind: Kind): ProductSend => ({
  submission: submissionOf(send, kind),
  nonce: send.nonce,
  attempt: 1,
  ...(send.refuses ? { forcedRefusal: { code: "forced", status: 409 } } : {}),
});

let db: Sqlite;

beforeEach(() => {
  db = new Sqlite();
  db.exec(
    "CREATE TABLE shelf (tenant TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0)); CREATE TABLE counts (tenant TEXT, key TEXT PRIMARY KEY, n INTEGER NOT NULL);",
  );
});

/** Puts the model's data into the real tables. */
const store = ({ rows, effects, stock }: Data): void => {
  db.exec("DELETE FROM journal; DELETE FROM shelf; DELETE FROM counts;");
  db.rows(sql`INSERT INTO shelf VALUES (${TENANT}, ${stock})`);
  effects.forEach((n, client) =>
    db.rows(sql`INSERT INTO counts VALUES (${TENANT}, ${keyOf(client)}, ${n})`),
  );
  rows.forEach((row, client) => {
    if (row === undefined) return;
    const kept = row.tombstone ? null : "{}";
    db.rows(
      sql`INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, deliveries, state, refusal, status, headers, body, created_at_ms, expires_at_s, forget_at_s) VALUES (${TENANT}, ${keyOf(client)}, 'take', 1, ${String(row.client)}, 'object', ${row.nonce}, ${row.deliveries}, ${row.tombstone ? "expired" : "final"}, ${row.refusal === "none" ? null : row.refusal}, 201, ${kept}, ${kept}, 0, 1, 2)`,
    );
  });
};

/** One delivery, for real, as the model would tell it. */
const deliverForReal = (sends: readonly Send[], kinds: readonly Kind[]) => {
  const statements = sends.map((send, i) => statementsOf(productSend(send, kinds[i] ?? "guarded")));
  let results: ReturnType<Sqlite["batch"]>;
  try {
    results = db.batch(statements.flat());
  } catch (error) {
    expect(String(error)).toContain("CHECK constraint failed");
    return "aborted";
  }
  let at = 0;
  const claims = statements.map(({ length }) => {
    const [claimed] = results[at] ?? [];
    at += length;
    return claimed === undefined ? undefined : (claimed["refusal"] ?? "none");
  });
  return { claims, ...contents() };
};

const contents = () => ({
  journal: db.rows(sql`SELECT key, nonce, deliveries > 1 AS again, refusal, state FROM journal`),
  effects: db.rows(sql`SELECT n FROM counts ORDER BY key`).map(({ n }) => n),
  stock: db.rows(sql`SELECT pieces FROM shelf`)[0]?.["pieces"],
});

const deliverByRules = (data: Data, sends: readonly Send[], kinds: readonly Kind[]) => {
  const requestOf = (client: number) => ({ key: client, kind: kinds[client] ?? "guarded" });
  const delivered = deliver(data, sends, requestOf, RULES);
  if (delivered === "aborted") return delivered;
  return {
    claims: delivered.claims.map((claimed) => claimed?.refusal),
    journal: delivered.rows.flatMap((row, client) =>
      row === undefined
        ? []
        : {
            key: keyOf(client),
            nonce: row.nonce,
            again: row.deliveries > 1 ? 1 : 0,
            refusal: row.refusal === "none" ? null : row.refusal,
            state: row.tombstone ? "expired" : "final",
          },
    ),
    effects: delivered.effects,
    stock: delivered.stock,
  };
};

const NONCE = "A";

/** Every row that a claim with the nonce can find, and none. */
const found = (client: number): readonly (Row | undefined)[] => [
  undefined,
  ...[NONCE, "B"].flatMap((nonce) =>
    [1, 2].flatMap((deliveries) =>
      REFUSALS.flatMap((refusal) =>
        [false, true].map((tombstone): Row => ({
          client,
          run: 0,
          nonce,
          deliveries,
          refusal,
          startedAt: 0,
          tombstone,
        })),
      ),
    ),
  ),
];

const sends = (client: number): Send[] =>
  [false, true].flatMap((refuses) =>
    [0, 1, 2].map((seen): Send => ({ client, run: 0, nonce: NONCE, startedAt: 0, refuses, seen })),
  );

describe.each(KINDS)("a %s operation", (kind) => {
  it("claims and applies by the model's rules, whatever row it finds and however much is left", () => {
    let cases = 0;
    for (const row of found(0)) {
      for (const send of sends(0)) {
        for (const stock of [0, 1, 2]) {
          const data: Data = { rows: [row, undefined], effects: [0, 0], stock };
          store(data);
          const byRules = deliverByRules(data, [send], [kind]);
          const real = deliverForReal([send], [kind]);
          expect({ row, send, stock, real }).toEqual({ row, send, stock, real: byRules });
          cases += 1;
        }
      }
    }
    expect(cases).toBe(25 * 6 * 3);
  });

  it.each(KINDS)("in a group with a %s one: both, or neither, and each by its own key", (other) => {
    const isLiving = (row: Row | undefined) => row?.tombstone !== true;
    for (const mine of found(0).filter(isLiving)) {
      for (const theirs of found(1).filter(isLiving)) {
        for (const stock of [0, 1]) {
          const data: Data = { rows: [mine, theirs], effects: [0, 0], stock };
          const group = [0, 1].map((client): Send => ({
            client,
            run: 0,
            nonce: NONCE,
            startedAt: 0,
            refuses: false,
            seen: stock,
          }));
          const kinds = [kind, other];
          store(data);
          const byRules = deliverByRules(data, group, kinds);
          const real = deliverForReal(group, kinds);
          expect({ mine, theirs, stock, real }).toEqual({ mine, theirs, stock, real: byRules });
        }
      }
    }
  });

  it("delivered twice, is by the rules what it is for real", () => {
    for (const stock of [0, 1, 2]) {
      for (const send of sends(0)) {
        const data: Data = { rows: [undefined, undefined], effects: [0, 0], stock };
        store(data);
        const first = deliver(data, [send], () => ({ key: 0, kind }), RULES);
        deliverForReal([send], [kind]);
        const between = first === "aborted" ? data : first;
        expect(deliverForReal([send], [kind])).toEqual(deliverByRules(between, [send], [kind]));
      }
    }
  });
});
