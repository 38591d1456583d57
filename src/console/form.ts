/**
 * Forms of the console, read strictly. One is taken only from a page of ours: the browser says where it was sent from,
 * and, of whoever is signed in, it carries the session's own token. Everything else is refused before it is read.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { HttpContext } from "../http/context.ts";
import { decodeText, readBytes } from "../http/json-body.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";
import type { Session } from "./session.ts";

const FORM_TYPE = "application/x-www-form-urlencoded";

/** The status and the sentence of a form that is not taken. */
export type FormFailure = { readonly status: 400 | 403 | 413 | 415; readonly detail: string };

/** @param session undefined for signing in: then there is none yet, and the origin alone is checked */
export const readForm = async (
  c: HttpContext,
  session: Session | undefined,
): Promise<Result<URLSearchParams, FormFailure>> => {
  if (!isFromHere(c)) {
    return fail({ status: 403, detail: "The form was sent from another site." });
  }
  const [type = ""] = (c.req.header("Content-Type") ?? "").toLowerCase().split(";");
  if (type.trim() !== FORM_TYPE) return fail({ status: 415, detail: `Send ${FORM_TYPE}.` });
  const bytes = await readBytes(c.req.raw);
  if (!bytes.ok) {
    const isLarge = bytes.failure.code === "body-too-large";
    return fail({ status: isLarge ? 413 : 400, detail: bytes.failure.detail });
  }
  const text = decodeText(bytes.value);
  if (!text.ok) return fail({ status: 400, detail: text.failure.detail });
  const form = new URLSearchParams(text.value);
  if (session !== undefined && !isSame(form.get("form") ?? "", session.form)) {
    return fail({
      status: 403,
      detail: "The form does not belong to this session. Load it again.",
    });
  }
  return succeed(form);
};

/**
 * Every browser of today says at least one of the two of a form (Fetch, section 3.2 and Fetch Metadata). What says
 * neither is no form of ours.
 */
const isFromHere = (c: HttpContext): boolean => {
  const site = c.req.header("Sec-Fetch-Site");
  const origin = c.req.header("Origin");
  if (site === undefined && origin === undefined) return false;
  if (site !== undefined && site !== "same-origin") return false;
  return origin === undefined || origin === URL.parse(c.req.url)?.origin;
};

/** Without telling by its time how much of it was right. */
const isSame = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b));

const digest = (text: string): Uint8Array => createHash("sha256").update(text).digest();
