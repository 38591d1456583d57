/**
 * What scheduled work remembers from run to run. A run reads it, works, and writes it back on condition that nobody has
 * written meanwhile: of two at once one goes on, and the other stops.
 */
import { z } from "zod";
import { sql } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";

const stateRow = z.object({
  version: z.number(),
  state: z.string().transform((text): unknown => JSON.parse(text)),
});

export type Remembered = { readonly version: number; readonly state: unknown };

/** Version 0 and undefined if nothing was written yet. */
export const readScheduledState = async (db: Database, task: string): Promise<Remembered> => {
  const { results } = await statement(
    db,
    sql`SELECT version, state FROM scheduled_state WHERE task = ${task}`,
  ).all();
  return results[0] === undefined ? { version: 0, state: undefined } : stateRow.parse(results[0]);
};

/**
 * Whether it was written; if not, somebody else has.
 * @param version the one that was read; what is written becomes the next
 */
export const writeScheduledState = async (
  db: Database,
  task: string,
  version: number,
  state: unknown,
): Promise<boolean> => {
  const text = JSON.stringify(state);
  const { meta } = await (
    version === 0
      ? statement(
          db,
          sql`INSERT INTO scheduled_state (task, version, state) VALUES (${task}, 1, ${text}) ON CONFLICT DO NOTHING`,
        )
      : statement(
          db,
          sql`UPDATE scheduled_state SET version = version + 1, state = ${text} WHERE task = ${task} AND version = ${version}`,
        )
  ).run();
  return meta.changes > 0;
};
