/**
 * A person's word on an uncertain key: what it was, and what later retries get. The first word stands, so the form may be
 * sent twice; another word is refused.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import { databaseNamed } from "../env.ts";
import { resolutionInput, resolveKey } from "../http/uncertain-keys.ts";
import { changeIssue } from "../journal/issues.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { Key, linkTo } from "./format.tsx";
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
} from "./visit.tsx";
import { findWork, parseWork, type Work, type WorkSearch } from "./work.ts";

export const resolutionPage = consolePage({
  name: "console.resolution-confirm",
  anyOf: ["ops:act"],
  search: z.object({}),
  view: async ({ c, session, db, database }) => {
    const asked = parseWork((name) => c.req.queries(name));
    if (!asked.success) return NOT_FOUND;
    const work = (await findWork(db, asked.data)).find(({ isUncertain }) => isUncertain);
    if (work === undefined) return NOT_UNCERTAIN;
    return {
      title: "Say what happened",
      main: (
        <>
          <p class="path">
            <A href="/console/issues">Issues</A> / uncertain key
          </p>
          <h1>What happened with 1 uncertain key?</h1>
          <Subject work={work} />
          <p>
            Look it up where it would have happened. What you say here stands: it is what every
            retry gets, and nobody can say otherwise later.
          </p>
          <Form method="post" action="/console/resolution" class="confirm">
            <input type="hidden" name="form" value={session.form} />
            <input type="hidden" name="database" value={database} />
            <About asked={asked.data} />
            <fieldset>
              <legend>It was</legend>
              <p class="choice">
                <input
                  type="radio"
                  id="not-executed"
                  name="outcome"
                  value="not-executed"
                  required
                />
                <label for="not-executed">not carried out: the key is free to run</label>
              </p>
              <p class="choice">
                <input type="radio" id="executed" name="outcome" value="executed" required />
                <label for="executed">carried out, and answered with what stands below</label>
              </p>
            </fieldset>
            <fieldset>
              <legend>If it was carried out: the answer that retries get</legend>
              <p class="note">
                Of a payout: what its processor answered, from which the payout follows.
              </p>
              <label for="status">Status</label>
              <input
                id="status"
                name="status"
                inputmode="numeric"
                pattern="[234][0-9]{2}"
                value="200"
              />
              <label for="contentType">Content-Type</label>
              <input id="contentType" name="contentType" value="application/json" maxlength={255} />
              <label for="body">Body</label>
              <textarea id="body" name="body" rows={5} spellcheck={false}></textarea>
              <label for="link">Path or URL of what was made (Location), if any</label>
              <input id="link" name="link" maxlength={2_000} />
            </fieldset>
            <Reason />
            <button type="submit">Resolve 1 key</button> <A href="/console/issues">Do nothing</A>
          </Form>
        </>
      ),
    };
  },
});

const Subject: FC<{ work: Work }> = ({ work: { subject, what } }) => (
  <ul class="subjects">
    <li>
      <Key value={subject.key} /> of {subject.tenant}: {what}
    </li>
  </ul>
);

const About: FC<{ asked: WorkSearch }> = ({ asked: { issues, request } }) =>
  request === undefined ? (
    <input type="hidden" name="issue" value={issues[0] ?? ""} />
  ) : (
    <input type="hidden" name="request" value={String(request)} />
  );

const NOT_UNCERTAIN: View = notice(
  200,
  "Nothing to resolve",
  "The key is not uncertain, or not any more.",
);

const filled = (value: string | null): string | undefined =>
  value === null || value.trim() === "" ? undefined : value;

export const resolutionAction = consoleAction(async (c, session, form) => {
  const asked = parseWork((name) => form.getAll(name));
  const outcome = form.get("outcome");
  const reason = form.get("reason")?.trim();
  const input = resolutionInput.safeParse(
    outcome === "executed"
      ? {
          outcome,
          reason,
          status: Number(form.get("status")),
          contentType: filled(form.get("contentType")),
          body: form.get("body") ?? "",
          link: filled(form.get("link")),
        }
      : { outcome, reason },
  );
  if (!asked.success || !input.success) {
    const detail =
      "Say whether it was carried out, and why you know; if it was, also a status from 200 to 499, and a link without spaces.";
    return sendView(c, notice(400, NOTHING_DONE, detail), session);
  }
  const db = databaseNamed(c.env, asked.data.database);
  if (db === undefined) return sendView(c, NOT_FOUND, session);
  const by = actorIn(c, session);
  try {
    const work = (await findWork(db, asked.data)).find(({ isUncertain }) => isUncertain);
    if (work === undefined) return await sendView(c, NOT_UNCERTAIN, session);
    const { subject } = work;
    const { kind } = await resolveKey(c, subject, input.data, by.actor);
    if (kind === "unavailable") return await sendView(c, NOT_KNOWN, session);
    if (kind !== "resolved") return await sendView(c, REFUSED, session);
    if (subject.issue !== null) {
      const change = { state: "resolved", reason: input.data.reason } as const;
      const changing = changeIssue(db, subject.issue, change, by, Date.now());
      await withTimeout(changing, SEND_TIMEOUT_MS);
    }
  } catch (error) {
    logFailure(c, error);
    return sendView(c, NOT_KNOWN, session);
  }
  const { database, request } = asked.data;
  const told = input.data.outcome;
  return goTo(
    c,
    request === undefined || !session.scopes.has("ops:support")
      ? linkTo("/console/issues", { database, told })
      : linkTo(`/console/requests/${database}/${request}`, { told }),
  );
});

const REFUSED: View = notice(
  409,
  NOTHING_DONE,
  "The key is not uncertain any more, or somebody has said otherwise: what they said stands.",
);
