/** What the console's pages are shown with: a shop's morning over the real API, and issues of every state. */
import type { Page } from "playwright-core";
import { keyHash } from "../../src/kernel/hash.ts";
import type { Server } from "./server.ts";
import { newKey, openTenant, textOf } from "./tenant.ts";
import { tokenFor } from "./token.ts";

/** An operator with every scope. */
const operatorToken = (): Promise<string> =>
  tokenFor("operators", { scope: "ops:read ops:support ops:act", subject: "ada" });

export const signInTo = async (page: Page, origin: string): Promise<void> => {
  await page.goto(`${origin}/console/sign-in`);
  await page.getByLabel("Bearer token").fill(await operatorToken());
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${origin}/console`);
};

/** One of each page, with something on it where there is something. */
export const consolePages = async (server: Server): Promise<string[]> => {
  const [claim] = await server.sql(
    "SELECT seq FROM audit WHERE kind = 'effect' AND operation = 'orders.create' LIMIT 1",
  );
  const [issue] = await server.sql("SELECT id FROM issues WHERE state = 'open' LIMIT 1");
  return [
    "/console?range=15m",
    "/console/requests",
    "/console/requests?state=retries",
    "/console/requests?state=uncertain",
    ...(claim === undefined ? [] : [`/console/requests/DB/${String(claim["seq"])}`]),
    "/console/search?q=nothing-goes-by-that-name",
    "/console/issues?state=all",
    ...(issue === undefined
      ? []
      : [
          `/console/issues/confirm?state=resolved&id=${String(issue["id"])}`,
          "/console/redrive?issue=a1&issue=a2",
          "/console/resolution?issue=a1",
        ]),
    "/console/ledger",
    "/console/ledger/entries",
    "/console/ledger/transfers",
    "/console/orders",
    "/console/stock",
    "/console/stock/moves",
  ];
};

/** The quarter of an hour before, in the audit log alone: charts need a past, and nobody waits for one. */
const fillPast = async (server: Server): Promise<void> => {
  const nowMs = Date.now();
  const rows = Array.from({ length: 240 }, (_, i) => {
    // Busier and slower in waves.
    const wave = Math.sin(i / 17) + Math.sin(i / 5) / 2;
    const isRefused = i % 13 === 0;
    return {
      at: Math.round(nowMs - 840_000 + i * 3_400 + wave * 30_000),
      kind: i % 29 === 5 ? "tally" : isRefused ? "refusal" : "effect",
      status: isRefused ? 402 : 201,
      code: isRefused ? "insufficient-funds" : null,
      detail:
        i % 29 === 5
          ? {
              answers: {
                "payments.create": { replayed: 2 + (i % 4), "idempotency-key-reused": i % 2 },
              },
            }
          : { attempt: 1, ms: Math.round(14 + wave * 5 + (i % 19 === 0 ? 60 : i % 7)) },
    };
  }).toSorted((a, b) => a.at - b.at);
  await server.sql(
    `INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, detail)
SELECT value ->> 'at', 'books-and-mugs', value ->> 'kind', 'payments.create', '', '', CASE value ->> 'kind' WHEN 'tally' THEN NULL ELSE lower(hex(randomblob(16))) END,
  value ->> 'status', value ->> 'code', value ->> 'detail' FROM json_each(?)`,
    JSON.stringify(rows),
  );
  const last = { startedAtMs: nowMs - 190_000, rows: {}, found: {}, healed: {}, isPartial: false };
  await server.sql(
    "INSERT INTO scheduled_state (task, version, state) VALUES ('reconciliation', 1, ?)",
    JSON.stringify({ pass: null, last: { ...last, finishedAtMs: nowMs - 185_000 } }),
  );
};

const SHOP = "books-and-mugs";
const OBJECT = "bucket/14:books-and-mugs/0";

/** Two payouts whose outcome is open, with their rows and without their objects. */
const openPayouts = async (
  server: Server,
  nowMs: number,
): Promise<{ readonly uncertain: string; readonly inFlight: string }> => {
  const keys = { uncertain: newKey(), inFlight: newKey() };
  for (const [state, key] of [
    ["uncertain", keys.uncertain],
    ["in-flight", keys.inFlight],
  ] as const) {
    const createdAtMs = nowMs - 1_320_000;
    await server.sqlBatch([
      [
        "INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, state, status, created_at_ms, expires_at_s, forget_at_s) VALUES (?, ?, 'payouts.create', 1, 'f', '{}', ?, ?, ?, 201, ?, ?, ?)",
        SHOP,
        key,
        OBJECT,
        key,
        state,
        createdAtMs,
        Math.floor(nowMs / 1_000) + 86_400,
        Math.floor(nowMs / 1_000) + 2_592_000,
      ],
      [
        `INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, detail) VALUES (?, ?, 'started', 'payouts.create', '', ?, ?, 201, '{"attempt":1,"ms":14}')`,
        createdAtMs,
        SHOP,
        crypto.randomUUID(),
        keyHash(SHOP, key),
      ],
    ]);
  }
  await server.sql(
    "INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, code) VALUES (?, ?, 'outcome', 'payouts.create', 'service', '', ?, 'outcome-uncertain')",
    nowMs - 1_290_000,
    SHOP,
    keyHash(SHOP, keys.uncertain),
  );
  return keys;
};

export const fillConsole = async (server: Server): Promise<void> => {
  const open = await openPayouts(server, Date.now());
  await fillPast(server);
  const shop = await openTenant(server, "books-and-mugs");
  await shop.post("/v1/products", {
    sku: "mug",
    name: "Mug",
    priceMinor: 1250,
    currency: "EUR",
    quantity: 40,
  });
  for (let i = 0; i < 12; i++) {
    const key = newKey();
    const paid = await shop.pay({ amountMinor: 500 + i * 135 }, { key });
    if (i % 3 === 0) {
      for (let retry = 0; retry <= i % 4; retry++) {
        await shop.pay({ amountMinor: 500 + i * 135 }, { key });
      }
    }
    if (i % 5 === 0) {
      await shop.post(`/v1/payments/${textOf(paid, "id")}/refunds`, { amountMinor: 200 });
    }
    if (i % 4 === 0) await shop.pay({ amountMinor: 9_000_000 });
  }
  const reused = newKey();
  await shop.pay({ amountMinor: 700 }, { key: reused });
  await shop.pay({ amountMinor: 800, description: "another" }, { key: reused });
  const order = await shop.post("/v1/orders", {
    buyer: "alice",
    merchant: "bob",
    currency: "EUR",
    lines: [{ sku: "mug", quantity: 2 }],
  });
  if (order.status !== 201) throw new Error(order.text);
  const nowMs = Date.now();
  const issues = [
    [
      "a1",
      "outcome-uncertain",
      keyHash(SHOP, open.uncertain),
      "Nobody can tell whether an external effect happened; a person has to resolve it: found payouts.create.",
      "open",
      open.uncertain,
    ],
    [
      "a2",
      "in-flight-too-long",
      keyHash(SHOP, open.inFlight),
      "Work has been in flight for too long: found payouts.create for 22 minutes.",
      "open",
      open.inFlight,
    ],
    [
      "a3",
      "stock-differs-from-moves",
      "mug",
      "A product's quantity is not the sum of its moves: expected 40, found 41.",
      "acknowledged",
    ],
    [
      "a4",
      "copy-differs",
      "5f0c9d7be1a24c3e8a90d2b7c1f4e6a3",
      "The object answers with another outcome than the journal has.",
      "resolved",
    ],
  ];
  await server.sqlBatch(
    issues.map(([id = "", kind = "", subject = "", what = "", state = "", key = null]) => [
      "INSERT INTO issues (id, kind, tenant, subject, what, first_seen_ms, last_seen_ms, times, state, changed_by, changed_at_ms, reason, key, object) VALUES (?, ?, 'books-and-mugs', ?, ?, ?, ?, 3, ?, ?, ?, ?, ?, ?)",
      id,
      kind,
      subject,
      what,
      nowMs - 1_800_000,
      nowMs - 240_000,
      state,
      state === "open" ? null : "latchkey/ada",
      state === "open" ? null : nowMs - 60_000,
      state === "open" ? null : "Counted again by hand.",
      key,
      key === null ? null : OBJECT,
    ]),
  );
};
