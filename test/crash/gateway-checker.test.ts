/** The checker of the gateway's crash runs, put to the test itself: a run that holds, and each thing that can be wrong. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkGatewayRun, type GatewayRun } from "../support/crash-gateway-checker.ts";
import type { HistoryEntry, Operation } from "../support/crash-history.ts";
import type { UpstreamCall, UpstreamEffect } from "../support/crash-upstream.ts";

const TENANT = "north";
const AT_MS = 1_000_000;

let folder: string;
let db: DatabaseSync;
let run: {
  history: HistoryEntry[];
  calls: UpstreamCall[];
  effects: UpstreamEffect[];
  listed: Set<string>;
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-checker-"));
  db = new DatabaseSync(join(folder, "books.sqlite"));
  db.exec("PRAGMA synchronous = OFF");
  for (const name of readdirSync("migrations").toSorted()) {
    db.exec(readFileSync(join("migrations", name), "utf8"));
  }
  for (const id of ["system:EUR", "bob", "system:EUR:held", "system:EUR:paid-out"]) {
    db.prepare(
      "INSERT INTO accounts (tenant, id, currency, overdraft_limit, created_at_ms) VALUES (?, ?, 'EUR', ?, 0)",
    ).run(TENANT, id, id === "system:EUR" ? null : 0);
  }
  transfer("pay_1", "system:EUR", "bob", 1_000);
  run = {
    history: [{ kind: "run", atMs: AT_MS, seed: 7, mode: "1" }],
    calls: [],
    effects: [],
    listed: new Set(),
  };
  // Told a success by an upstream that does neither; in doubt by the same; a payout that was paid.
  call("told");
  outcome("told", "final", 200, { id: "th_told" });
  happened("neither", "told", { reference: `${TENANT}/told` });
  call("doubted");
  uncertain("doubted");
  happened("neither", "doubted", { reference: `${TENANT}/doubted` });
  payout("paid", "paid");
  outcome("paid", "final", 201, { id: "out_paid", reference: "th_paid" });
  happened("processor", "paid", { destination: `${TENANT}/paid` });
});

afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

function transfer(id: string, source: string, destination: string, amount: number): void {
  db.prepare(
    "INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES (?, ?, ?, ?, 'EUR', ?, 'k', 0)",
  ).run(TENANT, id, source, destination, amount);
}

function intend(key: string, change: Pick<Operation, "name" | "path" | "body">): void {
  run.history.push({
    kind: "operation",
    atMs: AT_MS,
    tenant: TENANT,
    key,
    method: "POST",
    ...change,
  });
}

function call(key: string): void {
  intend(key, { name: "call", path: "/neither/things", body: {} });
}

/** With all that it has moved. */
function payout(key: string, state: "held" | "paid" | "released"): void {
  intend(key, { name: "payout", path: "/v1/payouts", body: { account: "bob", amountMinor: 10 } });
  const id = `out_${key}`.padEnd(30, "0");
  transfer(`${id}_held`, "bob", "system:EUR:held", 10);
  if (state === "paid") transfer(`${id}_paid`, "system:EUR:held", "system:EUR:paid-out", 10);
  if (state === "released") transfer(`${id}_released`, "system:EUR:held", "bob", 10);
  db.prepare(
    "INSERT INTO payouts (tenant, id, account, amount, currency, destination, state, key, created_at_ms, ended_at_ms) VALUES (?, ?, 'bob', 10, 'EUR', 'x', ?, ?, 0, ?)",
  ).run(TENANT, id, state, key, state === "held" ? null : 1);
}

function journal(key: string, state: string): void {
  db.prepare(
    "INSERT OR REPLACE INTO journal (tenant, key, operation, fingerprint_version, fingerprint, object, nonce, state, status, headers, body, created_at_ms, expires_at_s, forget_at_s) VALUES (?, ?, 'x', 1, 'f', 'o', 'n', ?, 200, '{}', '', 0, 1, 1)",
  ).run(TENANT, key, state);
}

function answer(
  key: string,
  status: number,
  body: object,
  headers: Record<string, string>,
  atMs = AT_MS,
): void {
  run.history.push({
    kind: "answer",
    atMs,
    tenant: TENANT,
    key,
    send: run.history.length,
    status,
    headers,
    body: JSON.stringify(body),
  });
}

const STORED = { "idempotency-expires": "later" };
const REPLAYED = { ...STORED, "idempotent-replayed": "true" };

function outcome(key: string, state: string, status: number, body: object, atMs = AT_MS): void {
  journal(key, state);
  answer(key, status, body, STORED, atMs);
}

function uncertain(key: string): void {
  journal(key, "uncertain");
  answer(key, 409, { code: "outcome-uncertain" }, {});
  run.listed.add(`${TENANT} ${key}`);
}

function happened(upstream: UpstreamEffect["upstream"], key: string, body: object): void {
  run.calls.push({ upstream, key: `derived-${key}`, fault: null });
  run.effects.push({
    upstream,
    id: `th_${key}`,
    key: `derived-${key}`,
    body: JSON.stringify(body),
  });
}

/** Which counts are not zero, and how many sentences there are. */
const verdict = (more: Partial<GatewayRun> = {}): string[] => {
  const { violations } = checkGatewayRun({
    ...run,
    database: join(folder, "books.sqlite"),
    processor: "neither",
    lastFaultMs: AT_MS,
    ...more,
  });
  return [...new Set(violations.map((sentence) => sentence.split(":")[0] ?? ""))].toSorted();
};

test("a run that holds has nothing wrong, and its doubtful keys are counted", () => {
  expect(verdict()).toEqual([]);
});

test("a second effect is found, and a call that followed one in doubt", () => {
  happened("neither", "told", { reference: `${TENANT}/told` });
  expect(verdict()).toEqual(["blindReruns", "upstreamDoubles"]);
});

test("a call after one that was turned away is not blind; after one that broke off it is", () => {
  const key = "derived-x";
  run.calls.push(
    { upstream: "neither", key, fault: "too-many" },
    { upstream: "neither", key, fault: "drop-before" },
  );
  expect(verdict()).toEqual([]);
  run.calls.push({ upstream: "neither", key, fault: "too-many" });
  expect(verdict()).toEqual(["blindReruns"]);
});

test("calls of a processor are judged by its kind", () => {
  run.calls.push({ upstream: "processor", key: "derived-paid", fault: "drop-before" });
  expect(verdict()).toEqual(["blindReruns"]);
  expect(verdict({ processor: "honours" })).toEqual([]);
});

test("an effect of a refused key, or of nobody's, is found", () => {
  call("refused");
  outcome("refused", "final", 422, {});
  expect(verdict()).toEqual([]);
  happened("neither", "refused", { reference: `${TENANT}/refused` });
  expect(verdict()).toEqual(["upstreamDoubles"]);
  happened("asks", "unknown", { reference: `${TENANT}/unknown` });
  expect(verdict()).toEqual(["upstreamDoubles"]);
});

test("a told success without its effect, or with another's answer, is lost", () => {
  call("lost");
  outcome("lost", "final", 200, { id: "th_lost" });
  expect(verdict()).toEqual(["lost"]);
  happened("neither", "lost", { reference: `${TENANT}/lost` });
  expect(verdict()).toEqual([]);
});

test("a key in doubt that no list names is found", () => {
  run.listed.clear();
  expect(verdict()).toEqual(["uncertainUnlisted"]);
});

test("an outcome after the key was in doubt, another outcome, and one that is new twice are found", () => {
  answer("told", 200, { id: "th_told" }, REPLAYED);
  expect(verdict()).toEqual([]);
  answer("told", 200, { id: "th_told" }, STORED);
  expect(verdict()).toEqual(["differing"]);
  run.history.pop();
  answer("told", 200, { id: "th_other" }, REPLAYED);
  expect(verdict()).toEqual(["differing"]);
  run.history.pop();
  answer("doubted", 200, { id: "th_doubted" }, REPLAYED);
  expect(verdict()).toEqual(["differing"]);
});

test("a key that is open in the journal, or was told too late, is unfinished", () => {
  journal("told", "in-flight");
  expect(verdict()).toEqual(["unfinished"]);
  journal("told", "final");
  expect(verdict({ lastFaultMs: AT_MS - 10_001 })).toEqual(["unfinished"]);
});

test("a payout that is not what its key was told is found: held, paid or back", () => {
  for (const key of ["one", "two"]) {
    call(key);
    outcome(key, "final", 200, { id: `th_${key}` });
    happened("neither", key, { reference: `${TENANT}/${key}` });
  }
  payout("held", "held");
  uncertain("held");
  payout("back", "released");
  outcome("back", "final", 402, {});
  expect(verdict()).toEqual([]);
  payout("kept", "held");
  outcome("kept", "final", 402, {});
  expect(verdict()).toEqual(["lost"]);
});

test("money that moved otherwise than a payout says is an imbalance", () => {
  transfer("out_x_held", "bob", "system:EUR:held", 1);
  expect(verdict()).toEqual(["imbalance"]);
});
