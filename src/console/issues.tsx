/**
 * What a person should look at, and what they do about it: choose, read what will happen to how many, give a reason, and
 * send it once. The form carries its own key, so sending it twice is one action.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import { databaseNamed } from "../env.ts";
import { changeIssues, findAction, findIssues } from "../journal/issue-actions.ts";
import { type Issue, ISSUE_STATES, type IssueState, listIssues } from "../journal/issues.ts";
import {
  ACTION_SUBJECTS_MAX,
  CONSOLE_PAGE_ROWS,
  REASON_LENGTH_MAX,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { actionId, isTooOld, mintAction } from "./action.ts";
import { Key, linkTo, plural, Time } from "./format.tsx";
import { sendView } from "./page.tsx";
import { A, Form, goTo, SendTo } from "./place.tsx";
import { Databases, Empty, Reason, Tabs } from "./parts.tsx";
import { actorIn } from "./session.ts";
import {
  consoleAction,
  consolePage,
  logFailure,
  NOT_FOUND,
  NOT_KNOWN,
  NOTHING_DONE,
  notice,
  TOO_OLD,
} from "./visit.tsx";
import { redrivenSentence, RESOLVED } from "./work.ts";

/** What can be done, and what it makes of an issue. */
const ACTIONS = {
  acknowledged: { verb: "Acknowledge", done: "acknowledged" },
  resolved: { verb: "Resolve", done: "resolved" },
  open: { verb: "Open again", done: "opened again" },
} as const satisfies Record<IssueState, { verb: string; done: string }>;

const issueId = z.string().min(1).max(64);

export const issuesPage = consolePage({
  name: "console.issues",
  anyOf: ["ops:read", "ops:act"],
  search: z.object({
    state: z.enum([...ISSUE_STATES, "all"]).default("open"),
    after: z.string().max(64).default(""),
    done: actionId.optional(),
    told: z.enum(["executed", "not-executed"]).optional(),
    database: z.string().max(10).optional(),
  }),
  noted: ({ state }) => ({ state }),
  view: async ({ c, session, db, database, databases }, { state, after, done, told }) => {
    const page = await listIssues(db, {
      state: state === "all" ? undefined : state,
      after,
      limit: CONSOLE_PAGE_ROWS,
    });
    const action = done === undefined ? undefined : await findAction(db, done);
    const now = c.req.query();
    return {
      title: "Issues",
      main: (
        <>
          <h1>Issues</h1>
          {action !== undefined && (
            <p class="told" role="status">
              {action.answer === null
                ? `${plural(action.changed, "issue")} ${doneBy(action.action)}.`
                : redrivenSentence(action.answer)}
            </p>
          )}
          {told !== undefined && (
            <p class="told" role="status">
              {RESOLVED[told]}
            </p>
          )}
          <Tabs
            label="State"
            tabs={(["open", "acknowledged", "resolved", "all"] as const).map((one) => ({
              title: one[0]?.toUpperCase() + one.slice(1),
              href: linkTo("/console/issues", { state: one, database: now["database"] }),
              isCurrent: one === state,
            }))}
          />
          <Databases
            path="/console/issues"
            now={now}
            database={database}
            names={databases.map(([name]) => name)}
          />
          <Issues
            issues={page.data}
            mayAct={session.scopes.has("ops:act")}
            maySearch={session.scopes.has("ops:support")}
            database={database}
          />
          <p class="pages">
            {page.next !== null && (
              <A
                rel="next"
                href={linkTo("/console/issues", {
                  state,
                  database: now["database"],
                  after: page.next,
                })}
              >
                More
              </A>
            )}
          </p>
        </>
      ),
    };
  },
});

const doneBy = (action: string): string =>
  ISSUE_STATES.map((state) => [`ops.issues-${state}`, ACTIONS[state].done] as const).find(
    ([name]) => name === action,
  )?.[1] ?? "changed";

const Issues: FC<{
  issues: readonly Issue[];
  mayAct: boolean;
  maySearch: boolean;
  database: string;
}> = ({ issues, mayAct, maySearch, database }) => {
  if (issues.length === 0) {
    return (
      <Empty>
        Nothing here. The reconciliation and the boundary monitor raise issues by themselves.
      </Empty>
    );
  }
  const table = (
    <div class="wide" tabindex={0} role="region" aria-label="Issues">
      <table>
        <thead>
          <tr>
            {mayAct && (
              <th scope="col">
                <span class="unseen">Choose</span>
              </th>
            )}
            <th scope="col">What</th>
            <th scope="col">Tenant</th>
            <th scope="col">About</th>
            <th scope="col">State</th>
            <th scope="col">Last seen</th>
          </tr>
        </thead>
        <tbody>
          {issues.map((issue) => (
            <tr>
              {mayAct && (
                <td>
                  <input
                    type="checkbox"
                    name="id"
                    value={issue.id}
                    aria-label={`Choose: ${issue.what} ${issue.tenant} ${issue.subject}`}
                  />
                </td>
              )}
              <td class="what">
                <strong>{issue.kind}</strong>
                <br />
                {issue.what}
              </td>
              <td>{issue.tenant}</td>
              <td class="about">
                <About issue={issue} mayAct={mayAct} maySearch={maySearch} database={database} />
              </td>
              <td>
                <span class={`state ${issue.state === "resolved" ? "done" : "open"}`}>
                  {issue.state}
                </span>
                {issue.reason !== null && (
                  <p class="note">
                    {issue.reason} — {issue.changedBy}
                  </p>
                )}
              </td>
              <td class="nowrap">
                <Time ms={issue.lastSeenMs} />
                <p class="note">
                  first <Time ms={issue.firstSeenMs} />, {plural(issue.times, "time")}
                </p>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
  return mayAct ? (
    <Form action="/console/issues/confirm">
      <input type="hidden" name="database" value={database} />
      {table}
      <div class="actions">
        {Object.entries(ACTIONS).map(([state, { verb }]) => (
          <button name="state" value={state}>
            {verb}…
          </button>
        ))}
        <SendTo action="/console/redrive">Re-drive…</SendTo>
      </div>
    </Form>
  ) : (
    table
  );
};

/** The key, while work is open, with what can be done about it; else what the issue says that it is about. */
const About: FC<{ issue: Issue; mayAct: boolean; maySearch: boolean; database: string }> = ({
  issue: { id, tenant, kind, subject, key },
  mayAct,
  maySearch,
  database,
}) =>
  key === null ? (
    <code>{subject}</code>
  ) : (
    <>
      <Key value={key} />
      {maySearch && (
        <p>
          <A href={linkTo("/console/search", { q: key, tenant })}>Its request</A>
        </p>
      )}
      {mayAct && kind === "outcome-uncertain" && (
        <p>
          <A href={linkTo("/console/resolution", { issue: id, database })}>Say what happened…</A>
        </p>
      )}
    </>
  );

/** Says what would happen to what, and asks for the reason. Nothing happens here. */
export const confirmPage = consolePage({
  name: "console.issues-confirm",
  anyOf: ["ops:act"],
  search: z.object({
    state: z.enum(ISSUE_STATES),
    database: z.string().max(10).optional(),
    id: z.string().optional(),
  }),
  view: async ({ c, session, db, database, nowMs }, { state }) => {
    const ids = z
      .array(issueId)
      .max(ACTION_SUBJECTS_MAX)
      .safeParse(c.req.queries("id") ?? []);
    if (!ids.success) {
      return notice(400, "Too many", `One action is about ${ACTION_SUBJECTS_MAX} issues at most.`);
    }
    const issues = await findIssues(db, ids.data);
    const wanted = issues.filter((issue) => issue.state !== state);
    const { verb, done } = ACTIONS[state];
    if (wanted.length === 0) {
      return notice(
        200,
        "Nothing to do",
        issues.length === 0 ? "Choose one or more issues first." : `They are ${done} already.`,
      );
    }
    return {
      title: `${verb} ${plural(wanted.length, "issue")}`,
      main: (
        <>
          <p class="path">
            <A href="/console/issues">Issues</A> / {verb.toLowerCase()}
          </p>
          <h1>
            {verb} {plural(wanted.length, "issue")}?
          </h1>
          <ul class="subjects">
            {wanted.map((issue) => (
              <li>
                <strong>{issue.kind}</strong> {issue.what} <code>{issue.subject}</code>{" "}
                {issue.tenant !== "" && <>of {issue.tenant}</>}
              </li>
            ))}
          </ul>
          {state === "resolved" && wanted.some(({ kind }) => kind === "outcome-uncertain") && (
            <p class="note">
              The issue is resolved by this, and not the key: its retries go on being told that its
              outcome is uncertain, until somebody says what happened.
            </p>
          )}
          <Form method="post" action="/console/issues/change" class="confirm">
            <input type="hidden" name="form" value={session.form} />
            <input type="hidden" name="action" value={mintAction(nowMs)} />
            <input type="hidden" name="database" value={database} />
            <input type="hidden" name="state" value={state} />
            {wanted.map((issue) => (
              <input type="hidden" name="id" value={issue.id} />
            ))}
            <Reason />
            <button type="submit">
              {verb} {plural(wanted.length, "issue")}
            </button>{" "}
            <A href="/console/issues">Do nothing</A>
          </Form>
        </>
      ),
    };
  },
});

const changeForm = z.object({
  action: actionId,
  database: z.string(),
  state: z.enum(ISSUE_STATES),
  reason: z.string().trim().min(1).max(REASON_LENGTH_MAX),
  ids: z.array(issueId).min(1).max(ACTION_SUBJECTS_MAX),
});

/** Does it, once for each form that was shown. */
export const changeAction = consoleAction(async (c, session, form) => {
  const asked = changeForm.safeParse({ ...Object.fromEntries(form), ids: form.getAll("id") });
  if (!asked.success) {
    const detail = "Choose issues, say what to do with them, and give a reason.";
    return sendView(c, notice(400, NOTHING_DONE, detail), session);
  }
  const { database, action, state, reason, ids } = asked.data;
  const db = databaseNamed(c.env, database);
  if (db === undefined) return sendView(c, NOT_FOUND, session);
  const nowMs = Date.now();
  if (isTooOld(action, nowMs)) return sendView(c, TOO_OLD, session);
  try {
    const changing = changeIssues(
      db,
      { id: action, issues: ids, state, reason },
      actorIn(c, session),
      crypto.randomUUID(),
      nowMs,
    );
    await withTimeout(changing, SEND_TIMEOUT_MS);
  } catch (error) {
    logFailure(c, error);
    return sendView(c, NOT_KNOWN, session);
  }
  return goTo(c, linkTo("/console/issues", { database, state, done: action }));
});
