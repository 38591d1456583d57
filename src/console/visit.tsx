/**
 * One page of the console: who may see it, what its URL may say, and the row that the audit log gets before anything is
 * read, in every database that is read. Who cannot be noted is shown nothing.
 */
import type { z } from "zod";
import type { Scope } from "../contract/scopes.ts";
import { databasesOf } from "../env.ts";
import type { HttpContext } from "../http/context.ts";
import { writeAuditNote } from "../journal/audit-log.ts";
import type { Database } from "../journal/database.ts";
import type { JsonObject } from "../kernel/json.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { readForm } from "./form.ts";
import { sendView, type View } from "./page.tsx";
import { goTo, placeOf } from "./place.tsx";
import { actorIn, type NoSession, type Session, sessionOf } from "./session.ts";

/** A request of somebody who may make it. */
export type Visit = {
  readonly c: HttpContext;
  readonly session: Session;
  /** The database that the URL names; `DB`, unless it does. */
  readonly db: Database;
  readonly database: string;
  readonly databases: readonly (readonly [name: string, db: Database])[];
  readonly nowMs: number;
};

export type PageDefinition<Search> = {
  /** Of the audit row: `console.requests`. */
  readonly name: string;
  /** Of these scopes one is needed. */
  readonly anyOf: readonly Scope[];
  /** What the query may say; what it cannot read is left out, for a URL that was cut is still a URL. */
  readonly search: z.ZodType<Search>;
  /** Whether every database is read, and not only the one that the URL names. */
  readonly everywhere?: true;
  /** What the audit row says was looked at. No key, but its hash. */
  readonly noted?: (search: Search, c: HttpContext) => JsonObject;
  readonly view: (visit: Visit, search: Search) => Promise<View | Response>;
};

type Handler = (c: HttpContext) => Promise<Response>;

export const consolePage =
  <Search,>(definition: PageDefinition<Search>): Handler =>
  async (c) => {
    const session = await sessionOf(c);
    if (!session.ok) return turnAway(c, session.failure);
    return showTo(c, session.value, definition);
  };

const showTo = async <Search,>(
  c: HttpContext,
  session: Session,
  { name, anyOf, search: schema, everywhere, noted, view }: PageDefinition<Search>,
): Promise<Response> => {
  if (!anyOf.some((scope) => session.scopes.has(scope))) {
    return sendView(c, lacking(anyOf), session);
  }
  const search = schema.safeParse(c.req.query());
  if (!search.success) {
    const told = search.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    return sendView(c, notice(400, "This address is not valid", told.join("; ")), session);
  }
  const databases = databasesOf(c.env);
  const database = c.req.param("database") ?? c.req.query("database") ?? "DB";
  const db = databases.find(([one]) => one === database)?.[1];
  if (db === undefined) return sendView(c, NOT_FOUND, session);
  const note = {
    ...actorIn(c, session),
    atMs: Date.now(),
    tenant: "",
    kind: "read",
    operation: name,
    detail: noted === undefined ? {} : noted(search.data, c),
  } as const;
  try {
    const read = everywhere === true ? databases.map(([, one]) => one) : [db];
    await Promise.all(read.map((one) => withTimeout(writeAuditNote(one, note), SEND_TIMEOUT_MS)));
    const shown = await view(
      { c, session, db, database, databases, nowMs: Date.now() },
      search.data,
    );
    return shown instanceof Response ? shown : await sendView(c, shown, session);
  } catch (error) {
    logFailure(c, error);
    return sendView(c, AWAY, session);
  }
};

/** A form that acts: of a session that may, from a page of ours, read strictly. What it says is judged by whoever acts. */
export const consoleAction =
  (act: (c: HttpContext, session: Session, form: URLSearchParams) => Promise<Response>): Handler =>
  async (c) => {
    const session = await sessionOf(c);
    if (!session.ok) return turnAway(c, session.failure);
    if (!session.value.scopes.has("ops:act")) {
      return sendView(c, lacking(["ops:act"]), session.value);
    }
    const form = await readForm(c, session.value);
    if (form.ok) return act(c, session.value, form.value);
    const { status, detail } = form.failure;
    return sendView(c, notice(status, NOTHING_DONE, detail), session.value);
  };

/** Of a form that was kept for longer than its key is remembered it could not be told whether it was sent before. */
export const TOO_OLD: View = {
  title: "Nothing was done",
  status: 400,
  main: (
    <div class="notice">
      <h1>Nothing was done</h1>
      <p>The form is too old. Load it again.</p>
    </div>
  ),
};

export const NOTHING_DONE = "Nothing was done";

/** After a write that got no answer. */
export const NOT_KNOWN: View = {
  title: "It is not known whether that was done",
  status: 503,
  main: (
    <div class="notice">
      <h1>It is not known whether that was done</h1>
      <p>No answer came. Send the same form again: it is done once.</p>
    </div>
  ),
};

/** The page tells no details; whoever has its request id finds them in the log. */
export const logFailure = (c: HttpContext, error: unknown): void =>
  console.error(
    JSON.stringify({
      level: "error",
      event: "console-failed",
      requestId: c.get("latchkey.requestId"),
      error: String(error),
    }),
  );

export const notice = (status: number, title: string, detail: string): View => ({
  title,
  status,
  main: (
    <div class="notice">
      <h1>{title}</h1>
      <p>{detail}</p>
    </div>
  ),
});

export const NOT_FOUND: View = notice(
  404,
  "Nothing here",
  "There is no such page, or no such thing on it.",
);

export const AWAY: View = notice(
  503,
  "The database did not answer",
  "Nothing was changed by looking. Load the page again in a moment.",
);

const lacking = (anyOf: readonly Scope[]): View =>
  notice(403, "Your token does not grant this", `It needs ${anyOf.join(" or ")}.`);

/** To the sign-in page, which leads back; unless it cannot be told now who asks. */
const turnAway = async (c: HttpContext, why: NoSession): Promise<Response> => {
  if (why.kind === "unavailable") {
    return sendView(c, notice(503, "It cannot be checked who you are", why.why), undefined);
  }
  const url = URL.parse(c.req.url);
  const then = url === null || c.req.method !== "GET" ? "" : placeOf(c) + url.search;
  return goTo(c, `/console/sign-in?then=${encodeURIComponent(then)}`);
};
