/** Stuck work as the console finds it: by issues, or by a request's row of the audit log; and how it tells what became of it. */
import { z } from "zod";
import { parseRedriven, workOf } from "../http/ops/redrive.ts";
import type { Database } from "../journal/database.ts";
import { findKeyOf } from "../journal/effects-of-key.ts";
import { findIssues, type WorkSubject } from "../journal/issue-actions.ts";
import { findRecords } from "../journal/journal.ts";
import { findAuditRow } from "../journal/request-log.ts";
import { ACTION_SUBJECTS_MAX } from "../kernel/limits.ts";
import { plural } from "./format.tsx";

/** What a page or a form says that it is about. */
export const workSearch = z.object({
  database: z.string().max(10).default("DB"),
  issues: z.array(z.string().min(1).max(64)).max(ACTION_SUBJECTS_MAX),
  /** A row's number. */
  request: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
});
export type WorkSearch = z.output<typeof workSearch>;

/** @param values everything of that name, in order */
export const parseWork = (values: (name: string) => readonly string[] | undefined) =>
  workSearch.safeParse({
    database: values("database")?.[0],
    // The list of issues calls them so, for it has but one kind of thing.
    issues: [...(values("issue") ?? []), ...(values("id") ?? [])],
    request: values("request")?.[0],
  });

export type Work = {
  readonly subject: WorkSubject;
  /** For whoever confirms. */
  readonly what: string;
  readonly isUncertain: boolean;
};

/** The work that is open of what was asked for; what has none is left out. */
export const findWork = async (
  db: Database,
  { issues, request }: WorkSearch,
): Promise<readonly Work[]> => {
  if (request !== undefined) {
    const one = await workOfRequest(db, request);
    return one === undefined ? [] : [one];
  }
  return (await findIssues(db, issues)).flatMap((issue): Work[] => {
    const subject = workOf(issue);
    const { kind, what } = issue;
    return subject === undefined
      ? []
      : [{ subject, what, isUncertain: kind === "outcome-uncertain" }];
  });
};

const workOfRequest = async (db: Database, seq: number): Promise<Work | undefined> => {
  const row = await findAuditRow(db, seq);
  if (row === undefined || row.keyHash === null) return undefined;
  const { tenant } = row;
  const key = await findKeyOf(db, row);
  const entry = key === undefined ? undefined : (await findRecords(db, tenant, [key])).get(key);
  if (key === undefined || entry === undefined) return undefined;
  const { state } = entry.record;
  if (state !== "in-flight" && state !== "uncertain") return undefined;
  return {
    subject: { tenant, key, object: entry.object, issue: null },
    what: `${entry.operation}, ${state === "uncertain" ? "uncertain" : "in flight"}`,
    isUncertain: state === "uncertain",
  };
};

const STATES: Readonly<Record<string, string>> = {
  completed: "completed",
  expired: "completed and expired",
  free: "free, not carried out",
  uncertain: "uncertain: say what happened",
  "in-flight": "still in flight",
};

/** `2 keys taken up again: 1 completed, 1 still in flight.` */
export const redrivenSentence = (answer: string): string => {
  const results = parseRedriven(answer);
  if (results.length === 0) return "Nothing was taken up: the work had ended.";
  const counts = new Map<string, number>();
  for (const { state } of results) {
    const name = STATES[state] ?? "not known";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const told = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
  return `${plural(results.length, "key")} taken up again: ${told}.`;
};

/** What a person's word on a key came to. */
export const RESOLVED = {
  executed: "Resolved: retries get the answer that you gave.",
  "not-executed": "Resolved: the key is free to run.",
} as const;
