/** What a caller hears of a key that has no final outcome yet, whoever was asked: an operation, or an upstream. */
import { retryAfterSeconds } from "../contract/problems.ts";
import { keyPath, type OpenReply } from "../objects/key-call.ts";
import { isOverloaded } from "../objects/object-call.ts";
import { type HttpContext, originOf } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

export const openReply = (c: HttpContext, key: string, reply: OpenReply): Response => {
  const location = keyPath(originOf(c), key);
  if (reply.kind === "problem") {
    const { kind: _, code, ...details } = reply;
    return problemResponse(c, code, { ...details, instance: location });
  }
  return c.json({ key, state: "in-flight", link: location }, 202, {
    Location: location,
    "Preference-Applied": "respond-async",
    "Retry-After": String(retryAfterSeconds(reply.afterMs)),
    "Cache-Control": "no-store",
  });
};

/** The object did not answer. Unless it refused the call, the request may have been carried out. */
export const brokenCallCode = (
  c: HttpContext,
  error: unknown,
): "temporarily-unavailable" | "outcome-unknown-yet" => {
  console.error(
    JSON.stringify({
      level: "error",
      event: "object-call-broken",
      requestId: c.get("latchkey.requestId"),
      error: String(error),
    }),
  );
  return isOverloaded(error) ? "temporarily-unavailable" : "outcome-unknown-yet";
};
