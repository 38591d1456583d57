/**
 * What a person should look at, and what they do about it: choose, read what will happen to how many, give a reason, and
 * send it once. The form carries its own key, so sending it twice is one action.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import { databaseNamed } from "../env.ts";
import type { HttpContext } from "../http/context.ts";
import { changeIssues, findAction, findIssues } from "../journal/issue-actions.ts";
import { type Issue, ISSUE_STATES, type IssueState, listIssues } from "../journal/issues.ts";
import { systemRandomness, timeOrderedId } from "../kernel/ids.ts";
import {
  ACTION_KEPT_MS,
  ACTION_SUBJECTS_MAX,
  CONSOLE_PAGE_ROWS,
  REASON_LENGTH_MAX,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { readForm } from "./form.ts";
import { linkTo, plural, Time } from "./format.tsx";
import { sendView } from "./page.tsx";
import { Databases, Empty, Tabs } from "./parts.tsx";
import { actorIn, type Session, sessionOf } from "./session.ts";
import { consolePage, lacking, logFailure, NOT_FOUND, notice, turnAway } from "./visit.tsx";

/** What can be done, and what it makes of an issue. */
const ACTIONS = {
  acknowledged: { verb: "Acknowledge", done: "acknowledged" },
  resolved: { verb: "Resolve", done: "resolved" },
  open: { verb: "Open again", done: "opened again" },
} as const satisfies Record<IssueState, { verb: string; done: string }>;

const issueId = z.string().min(1).max(64);
const actionId = z.string().regex(/^act_[0-9a-hjkmnp-tv-z]{26}$/);

export const issuesPage = consolePage({
  name: "console.issues",
  anyOf: ["ops:read", "ops:act"],
  search: z.object({
    state: z.enum([...ISSUE_STATES, "all"]).default("open"),
    after: z.string().max(64).default(""),
    done: actionId.optional(),
    database: z.string().max(10).optional(),
  }),
  noted: ({ state }) => ({ state }),
  view: async ({ c, session, db, database, databases }, { state, after, done }) => {
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
              {plural(action.changed, "issue")} {doneBy(action.action)}.
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
          <Issues issues={page.data} mayAct={session.scopes.has("ops:act")} database={database} />
          <p class="pages">
            {page.next !== null && (
              <a
                rel="next"
                href={linkTo("/console/issues", {
                  state,
                  database: now["database"],
                  after: page.next,
                })}
              >
                More
              </a>
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

const Issues: FC<{ issues: readonly Issue[]; mayAct: boolean; database: string }> = ({
  issues,
  mayAct,
  database,
}) => {
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
                <code>{issue.subject}</code>
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
    <form action="/console/issues/confirm">
      <input type="hidden" name="database" value={database} />
      {table}
      <div class="actions">
        {Object.entries(ACTIONS).map(([state, { verb }]) => (
          <button name="state" value={state}>
            {verb}…
          </button>
        ))}
      </div>
    </form>
  ) : (
    table
  );
};

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
            <a href="/console/issues">Issues</a> / {verb.toLowerCase()}
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
          <form method="post" action="/console/issues/change" class="confirm">
            <input type="hidden" name="form" value={session.form} />
            <input
              type="hidden"
              name="action"
              value={`act_${timeOrderedId(nowMs, systemRandomness)}`}
            />
            <input type="hidden" name="database" value={database} />
            <input type="hidden" name="state" value={state} />
            {wanted.map((issue) => (
              <input type="hidden" name="id" value={issue.id} />
            ))}
            <label for="reason">Reason, for whoever reads this later</label>
            <textarea
              id="reason"
              name="reason"
              rows={3}
              maxlength={REASON_LENGTH_MAX}
              required
            ></textarea>
            <p class="note">
              Written to the audit log under your name, once, however often this is sent.
            </p>
            <button type="submit">
              {verb} {plural(wanted.length, "issue")}
            </button>{" "}
            <a href="/console/issues">Do nothing</a>
          </form>
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
export const changeAction = async (c: HttpContext): Promise<Response> => {
  const session = await sessionOf(c);
  if (!session.ok) return turnAway(c, session.failure);
  if (!session.value.scopes.has("ops:act")) {
    return sendView(c, lacking(["ops:act"]), session.value);
  }
  return change(c, session.value);
};

const change = async (c: HttpContext, session: Session): Promise<Response> => {
  const form = await readForm(c, session);
  if (!form.ok) {
    return sendView(
      c,
      notice(form.failure.status, "Nothing was done", form.failure.detail),
      session,
    );
  }
  const asked = changeForm.safeParse({
    ...Object.fromEntries(form.value),
    ids: form.value.getAll("id"),
  });
  if (!asked.success) {
    return sendView(
      c,
      notice(
        400,
        "Nothing was done",
        "Choose issues, say what to do with them, and give a reason.",
      ),
      session,
    );
  }
  const { database, action, state, reason, ids } = asked.data;
  const db = databaseNamed(c.env, database);
  if (db === undefined) return sendView(c, NOT_FOUND, session);
  const nowMs = Date.now();
  // Of a form that was kept for longer than its key is remembered it could not be told whether it was sent before.
  if (action < `act_${timeOrderedId(nowMs - ACTION_KEPT_MS / 2, () => undefined)}`) {
    return sendView(
      c,
      notice(400, "Nothing was done", "The form is too old. Load it again."),
      session,
    );
  }
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
    return sendView(
      c,
      notice(
        503,
        "It is not known whether that was done",
        "The database did not answer. Send the same form again: it is done once.",
      ),
      session,
    );
  }
  return c.redirect(linkTo("/console/issues", { database, state, done: action }), 303);
};
