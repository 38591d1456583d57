/**
 * Checks the audit log's hash chain, page by page, and says what does not fit:
 *
 *   npm run audit:verify -- --url https://latchkey.example --token TOKEN [--database DB] [--anchor SEQ:HASH]
 *
 * The token needs the scope `ops:read`. An anchor is a head that an earlier run has printed: the chain must still pass
 * through it. Ends with an exit code that is not 0 if anything does not fit.
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { Complaint, main } from "./tool.ts";

const USAGE = "npm run audit:verify -- --url URL --token TOKEN [--database DB] [--anchor SEQ:HASH]";

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
        anchor: { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new Complaint(`${error instanceof Error ? error.message : String(error)}\n  ${USAGE}`);
  }
}

await main(async () => {
  const { url, token, database, anchor } = options();
  if (!url || !token) throw new Complaint(`Say where and with which token:\n  ${USAGE}`);
  const [anchorSeq, anchorHash] = anchor?.split(":") ?? [];
  if (anchor !== undefined && !/^\d+:[0-9a-f]{64}$/.test(anchor)) {
    throw new Complaint("--anchor is the number of a row, a colon and 64 hex digits.");
  }
  let isAnchored = anchor === undefined;
  let faults = 0;
  let after: number | null = 0;
  while (after !== null) {
    const page: z.output<typeof pageSchema> = await verify(url, token, database, after);
    for (const { kind, seq } of page.findings) console.log(`${kind} ${seq}`);
    faults += page.findings.length;
    isAnchored ||= page.sealed.some(
      ({ seq, hash }) => String(seq) === anchorSeq && hash === anchorHash,
    );
    if (page.next === null) {
      const { head, newest } = page;
      console.log(head === null ? "Nothing is sealed yet." : `head ${head.seq}:${head.hash}`);
      console.log(`${newest - (head?.seq ?? 0)} rows behind it are not sealed yet.`);
    }
    after = page.next;
  }
  if (!isAnchored)
    throw new Complaint("The chain does not pass through the anchor: it was rewritten.");
  if (faults > 0) throw new Complaint(`${faults} faults: the audit log is not what was sealed.`);
  console.log("Intact.");
});
