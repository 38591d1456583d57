/** Stuck work taken up again: says what it would be, asks for the reason, and does it once for each form. */
import { z } from "zod";
import { databaseNamed } from "../env.ts";
import { redriveWork } from "../http/ops/redrive.ts";
import { REASON_LENGTH_MAX } from "../kernel/limits.ts";
import { actionId, isTooOld, mintAction } from "./action.ts";
import { Key, linkTo, plural } from "./format.tsx";
import { sendView, type View } from "./page.tsx";
import { A, Form, goTo } from "./place.tsx";
import { Reason } from "./parts.tsx";
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
import { findWork, parseWork, type WorkSearch } from "./work.ts";

export const redrivePage = consolePage({
  name: "console.redrive-confirm",
  anyOf: ["ops:act"],
  search: z.object({}),
  view: async ({ c, session, db, database, nowMs }) => {
    const asked = parseWork((name) => c.req.queries(name));
    if (!asked.success) return NOT_FOUND;
    const { request, issues } = asked.data;
    const work = await findWork(db, asked.data);
    if (work.length === 0) return nothingOpen(issues.length === 0 && request === undefined);
    const title = `Re-drive ${plural(work.length, "key")}`;
    return {
      title,
      main: (
        <>
          <p class="path">
            <A href="/console/issues">Issues</A> / re-drive
          </p>
          <h1>{title}?</h1>
          <ul class="subjects">
            {work.map(({ subject: { tenant, key }, what, isUncertain }) => (
              <li>
                <Key value={key} /> of {tenant}: {what}
                {isUncertain && (
                  <p class="note">
                    It is not sent again. The API behind is asked what became of it, if it can be.
                  </p>
                )}
              </li>
            ))}
          </ul>
          {issues.length > work.length && (
            <p class="note">
              {plural(issues.length - work.length, "issue")} of those chosen{" "}
              {issues.length - work.length === 1 ? "is" : "are"} about no work that is open, and
              left out.
            </p>
          )}
          <p>
            The object of each key does now what its alarm would do next, with the original key:
            nothing is sent that may have been carried out and would be carried out twice. It counts
            as one of the key’s tries.
          </p>
          <Form method="post" action="/console/redrive" class="confirm">
            <input type="hidden" name="form" value={session.form} />
            <input type="hidden" name="action" value={mintAction(nowMs)} />
            <input type="hidden" name="database" value={database} />
            {request === undefined ? (
              work.map(({ subject: { issue } }) => (
                <input type="hidden" name="issue" value={issue ?? ""} />
              ))
            ) : (
              <input type="hidden" name="request" value={String(request)} />
            )}
            <Reason />
            <button type="submit">{title}</button> <A href="/console/issues">Do nothing</A>
          </Form>
        </>
      ),
    };
  },
});

const nothingOpen = (nothingChosen: boolean): View =>
  notice(
    200,
    "Nothing to re-drive",
    nothingChosen
      ? "Choose one or more issues first."
      : "No work is open that an object carries on: it has ended, or is a matter of the books.",
  );

const redriveForm = z.object({
  action: actionId,
  reason: z.string().trim().min(1).max(REASON_LENGTH_MAX),
});

export const redriveAction = consoleAction(async (c, session, form) => {
  const asked = redriveForm.safeParse(Object.fromEntries(form));
  const work = parseWork((name) => form.getAll(name));
  if (!asked.success || !work.success) {
    return sendView(c, notice(400, NOTHING_DONE, "Choose keys, and give a reason."), session);
  }
  const { action, reason } = asked.data;
  const db = databaseNamed(c.env, work.data.database);
  if (db === undefined) return sendView(c, NOT_FOUND, session);
  const nowMs = Date.now();
  if (isTooOld(action, nowMs)) return sendView(c, TOO_OLD, session);
  try {
    const subjects = (await findWork(db, work.data)).map(({ subject }) => subject);
    // What was done before may have ended the work: then the action has its answer, and none is left to tell.
    const redriven = await redriveWork(
      c.env,
      db,
      { id: action, about: aboutOf(work.data), subjects, reason },
      actorIn(c, session),
      nowMs,
    );
    if (redriven.kind === "unknown") return await sendView(c, NOT_KNOWN, session);
    if (redriven.kind === "other") {
      return await sendView(
        c,
        notice(400, NOTHING_DONE, "This form was sent for something else. Load it again."),
        session,
      );
    }
  } catch (error) {
    logFailure(c, error);
    return sendView(c, NOT_KNOWN, session);
  }
  const { database, request } = work.data;
  return goTo(
    c,
    request === undefined || !session.scopes.has("ops:support")
      ? linkTo("/console/issues", { database, done: action })
      : linkTo(`/console/requests/${database}/${request}`, { done: action }),
  );
});

const aboutOf = ({ issues, request }: WorkSearch): readonly string[] =>
  request === undefined ? issues : [`request ${request}`];
