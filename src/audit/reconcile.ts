/**
 * One scheduled run of the reconciliation over one database: some steps of a pass, each a page of one table. What is safe
 * is put right (what has expired is swept, a copy that an erasure has missed is erased, an upstream that can be asked
 * is asked what became of a key); for everything else an issue is raised. A run that dies repeats its last step; of two runs at once one stops.
 */
import { z } from "zod";
import type { Database } from "../journal/database.ts";
import { statement } from "../journal/database.ts";
import { type Discrepancy, raiseIssues, resolveUnseen } from "../journal/issues.ts";
import { findRecords, sweepOverdue } from "../journal/journal.ts";
import type { JournalEntry } from "../journal/record-row.ts";
import { readScheduledState, writeScheduledState } from "../journal/scheduled-state.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { keyHash } from "../kernel/hash.ts";
import { NUDGES_PER_STEP, RECONCILE_COPIES_PER_PAGE } from "../kernel/limits.ts";
import { sql } from "../kernel/sql.ts";
import { type Check, endOfPage, faultsOfPage, type Place } from "./checks.ts";
import { differenceOf, type CopySeen } from "./copy.ts";
import {
  afterStep,
  newPass,
  parseReconciliation,
  RECONCILED_KINDS,
  resultOf,
  sentenceOf,
  type StepResult,
} from "./reconciliation.ts";

/** A key's row, for whoever looks elsewhere. */
export type KeyPlace = { readonly tenant: string; readonly key: string };

export type ReconcileSetup = {
  readonly db: Database;
  readonly checks: readonly Check[];
  readonly nowMs: number;
  /** How many steps at most. */
  readonly steps: number;
  /** The copy that an object holds of a key; undefined if it holds none. Not asked if not given. */
  readonly copyOf?: (object: string, at: KeyPlace) => Promise<CopySeen | undefined>;
  /** Erases an object's copy, after its row was erased. */
  readonly eraseCopy?: (entry: JournalEntry, at: KeyPlace) => Promise<void>;
  /**
   * Has the object of a stuck key take its work up again, which asks the upstream where it can be asked. Whether the key is
   * stuck no more. Safe to repeat. Must not reject.
   */
  readonly nudge?: (object: string, at: KeyPlace) => Promise<boolean>;
};

/** What the task is called where it is remembered. */
export const RECONCILIATION = "reconciliation";

/** Returns how many steps were done. */
export const reconcile = async (setup: ReconcileSetup): Promise<number> => {
  const { db, checks, nowMs, steps } = setup;
  const remembered = await readScheduledState(db, RECONCILIATION);
  let { version } = remembered;
  let { pass, last } = parseReconciliation(remembered.state);
  for (let step = 1; step <= steps; step++) {
    pass ??= newPass(nowMs);
    const check = checks[pass.check];
    // The list of checks was longer when this pass began: it is over.
    if (check !== undefined) {
      pass = afterStep(pass, check, await stepOf(setup, check, pass.place ?? undefined));
    }
    const result = resultOf(pass, checks, nowMs);
    if (result !== undefined) {
      if (!result.isPartial) await resolveUnseen(db, RECONCILED_KINDS, pass.startedAtMs, nowMs);
      last = result;
      pass = null;
    }
    if (!(await writeScheduledState(db, RECONCILIATION, version, { pass, last }))) return step;
    version += 1;
    // One pass a run: the next begins with fresh time.
    if (result !== undefined) return step;
  }
  return steps;
};

const faultRow = z.object({
  tenant: z.string(),
  subject: z.string(),
  object: z.string().nullable(),
  fault: z.number(),
  expected: z.union([z.string(), z.number()]).nullable(),
  found: z.union([z.string(), z.number()]).nullable(),
});

const endRow = z.looseObject({ rows_in_page: z.number() });

const stepOf = async (
  setup: ReconcileSetup,
  check: Check,
  after: Place | undefined,
): Promise<StepResult> => {
  const { db, nowMs } = setup;
  const faults = check.faults(nowMs);
  // One transaction: the page is the same for both.
  const [flagged, ends] = await db.batch([
    statement(db, faultsOfPage(check, after, nowMs)),
    statement(db, endOfPage(check, after)),
  ]);
  const end = ends?.results[0] === undefined ? undefined : endRow.parse(ends.results[0]);
  const isJournal = check.name === "journal";
  const found: Discrepancy[] = [];
  const healed: string[] = [];
  const seen = (flagged?.results ?? []).map((one) => {
    const row = faultRow.parse(one);
    return { ...row, kind: faults[row.fault]?.kind ?? "unknown" };
  });
  const over = await nudgeStuck(setup, seen);
  for (const row of seen) {
    const { kind, tenant, object } = row;
    if (over.has(row)) {
      healed.push(kind);
      continue;
    }
    const subject = isJournal ? keyHash(tenant, row.subject) : row.subject;
    const isOpen = object !== null && kind !== "key-without-effect";
    const work = isOpen ? { work: { key: row.subject, object } } : {};
    found.push({ kind, tenant, subject, what: sentenceOf(kind, row), ...work });
  }
  const place = end === undefined ? undefined : placeOf(check, end);
  if (isJournal && place !== undefined) {
    const swept = await sweepOverdue(db, keyPlace(after), keyPlace(place), wholeSeconds(nowMs));
    healed.push(...Array.from({ length: swept }, () => "expired-left-behind"));
    const copies = await compareCopies(setup, keyPlace(after), keyPlace(place));
    found.push(...copies.found);
    healed.push(...copies.healed);
  }
  await raiseIssues(db, found, nowMs);
  return {
    rows: end?.rows_in_page ?? 0,
    end: place,
    found: found.map(({ kind }) => kind),
    healed,
  };
};

type Seen = z.output<typeof faultRow> & { readonly kind: string };

/** Those of stuck keys that are stuck no more once their objects were asked. Some of them at a time: a pass follows a pass. */
const nudgeStuck = async (
  { nudge, nowMs }: ReconcileSetup,
  seen: readonly Seen[],
): Promise<ReadonlySet<Seen>> => {
  const stuck = seen.filter(({ kind, object }) => object !== null && kind !== "key-without-effect");
  if (nudge === undefined) return new Set();
  // Not always the first of them: else those behind would never be asked for.
  const start = stuck.length === 0 ? 0 : nowMs % stuck.length;
  const chosen = [...stuck.slice(start), ...stuck.slice(0, start)].slice(0, NUDGES_PER_STEP);
  const isOver = await Promise.all(
    chosen.map(({ object, tenant, subject }) => nudge(object ?? "", { tenant, key: subject })),
  );
  return new Set(chosen.filter((_, i) => isOver[i]));
};

const placeOf = ({ place }: Check, row: Readonly<Record<string, unknown>>): Place =>
  place.map((column) => z.union([z.string(), z.number()]).parse(row[column]));

const keyPlace = (place: Place | undefined): KeyPlace => ({
  tenant: String(place?.[0] ?? ""),
  key: String(place?.[1] ?? ""),
});

const sampleRow = z.object({ tenant: z.string(), key: z.string() });

/**
 * Some outcomes of a page, beside the copies that their objects hold. A copy is written after its row and erased after
 * it, so what differs is read again, row first, before it counts.
 */
const compareCopies = async (
  { db, copyOf, eraseCopy }: ReconcileSetup,
  after: KeyPlace,
  until: KeyPlace,
): Promise<{ readonly found: Discrepancy[]; readonly healed: string[] }> => {
  const found: Discrepancy[] = [];
  const healed: string[] = [];
  if (copyOf === undefined) return { found, healed };
  const { results } = await statement(
    db,
    sql`SELECT tenant, key FROM journal WHERE (tenant, key) > (${after.tenant}, ${after.key}) AND (tenant, key) <= (${until.tenant}, ${until.key})
AND state IN ('final', 'erased') ORDER BY random() LIMIT ${RECONCILE_COPIES_PER_PAGE}`,
  ).all();
  for (const at of results.map((row) => sampleRow.parse(row))) {
    let differs: "no" | "outcome" | "erasure" = "no";
    let entry: JournalEntry | undefined;
    for (let times = 0; times < 2; times++) {
      entry = (await findRecords(db, at.tenant, [at.key])).get(at.key);
      // Forgotten meanwhile.
      if (entry === undefined) break;
      const copy = await copyOf(entry.object, at);
      differs = copy === undefined ? "no" : differenceOf(entry, copy);
      if (differs === "no") break;
    }
    if (entry === undefined || differs === "no") continue;
    if (differs === "erasure" && eraseCopy !== undefined) {
      await eraseCopy(entry, at);
      healed.push("copy-not-erased");
      continue;
    }
    const kind = "copy-differs";
    found.push({
      kind,
      tenant: at.tenant,
      subject: keyHash(at.tenant, at.key),
      what: sentenceOf(kind, { expected: null, found: null }),
    });
  }
  return { found, healed };
};
