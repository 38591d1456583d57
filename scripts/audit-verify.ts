/**
 * Checks the audit log's hash chain, and says what does not fit: page by page on a server, or in an exported file, which
 * asks nobody:
 *
 *   npm run audit:verify -- --url https://latchkey.example --token TOKEN [--database DB] [--anchor SEQ:HASH]
 *   npm run audit:verify -- --file audit.jsonl [--file MORE …] [--anchor SEQ:HASH]
 *
 * The token needs the scope `ops:read`; a file is an export with `format=jsonl-sealed`, from the first row on or from the row
 * behind the anchor, and several of them follow one another. An anchor is a head that an earlier run has printed: the
 * chain must still pass through it. Ends with an exit code that is not 0 if anything does not fit.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { z } from "zod";
import { checkSeal } from "../src/audit/seal.ts";
import { AUDIT_KINDS, type AuditRow, type StoredSeal } from "../src/journal/audit-row.ts";
import { Complaint, main } from "./tool.ts";

const USAGE =
  "npm run audit:verify -- (--url URL --token TOKEN [--database DB] | --file FILE …) [--anchor SEQ:HASH]";

const pageSchema = z.object({
  findings: z.array(z.object({ kind: z.string(), seq: z.number() })),
  head: z.object({ seq: z.number(), hash: z.string() }).nullable(),
  sealed: z.array(z.object({ seq: z.number(), hash: z.string() })),
  next: z.number().nullable(),
  newest: z.number(),
});

const verify = async (url: string, token: string, database: string, after: number) => {
  const target = new URL("/v1/ops/audit/verification", url);
  target.search = new URLSearchParams({ database, after: String(after) }).toString();
  const response = await fetch(target, { headers: { Authorization: `Bearer ${token}` } });
  const text = await response.text();
  if (response.status !== 200) throw new Complaint(`${response.status}: ${text}`);
  return pageSchema.parse(JSON.parse(text));
};

function options() {
  try {
    return parseArgs({
      options: {
        url: { type: "string" },
        token: { type: "string" },
        database: { type: "string", default: "DB" },
        file: { type: "string", multiple: true },
        anchor: { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new Complaint(`${error instanceof Error ? error.message : String(error)}\n  ${USAGE}`);
  }
}

type Anchor = Pick<StoredSeal, "seqTo" | "hash">;

const anchorIn = (text: string | undefined): Anchor | undefined => {
  if (text === undefined) return undefined;
  if (!/^\d+:[0-9a-f]{64}$/.test(text)) {
    throw new Complaint("--anchor is the number of a row, a colon and 64 hex digits.");
  }
  const [seq = "", hash = ""] = text.split(":");
  return { seqTo: Number(seq), hash };
};

const isAt = (anchor: Anchor, { seqTo, hash }: Anchor): boolean =>
  anchor.seqTo === seqTo && anchor.hash === hash;

/** What a check came to. */
type Checked = { readonly faults: number; readonly isAnchored: boolean };

const report = ({ kind, seq }: { readonly kind: string; readonly seq: number }): void =>
  console.log(`${kind} ${seq}`);

const reportHead = (head: { seq: number; hash: string } | null, unsealed: number): void => {
  console.log(head === null ? "Nothing is sealed yet." : `head ${head.seq}:${head.hash}`);
  console.log(`${unsealed} rows behind it are not sealed yet.`);
};

const checkServer = async (
  url: string,
  token: string,
  database: string,
  anchor: Anchor | undefined,
): Promise<Checked> => {
  let isAnchored = anchor === undefined;
  let faults = 0;
  let after: number | null = 0;
  while (after !== null) {
    const page: z.output<typeof pageSchema> = await verify(url, token, database, after);
    for (const finding of page.findings) report(finding);
    faults += page.findings.length;
    isAnchored ||= page.sealed.some(
      ({ seq, hash }) => anchor !== undefined && isAt(anchor, { seqTo: seq, hash }),
    );
    if (page.next === null) reportHead(page.head, page.newest - (page.head?.seq ?? 0));
    after = page.next;
  }
  return { faults, isAnchored };
};

const lineSchema = z.union([
  z.strictObject({
    seal: z.strictObject({
      seqFrom: z.number(),
      seqTo: z.number(),
      hash: z.string(),
      digests: z.string(),
    }),
  }),
  z.strictObject({
    seq: z.number(),
    atMs: z.number(),
    tenant: z.string(),
    kind: z.enum(AUDIT_KINDS),
    operation: z.string(),
    actor: z.string(),
    requestId: z.string(),
    keyHash: z.string().nullable(),
    status: z.number().nullable(),
    code: z.string().nullable(),
    link: z.string().nullable(),
    detail: z.string().nullable(),
  }),
]);

async function* linesOf(files: readonly string[]): AsyncGenerator<z.output<typeof lineSchema>> {
  for (const file of files) {
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(file) })) {
      number += 1;
      if (line === "") continue;
      try {
        yield lineSchema.parse(JSON.parse(line));
      } catch {
        throw new Complaint(`${file}, line ${number}: neither a row of the audit log nor a seal.`);
      }
    }
  }
}

/** Seal by seal, so that a file of any length is read in little memory. */
const checkFiles = async (
  files: readonly string[],
  anchor: Anchor | undefined,
): Promise<Checked> => {
  let previous: StoredSeal | undefined;
  let rows: AuditRow[] = [];
  let isAnchored = anchor === undefined;
  let isFirst = true;
  let faults = 0;
  const found = (finding: { readonly kind: string; readonly seq: number }): void => {
    report(finding);
    faults += 1;
  };
  for await (const line of linesOf(files)) {
    if (isFirst && anchor !== undefined && "seq" in line && line.seq === anchor.seqTo + 1) {
      // What comes before is what the anchor stands for.
      previous = { seqFrom: anchor.seqTo, digests: "", ...anchor };
      isAnchored = true;
    }
    isFirst = false;
    if (!("seal" in line)) {
      const last = rows.at(-1)?.seq ?? previous?.seqTo ?? 0;
      // A row that is missing is told with its seal; one that comes twice, or late, is in no seal.
      if (line.seq > last) rows.push(line);
      else found({ kind: "row-inserted", seq: line.seq });
      continue;
    }
    const { seal } = line;
    for (const { seq } of rows.filter((row) => row.seq < seal.seqFrom)) {
      found({ kind: "row-inserted", seq });
    }
    for (const finding of checkSeal(previous, seal, rows)) found(finding);
    rows = rows.filter(({ seq }) => seq > seal.seqTo);
    previous = seal;
    isAnchored ||= anchor !== undefined && isAt(anchor, seal);
  }
  if (previous === undefined) {
    throw new Complaint("There is no seal in it: export it with format=jsonl-sealed.");
  }
  rows.forEach(({ seq }, i) => {
    const before = rows[i - 1]?.seq ?? previous?.seqTo ?? 0;
    if (seq !== before + 1) found({ kind: "row-missing", seq: before + 1 });
  });
  reportHead({ seq: previous.seqTo, hash: previous.hash }, rows.length);
  return { faults, isAnchored };
};

await main(async () => {
  const { url, token, database, file: files = [], anchor: text } = options();
  const anchor = anchorIn(text);
  let checked: Checked;
  if (files.length > 0) checked = await checkFiles(files, anchor);
  else if (url && token) checked = await checkServer(url, token, database, anchor);
  else throw new Complaint(`Say where and with which token, or which file:\n  ${USAGE}`);
  const { faults, isAnchored } = checked;
  if (!isAnchored)
    throw new Complaint("The chain does not pass through the anchor: it was rewritten.");
  if (faults > 0) throw new Complaint(`${faults} faults: the audit log is not what was sealed.`);
  console.log("Intact.");
});
