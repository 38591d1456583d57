/**
 * The slow pass over the journal's primary key: what no alarm will sweep, because its object lost the copy, is swept
 * here. Bounded, resumed where it stopped, and harmless to repeat.
 */
import { SLOW_PASS_ROWS, SLOW_PASS_STEPS } from "../kernel/limits.ts";
import { sql } from "../kernel/sql.ts";
import { z } from "zod";
import { type Database, statement } from "./database.ts";
import { type JournalPlace, type Orphan, sweepAfter } from "./journal.ts";

const START: JournalPlace = { tenant: "", key: "" };

const placeRow = z.object({ tenant: z.string(), key: z.string() });

/**
 * One scheduled run. Returns the rows that it passed, about.
 *
 * @param steps how many, at most: an invocation has a thousand queries for all of its databases, and a step takes five
 * @param recover asked after every claim that has been in flight for long; must not reject
 */
export const runSlowPass = async (
  db: Database,
  nowS: number,
  steps: number = SLOW_PASS_STEPS,
  recover: (orphan: Orphan) => Promise<void> = () => Promise.resolve(),
): Promise<number> => {
  let place = await readPlace(db);
  for (let step = 1; step <= steps; step++) {
    const { reached, orphans } = await sweepAfter(db, place, SLOW_PASS_ROWS, nowS);
    for (const orphan of orphans) await recover(orphan);
    // Written after its step: a run that dies here repeats one step.
    await writePlace(db, reached ?? START);
    if (reached === undefined) return step * SLOW_PASS_ROWS;
    place = reached;
  }
  return steps * SLOW_PASS_ROWS;
};

const readPlace = async (db: Database): Promise<JournalPlace> => {
  const { results } = await statement(
    db,
    sql`SELECT tenant, key FROM housekeeping WHERE pass = 'journal'`,
  ).all();
  return results[0] === undefined ? START : placeRow.parse(results[0]);
};

const writePlace = async (db: Database, { tenant, key }: JournalPlace): Promise<void> => {
  await statement(
    db,
    sql`INSERT INTO housekeeping (pass, tenant, key) VALUES ('journal', ${tenant}, ${key}) ON CONFLICT (pass) DO UPDATE SET tenant = excluded.tenant, key = excluded.key`,
  ).run();
};
