/** The audit log for auditors: an export, and the check of its chain. */
import { z } from "zod";
import { verifyAudit } from "../../audit/sealing.ts";
import { readAudit, readSealsEnding } from "../../journal/audit-log.ts";
import { AUDIT_KINDS, type AuditRow, type StoredSeal } from "../../journal/audit-row.ts";
import type { Database } from "../../journal/database.ts";
import { csvLine } from "../../kernel/csv.ts";
import { EXPORT_PAGE_ROWS, EXPORT_ROWS_MAX } from "../../kernel/limits.ts";
import { streamPages } from "./export.ts";
import { databaseSearch, defineOpsRead } from "./ops-route.ts";

const after = z.coerce
  .number()
  .int()
  .min(0)
  .max(Number.MAX_SAFE_INTEGER)
  .default(0)
  .meta({ description: "The last row that you have; 0 to begin" });

const auditRowView = z.object({
  seq: z.int(),
  atMs: z.int(),
  tenant: z.string(),
  kind: z.enum(AUDIT_KINDS),
  operation: z.string(),
  actor: z.string(),
  requestId: z.string(),
  keyHash: z.string().nullable(),
  status: z.int().nullable(),
  code: z.string().nullable(),
  link: z.string().nullable(),
  detail: z.string().nullable(),
});

const sealLine = z.object({
  seal: z.object({ seqFrom: z.int(), seqTo: z.int(), hash: z.string(), digests: z.string() }),
});

type SealLine = { readonly seal: StoredSeal };

const COLUMNS = Object.keys(auditRowView.shape) as (keyof AuditRow)[];

export const exportAudit = defineOpsRead({
  name: "ops.audit",
  path: "/v1/ops/audit",
  summary: `The audit log in the order of commits, streamed: at most ${EXPORT_ROWS_MAX} rows, then go on behind the last`,
  search: z.strictObject({
    ...databaseSearch,
    after,
    limit: z.coerce.number().int().min(1).max(EXPORT_ROWS_MAX).default(EXPORT_ROWS_MAX),
    format: z.enum(["jsonl", "csv", "jsonl-sealed"]).default("jsonl").meta({
      description:
        '`jsonl-sealed`: behind the last row of each seal a line `{"seal":…}`, so that the file can be verified by itself',
    }),
  }),
  content: { "application/jsonl": z.union([auditRowView, sealLine]), "text/csv": z.string() },
  read: async (db, search) => {
    const isCsv = search.format === "csv";
    const line = (one: AuditRow | SealLine): string =>
      isCsv && !("seal" in one)
        ? csvLine(COLUMNS.map((column) => one[column]))
        : `${JSON.stringify(one)}\n`;
    const pages = auditPages(db, { ...search, isSealed: search.format === "jsonl-sealed" });
    return streamPages(pages, {
      head: isCsv ? csvLine(COLUMNS) : "",
      line,
      headers: {
        "Content-Type": isCsv ? "text/csv" : "application/jsonl",
        "Cache-Control": "no-store",
      },
    });
  },
});

/** Page after page, each read when the one before it has been taken. */
async function* auditPages(
  db: Database,
  {
    after: start,
    limit,
    isSealed,
  }: { readonly after: number; readonly limit: number; readonly isSealed: boolean },
): AsyncGenerator<readonly (AuditRow | SealLine)[], undefined> {
  let place = start;
  for (let left = limit; left > 0;) {
    const page = await readAudit(db, { after: place, limit: Math.min(left, EXPORT_PAGE_ROWS) });
    const last = page.at(-1);
    const seals =
      isSealed && last !== undefined ? await readSealsEnding(db, place + 1, last.seq) : [];
    const sealAt = new Map(seals.map((seal) => [seal.seqTo, seal]));
    yield page.flatMap((row) => {
      const seal = sealAt.get(row.seq);
      return seal === undefined ? [row] : [row, { seal }];
    });
    place = page.at(-1)?.seq ?? place;
    left -= page.length;
    if (page.length < EXPORT_PAGE_ROWS) return;
  }
}

const finding = z.object({
  kind: z.enum(["row-changed", "row-missing", "row-inserted", "seal-broken", "seal-missing"]),
  seq: z.int(),
});

const verification = z.object({
  intact: z.boolean(),
  checkedTo: z.int(),
  seals: z.int(),
  findings: z.array(finding),
  head: z.object({ seq: z.int(), hash: z.string() }).nullable(),
  sealed: z.array(z.object({ seq: z.int(), hash: z.string() })),
  next: z.int().nullable(),
  newest: z.int(),
});

export const verificationRoute = defineOpsRead({
  name: "ops.audit-verification",
  path: "/v1/ops/audit/verification",
  summary:
    "Checks the audit log's seals, a bounded number at a time; `next` is where the next call begins",
  search: z.strictObject({ ...databaseSearch, after }),
  content: { "application/json": verification },
  read: async (db, search, c) => {
    const found = await verifyAudit(db, search.after);
    return c.json({ intact: found.findings.length === 0, ...found }, 200, {
      "Cache-Control": "no-store",
    });
  },
});
