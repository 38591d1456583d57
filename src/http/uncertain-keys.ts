/**
 * GET /v1/ops/uncertain-keys and PUT /v1/ops/uncertain-keys/{tenant}/{key}/resolution: keys whose effect may have
 * happened and of which nobody can tell, across tenants and databases; and a person's word on one of them, which is what
 * later retries get. Repeating a resolution changes nothing, so it needs no key of its own; another one is refused.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { databasesOf, tenantName } from "../env.ts";
import { parseIdempotencyKey } from "../idempotency/key.ts";
import { writeAuditNote } from "../journal/audit-log.ts";
import { findRecords } from "../journal/journal.ts";
import { listUncertain } from "../journal/settlements.ts";
import { canonicalJson } from "../kernel/json.ts";
import {
  PAGE_ROWS_DEFAULT,
  PAGE_ROWS_MAX,
  REASON_LENGTH_MAX,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Resolution, ResolutionReply } from "../objects/exchange-call.ts";
import { callObject } from "../objects/object-call.ts";
import { keyObjectNamed, objectFor } from "../objects/routing.ts";
import { databaseFor } from "../objects/tenant-database.ts";
import { admit } from "./access.ts";
import { operatorOf } from "./actor.ts";
import type { HttpContext } from "./context.ts";
import { readJson } from "./input.ts";
import { problemResponse } from "./problem-response.ts";

export const uncertainKeysSearch = z.strictObject({
  limit: z.coerce.number().int().min(1).max(PAGE_ROWS_MAX).default(PAGE_ROWS_DEFAULT),
  after: z.string().max(2_000).optional(),
});

export const uncertainKeysOutput = z.object({
  data: z.array(
    z.object({
      tenant: z.string(),
      key: z.string(),
      operation: z.string(),
      attempts: z.number().int(),
      createdAt: z.iso.datetime(),
    }),
  ),
  next: z.string().nullable(),
});

/** Where a page ended: the database, and the last key of it. */
const placeSchema = z.tuple([z.string(), z.string(), z.string()]);

export const uncertainKeysRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:read"]);
  if (!admitted.ok) return admitted.failure;
  const search = uncertainKeysSearch.safeParse(c.req.query());
  const place = search.success ? placeOf(search.data.after) : undefined;
  if (!search.success || place === undefined) {
    return problemResponse(c, "request-invalid", {
      detail: "Send perhaps limit, and as after what next of the page before was.",
    });
  }
  const { limit } = search.data;
  const [from, tenant, key] = place;
  const data: z.output<typeof uncertainKeysOutput>["data"] = [];
  const note = {
    ...operatorOf(c, admitted.value),
    atMs: Date.now(),
    tenant: "",
    kind: "read",
    operation: "ops.uncertain-keys",
    // A place has a key in it.
    detail: { limit, isFirst: search.data.after === undefined },
  } as const;
  try {
    // One database after the other: each that is asked gives a row, or is the last one's neighbour.
    for (const [name, db] of databasesOf(c.env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if (name < from) continue;
      const after = name === from ? { tenant, key } : { tenant: "", key: "" };
      const rest = limit - data.length;
      await withTimeout(writeAuditNote(db, note), SEND_TIMEOUT_MS);
      const found = await withTimeout(listUncertain(db, after, rest + 1), SEND_TIMEOUT_MS);
      for (const { tenant: whose, entry } of found.slice(0, rest)) {
        data.push({
          tenant: whose,
          key: entry.key,
          operation: entry.operation,
          attempts: entry.attempt,
          createdAt: new Date(entry.createdAtMs).toISOString(),
        });
      }
      const last = data.at(-1);
      if (found.length > rest) {
        const end =
          rest === 0 || last === undefined
            ? [name, after.tenant, after.key]
            : [name, last.tenant, last.key];
        return page(c, data, textOf(end));
      }
    }
  } catch {
    return problemResponse(c, "temporarily-unavailable", {
      detail: "A database did not answer.",
    });
  }
  return page(c, data, null);
};

const page = (
  c: HttpContext,
  data: z.output<typeof uncertainKeysOutput>["data"],
  next: string | null,
): Response => c.json({ data, next }, 200, { "Cache-Control": "no-store" });

/** Undefined: it is not what a page gave. */
const placeOf = (after: string | undefined): z.output<typeof placeSchema> | undefined => {
  if (after === undefined) return ["", "", ""];
  try {
    return placeSchema.parse(JSON.parse(atob(after.replaceAll("-", "+").replaceAll("_", "/"))));
  } catch {
    return undefined;
  }
};

/** Keys and tenants are printable ASCII. */
const textOf = (place: readonly string[]): string =>
  btoa(JSON.stringify(place)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const reason = z
  .string()
  .min(1)
  .max(REASON_LENGTH_MAX)
  .meta({ description: "Why: what was found, and where" });

export const resolutionInput = z.discriminatedUnion("outcome", [
  z.strictObject({
    outcome: z.literal("executed"),
    reason,
    status: z.number().int().min(200).max(499),
    contentType: z
      .string()
      .regex(/^[\x20-\x7e]{1,255}$/)
      .optional(),
    body: z.string().optional().meta({ description: "The answer that later retries get, as text" }),
    bodyBase64: z.base64().optional().meta({ description: "Or as bytes" }),
    link: z
      .string()
      .regex(/^[\x21-\x7e]{1,2000}$/)
      .optional()
      .meta({ description: "What was made: their Location" }),
  }),
  z.strictObject({ outcome: z.literal("not-executed"), reason }),
]);

export const resolutionOutput = z.object({
  tenant: z.string(),
  key: z.string(),
  outcome: z.enum(["executed", "not-executed"]),
});

export const resolutionRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:act"]);
  if (!admitted.ok) return admitted.failure;
  const body = await readJson(c);
  if (!body.ok) return body.failure;
  const input = resolutionInput.safeParse(body.value);
  const tenant = tenantName.safeParse(c.req.param("tenant"));
  const key = parseIdempotencyKey(c.req.param("key"), 1);
  if (!tenant.success || !key.ok || !input.success || hasTwoBodies(input.data)) {
    return problemResponse(c, "request-invalid", {
      detail:
        'Send outcome and reason; for "executed" also status, perhaps link, contentType, and body or bodyBase64.',
    });
  }
  const { actor } = operatorOf(c, admitted.value);
  const at = { tenant: tenant.data, key: key.value };
  const { kind } = await resolveKey(c, at, input.data, actor);
  switch (kind) {
    case "resolved":
      return c.json({ tenant: tenant.data, key: key.value, outcome: input.data.outcome }, 200, {
        "Cache-Control": "no-store",
      });
    case "refused":
      return problemResponse(c, "resolution-refused");
    case "unknown-key":
      return problemResponse(c, "not-found");
    case "unavailable":
      return problemResponse(c, "temporarily-unavailable", {
        detail: "Whether the key is resolved is not known: send the same again.",
      });
  }
};

export type ResolutionInput = z.output<typeof resolutionInput>;

/** @param by as the audit log names who says so */
export const resolveKey = (
  c: HttpContext,
  { tenant, key }: { readonly tenant: string; readonly key: string },
  input: ResolutionInput,
  by: string,
): Promise<ResolutionReply> => resolve(c, tenant, key, resolutionOf(input, by, Date.now()));

const hasTwoBodies = (input: ResolutionInput): boolean =>
  input.outcome === "executed" && input.body !== undefined && input.bodyBase64 !== undefined;

const resolutionOf = (input: ResolutionInput, by: string, atMs: number): Resolution => {
  // Why it was decided is no part of what was decided.
  const { reason: why, ...decided } = input;
  const said = Object.entries(decided).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  const digest = createHash("sha256")
    .update(canonicalJson(Object.fromEntries(said)))
    .digest("hex");
  const record = { digest, reason: why, by, atMs };
  if (input.outcome === "not-executed") {
    return {
      outcome: { kind: "not-executed" },
      record: { ...record, outcome: input.outcome, status: null },
    };
  }
  const { status, contentType, body, bodyBase64, link } = input;
  const bytes =
    bodyBase64 === undefined
      ? new TextEncoder().encode(body ?? "")
      : Uint8Array.from(atob(bodyBase64), (char) => char.charCodeAt(0));
  const type = contentType ?? (body === undefined ? undefined : "text/plain; charset=utf-8");
  return {
    outcome: {
      kind: "executed",
      status,
      headers: [
        ...(type === undefined ? [] : [["content-type", type] as const]),
        ...(link === undefined ? [] : [["location", link] as const]),
      ],
      body: bytes,
      link: link ?? null,
    },
    record: { ...record, outcome: input.outcome, status },
  };
};

/** By the object that the row names: it alone decides, between a person, a heal and a late answer. */
const resolve = async (
  c: HttpContext,
  tenant: string,
  key: string,
  resolution: Resolution,
): Promise<ResolutionReply> => {
  const settings = c.get("latchkey.settings");
  try {
    const db = await databaseFor(c.env, settings, tenant);
    const rows = await withTimeout(findRecords(db, tenant, [key]), SEND_TIMEOUT_MS);
    const object = rows.get(key)?.object ?? objectFor(tenant, key, settings.KEY_OBJECTS);
    return await callObject(keyObjectNamed(c.env, object), (stub) =>
      stub.resolve(tenant, key, resolution),
    );
  } catch {
    return { kind: "unavailable" };
  }
};
