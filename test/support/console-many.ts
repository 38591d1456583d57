/** Ten thousand requests for the console's lists, straight into the tables: what the API would have left, in a second. */
import type { Server } from "./server.ts";
import { openTenant } from "./tenant.ts";

/** Every list of the console, first and later pages, and the pages that sum up. */
export const LIST_PAGES = [
  "/console?range=24h",
  "/console/requests",
  "/console/requests?before=5000",
  "/console/requests?state=refused",
  "/console/requests?state=retries",
  "/console/requests?state=in-flight",
  "/console/requests?state=uncertain",
  "/console/issues?state=all",
  "/console/ledger",
  "/console/ledger/entries?tenant=many&account=alice",
  "/console/ledger/transfers",
] as const;

/** As long as a key may be: what a page repeats of it counts. */
const KEY = "'k' || printf('%06d', i) || '-' || substr(hex(zeroblob(128)), 1, 247)";

/** Milliseconds between two requests. */
const STEP_MS = 5_000;

export const fillRequests = async (server: Server, requests: number): Promise<void> => {
  await openTenant(server, "many");
  const startMs = Date.now() - requests * STEP_MS;
  const numbers = (count: number): string =>
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;
  const id = "'pay_' || printf('%026d', i)";
  await server.sqlBatch([
    [
      `${numbers(requests)} INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms)
SELECT 'many', ${id}, 'alice', 'bob', 'EUR', 1, ${KEY}, ${startMs} + i * ${STEP_MS} FROM n WHERE i % 10 <> 0`,
    ],
    // The hash of a key that is not made here is not asked for: a page finds keys by what they made.
    [
      `${numbers(requests)} INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, key_hash, status, code, link, detail)
SELECT ${startMs} + i * ${STEP_MS}, 'many', CASE WHEN i % 10 = 0 THEN 'refusal' ELSE 'effect' END, 'payments.create', '', '', lower(hex(randomblob(16))),
  CASE WHEN i % 10 = 0 THEN 402 ELSE 201 END, CASE WHEN i % 10 = 0 THEN 'insufficient-funds' END, CASE WHEN i % 10 <> 0 THEN '/v1/payments/' || ${id} END,
  json_object('attempt', 1, 'ms', 10 + i % 40) FROM n`,
    ],
    [
      `${numbers(200)} INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id, detail)
SELECT ${Date.now()}, 'many', 'tally', 'keys.tally', 'service', '', '{"answers":{"payments.create":{"replayed":3}}}' FROM n`,
    ],
    [
      `${numbers(240)} INSERT INTO journal (tenant, key, operation, fingerprint_version, fingerprint, members, object, nonce, state, status, created_at_ms, expires_at_s, forget_at_s)
SELECT CASE i WHEN 240 THEN 'rare' ELSE 'many' END, ${KEY}, 'upstream/charges', 1, 'f', '{}', 'bucket/4:many/0', 'n' || i, CASE WHEN i % 2 = 0 THEN 'uncertain' ELSE 'in-flight' END, 200,
  ${startMs} + i / 4, ${startMs} / 1000 + 864000, ${startMs} / 1000 + 8640000 FROM n`,
    ],
    [
      `${numbers(200)} INSERT INTO issues (id, kind, tenant, subject, what, key, object, first_seen_ms, last_seen_ms)
SELECT printf('%032d', i), 'outcome-uncertain', 'many', lower(hex(randomblob(16))), 'Nobody can tell whether an external effect happened; a person has to resolve it: found upstream/charges.', ${KEY}, 'bucket/4:many/0', 1, 2 FROM n`,
    ],
  ]);
};
