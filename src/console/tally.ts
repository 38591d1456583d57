/** What a grouped row of the audit log says of requests that changed nothing: replays, conflicts, retries in flight. */
import { z } from "zod";
import { isProblemCode, PROBLEMS } from "../contract/problems.ts";

const counts = z.record(z.string(), z.number());

const tallySchema = z.object({
  answers: z.record(z.string(), counts).default({}),
  keys: z.record(z.string(), counts).default({}),
  /** Members of a request that another one with the same key had otherwise, by the hash of the key. Names only. */
  differing: z.record(z.string(), z.array(z.string())).default({}),
});

export type Tally = z.output<typeof tallySchema>;

/** An empty one for a row that says something else. */
export const parseTally = (detail: unknown): Tally =>
  tallySchema.safeParse(detail).data ?? { answers: {}, keys: {}, differing: {} };

export type TallySums = {
  readonly replayed: number;
  /** The key was in use, or belonged to another request, or was spent. */
  readonly conflicts: number;
  /** Answered with 5xx. */
  readonly failed: number;
};

export const sumOf = (counted: readonly Readonly<Record<string, number>>[]): TallySums => {
  let [replayed, conflicts, failed] = [0, 0, 0];
  for (const [what, number] of counted.flatMap((one) => Object.entries(one))) {
    if (what === "replayed") replayed += number;
    else if (isProblemCode(what)) {
      if (PROBLEMS[what].status >= 500) failed += number;
      else conflicts += number;
    }
  }
  return { replayed, conflicts, failed };
};
