/**
 * The one search box: takes a key, a payment, an order or a request id, of any tenant, and leads to the request. What was
 * looked for is in the audit log as a hash: it may be a key.
 */
import { z } from "zod";
import { parseIdempotencyKey } from "../idempotency/key.ts";
import type { Database } from "../journal/database.ts";
import { findEverywhere, type Found } from "../journal/everywhere.ts";
import { findByRequestId, findClaim } from "../journal/request-log.ts";
import { keyHash, sha256 } from "../kernel/hash.ts";
import { SEARCH_LENGTH_MAX } from "../kernel/limits.ts";
import { Key, plural, Time } from "./format.tsx";
import { Empty } from "./parts.tsx";
import { A, goTo } from "./place.tsx";
import { consolePage } from "./visit.tsx";

type Hit = { readonly database: string; readonly found: Found; readonly seq: number | undefined };

export const searchPage = consolePage({
  name: "console.search",
  anyOf: ["ops:support"],
  search: z.object({
    q: z.string().trim().max(SEARCH_LENGTH_MAX).default(""),
    tenant: z.string().max(64).optional(),
    database: z.string().max(10).optional(),
  }),
  everywhere: true,
  noted: ({ q }) => ({ hash: sha256("latchkey-search", q).slice(0, 32) }),
  view: async ({ c, databases }, { q, tenant }) => {
    const hits: Hit[] = [];
    for (const [database, db] of q === "" ? [] : databases) {
      for (const found of await lookFor(db, q, c.get("latchkey.keyLengthMin"))) {
        if (tenant !== undefined && found.tenant !== tenant) continue;
        const claim = await findClaim(db, keyHash(found.tenant, found.key), found.created_at_ms);
        hits.push({ database, found, seq: claim?.seq });
      }
      const byRequest = REQUEST_ID.test(q) ? await findByRequestId(db, q) : undefined;
      if (byRequest !== undefined) {
        return goTo(c, `/console/requests/${database}/${byRequest.seq}`);
      }
    }
    const [only] = hits;
    if (hits.length === 1 && only?.seq !== undefined) {
      return goTo(c, `/console/requests/${only.database}/${only.seq}`);
    }
    return {
      title: "Search",
      main: (
        <>
          <h1>Search</h1>
          {hits.length === 0 ? (
            <Empty>
              Nothing goes by that name. A key is forgotten a month after it expires; a request id
              is looked for among the newest ten thousand rows of the audit log.
            </Empty>
          ) : (
            <>
              <p>
                {plural(hits.length, "key")}: the same name, in several tenants or without a row of
                its own.
              </p>
              <ul class="subjects">
                {hits.map(({ database, found, seq }) => (
                  <li>
                    <Time ms={found.created_at_ms} /> {found.tenant} <Key value={found.key} />{" "}
                    {seq === undefined ? (
                      "has no row in the audit log"
                    ) : (
                      <A href={`/console/requests/${database}/${seq}`}>{found.id}</A>
                    )}
                  </li>
                ))}
              </ul>
            </>
          )}
        </>
      ),
    };
  },
});

const REQUEST_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** By what it looks like; whatever can be a key may be one. */
const lookFor = async (db: Database, q: string, keyLengthMin?: number): Promise<Found[]> => {
  if (/^(pay|ref)_[0-9a-z_]+$/.test(q)) {
    const transfers = await findEverywhere(db, "transfers", q);
    if (transfers.length > 0) return transfers;
  }
  if (/^ord_[0-9a-z]+$/.test(q)) {
    const orders = await findEverywhere(db, "orders", q);
    if (orders.length > 0) return orders;
  }
  const key = parseIdempotencyKey(q, keyLengthMin);
  return key.ok ? findEverywhere(db, "journal", key.value) : [];
};
