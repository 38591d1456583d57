/** Signing in with a token, and out. Each sign-in is a row of the audit log; who cannot be noted is not let in. */
import type { FC } from "hono/jsx";
import { type HttpContext, homeOf } from "../http/context.ts";
import { writeAuditNote } from "../journal/audit-log.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { readForm } from "./form.ts";
import { sendView, type View } from "./page.tsx";
import { Form, goTo } from "./place.tsx";
import { actorIn, sessionOf, signedOut, signIn } from "./session.ts";
import { AWAY, logFailure, notice } from "./visit.tsx";

const SignIn: FC<{ then: string; why?: string }> = ({ then, why }) => (
  <div class="sign-in">
    <h1>Console</h1>
    {why !== undefined && (
      <p class="wrong" role="alert">
        {why}
      </p>
    )}
    <Form method="post" action="/console/sign-in">
      <input type="hidden" name="then" value={then} />
      <label for="token">Bearer token</label>
      <textarea
        id="token"
        name="token"
        rows={4}
        required
        autocomplete="off"
        spellcheck={false}
        aria-describedby="token-note"
      ></textarea>
      <p class="note" id="token-note">
        With a scope of operators: <code>ops:read</code>, <code>ops:support</code> or{" "}
        <code>ops:act</code>. The token is checked and not kept; the session ends after an hour, and
        with the token.
      </p>
      <button type="submit">Sign in</button>
    </Form>
  </div>
);

const view = (then: string, why?: string, status = 200): View => ({
  title: "Sign in",
  status,
  main: <SignIn then={then} {...(why === undefined ? {} : { why })} />,
});

/** Only to a page of ours: an address from elsewhere leads nowhere else. */
const placeAfter = (then: string): string =>
  /^\/console(?:[/?][^\\]*)?$/.test(then) && !then.startsWith("/console/sign-") ? then : "/console";

export const signInPage = async (c: HttpContext): Promise<Response> => {
  const then = placeAfter(c.req.query("then") ?? "");
  const session = await sessionOf(c);
  if (session.ok) return goTo(c, then);
  const { failure } = session;
  return sendView(c, view(then, failure.kind === "absent" ? undefined : failure.why), undefined);
};

export const signInAction = async (c: HttpContext): Promise<Response> => {
  const form = await readForm(c, undefined);
  if (!form.ok) {
    const { status, detail } = form.failure;
    return sendView(c, notice(status, "Not signed in", detail), undefined);
  }
  const then = placeAfter(form.value.get("then") ?? "");
  const token = (form.value.get("token") ?? "").trim().replace(/^Bearer +/i, "");
  const signed = await signIn(c, token);
  if (!signed.ok) {
    const { failure } = signed;
    if (failure.kind === "absent") return sendView(c, view(then), undefined);
    const status = failure.kind === "unavailable" ? 503 : 401;
    return sendView(c, view(then, failure.why, status), undefined);
  }
  const note = {
    ...actorIn(c, signed.value.session),
    atMs: Date.now(),
    tenant: "",
    kind: "action",
    operation: "console.sign-in",
    detail: { jti: signed.value.session.jti },
  } as const;
  try {
    await withTimeout(writeAuditNote(c.env.DB, note), SEND_TIMEOUT_MS);
  } catch (error) {
    logFailure(c, error);
    return sendView(c, AWAY, undefined);
  }
  return new Response(null, {
    status: 303,
    headers: {
      Location: homeOf(c) + then,
      "Set-Cookie": signed.value.cookie,
      "Cache-Control": "no-store",
    },
  });
};

/** Forgets the cookie. Signing out twice is signing out. */
export const signOutAction = async (c: HttpContext): Promise<Response> => {
  const session = await sessionOf(c);
  if (session.ok) {
    const form = await readForm(c, session.value);
    if (!form.ok) {
      const { status, detail } = form.failure;
      return sendView(c, notice(status, "Not signed out", detail), session.value);
    }
  }
  return new Response(null, {
    status: 303,
    headers: {
      Location: `${homeOf(c)}/console/sign-in`,
      "Set-Cookie": signedOut(c),
      "Cache-Control": "no-store",
    },
  });
};
