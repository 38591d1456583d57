/**
 * Who is signed in to the console. A token is pasted once and checked like that of any request; what stays is a cookie of
 * ours that says who it was and until when: signed, read by no script, sent by no other site, for an hour at most and
 * never longer than the token. Nothing is stored. A revoked token ends its sessions as it ends its requests.
 */
import { createHmac } from "node:crypto";
import { decodeJwt, errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { isOperators, isScope, type Scope } from "../contract/scopes.ts";
import type { Settings } from "../env.ts";
import { authenticate, KeySetUnavailable } from "../http/authentication.ts";
import { type HttpContext, homeOf } from "../http/context.ts";
import { isRevoked } from "../http/revocation.ts";
import { settingsOf } from "../http/settings.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import { CONSOLE_SESSION_SECONDS } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";

export type Session = {
  readonly issuer: string;
  readonly subject: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Of the token that signed in. */
  readonly jti: string;
  /** Goes into every form, and comes back with it: another site can send a form, but does not know this. */
  readonly form: string;
};

/** Why there is no session. */
export type NoSession =
  | { readonly kind: "absent" }
  | { readonly kind: "refused"; readonly why: string }
  /** It cannot be told now: nothing is shown, and nobody is signed out. */
  | { readonly kind: "unavailable"; readonly why: string };

const COOKIE = "latchkey-console";
const ISSUER = "latchkey-console";

const claims = z.object({
  iss: z.literal(ISSUER),
  sub: z.string(),
  issuer: z.string(),
  jti: z.string(),
  scope: z.string(),
  form: z.string(),
  exp: z.number(),
});

/** Another key than that of tokens, so that a session is no token and a token no session. */
const keyOf = (secret: string): Uint8Array =>
  createHmac("sha256", secret).update("latchkey-console-session").digest();

/** The session that a pasted token begins, as the cookie's header. */
export const signIn = async (
  c: HttpContext,
  token: string,
): Promise<Result<{ readonly session: Session; readonly cookie: string }, NoSession>> => {
  const settings = settingsOf(c.env);
  const nowMs = Date.now();
  const caller = await authenticate(`Bearer ${token}`, settings, nowMs).catch((error: unknown) => {
    if (error instanceof KeySetUnavailable) return undefined;
    throw error;
  });
  if (caller === undefined) {
    return fail({ kind: "unavailable", why: "The issuer's keys could not be fetched." });
  }
  // The sentences of the API speak of its header.
  if (!caller.ok) return refused(caller.failure.replace(/^Send .*/, "This is not a token."));
  const { scopes, token: named, who } = caller.value;
  const granted = [...scopes].filter(isOperators);
  if (granted.length === 0 || named === undefined || who === undefined) {
    return refused("The token has none of the scopes ops:read, ops:support and ops:act.");
  }
  const session: Session = {
    issuer: who.issuer,
    subject: who.subject,
    scopes: new Set(granted),
    jti: named.jti,
    form: crypto.randomUUID(),
  };
  const revoked = await revocationOf(c, session);
  if (revoked !== undefined) return fail(revoked);
  const nowS = wholeSeconds(nowMs);
  const expiresAtS = Math.min(
    nowS + CONSOLE_SESSION_SECONDS,
    z.number().parse(decodeJwt(token).exp),
  );
  const signed = await new SignJWT({
    issuer: session.issuer,
    scope: granted.join(" "),
    form: session.form,
  })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuer(ISSUER)
    .setSubject(session.subject)
    .setJti(session.jti)
    .setExpirationTime(expiresAtS)
    .sign(keyOf(settings.TOKEN_SECRET));
  return succeed({ session, cookie: cookieOf(c, signed, expiresAtS - nowS) });
};

/** The header that forgets the session. */
export const signedOut = (c: HttpContext): string => cookieOf(c, "", 0);

export const sessionOf = async (c: HttpContext): Promise<Result<Session, NoSession>> => {
  const signed = cookieIn(c.req.header("Cookie"));
  if (signed === undefined || signed === "") return fail({ kind: "absent" });
  const found = await verify(signed, settingsOf(c.env));
  if (found === undefined) return refused("The session has ended. Sign in again.");
  const session: Session = {
    issuer: found.issuer,
    subject: found.sub,
    scopes: new Set(found.scope.split(" ").filter(isScope)),
    jti: found.jti,
    form: found.form,
  };
  const revoked = await revocationOf(c, session);
  return revoked === undefined ? succeed(session) : fail(revoked);
};

/** How the audit log names who is signed in: as it names them on the API. */
export const actorIn = (c: HttpContext, { issuer, subject }: Session): AuditActor => ({
  actor: `${issuer}/${subject}`,
  requestId: c.get("latchkey.requestId"),
});

const refused = (why: string): Result<never, NoSession> => fail({ kind: "refused", why });

const revocationOf = async (
  c: HttpContext,
  { issuer, jti }: Session,
): Promise<NoSession | undefined> => {
  const revoked = await isRevoked(c.env, { issuer, jti }, Date.now(), (work) =>
    c.executionCtx.waitUntil(work),
  );
  if (revoked === "unknown") {
    return { kind: "unavailable", why: "Whether the token was revoked could not be checked." };
  }
  return revoked ? { kind: "refused", why: "The token was revoked." } : undefined;
};

/** Under the secret of now or, while it is rotated, that of before. */
const verify = async (
  signed: string,
  { TOKEN_SECRET, TOKEN_SECRET_PREVIOUS }: Settings,
): Promise<z.output<typeof claims> | undefined> => {
  for (const secret of [TOKEN_SECRET, TOKEN_SECRET_PREVIOUS]) {
    if (secret === undefined) continue;
    try {
      const { payload } = await jwtVerify(signed, keyOf(secret), {
        issuer: ISSUER,
        algorithms: ["HS256"],
        requiredClaims: ["exp", "jti", "sub"],
      });
      return claims.safeParse(payload).data;
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
    }
  }
  return undefined;
};

const cookieIn = (header: string | undefined): string | undefined =>
  header
    ?.split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(`${COOKIE}=`))
    ?.slice(COOKIE.length + 1);

/** On this machine, where there is no TLS, browsers would not keep a cookie that asks for it. */
const LOCAL = /^(localhost|127\.0\.0\.1|\[::1\])$/;

const cookieOf = (c: HttpContext, value: string, maxAgeSeconds: number): string => {
  const url = URL.parse(c.req.url);
  const isPlain = url?.protocol === "http:" && LOCAL.test(url.hostname);
  return [
    `${COOKIE}=${value}`,
    `Path=${homeOf(c)}/console`,
    `Max-Age=${maxAgeSeconds}`,
    "HttpOnly",
    "SameSite=Strict",
    ...(isPlain ? [] : ["Secure"]),
  ].join("; ");
};
