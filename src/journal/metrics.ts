/** Counters that isolates and objects add up in one small table: one statement each time, whatever they counted. */
import { z } from "zod";
import { type Sql, sql } from "../kernel/sql.ts";
import { type Database, statement } from "./database.ts";

export const addToMetrics = (counted: ReadonlyMap<string, number>): Sql =>
  sql`INSERT INTO metrics (series, value) SELECT value ->> 0, value ->> 1 FROM json_each(${JSON.stringify([...counted])}) WHERE true
ON CONFLICT (series) DO UPDATE SET value = value + excluded.value`;

export const addMetrics = async (
  db: Database,
  counted: ReadonlyMap<string, number>,
): Promise<void> => {
  if (counted.size > 0) await statement(db, addToMetrics(counted)).run();
};

const metricRow = z.object({ series: z.string(), value: z.number() });

/** Every series; their number is bounded by what there is to label. */
export const readMetrics = async (db: Database): Promise<ReadonlyMap<string, number>> => {
  const { results } = await statement(db, sql`SELECT series, value FROM metrics`).all();
  return new Map(
    results.map((row) => metricRow.parse(row)).map(({ series, value }) => [series, value]),
  );
};
