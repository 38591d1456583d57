/** What a caller hears of an exchange that is no stored answer, in the words of the problem table. */
import type { ProblemCode } from "../contract/problems.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../kernel/limits.ts";
import type { ExchangeReply } from "./exchange-call.ts";

export const problem = (
  code: ProblemCode,
  rest: Omit<ExchangeReply & { kind: "problem" }, "kind" | "code"> = {},
): ExchangeReply => ({ kind: "problem", code, ...rest });

export const unavailable = (detail: string): ExchangeReply =>
  problem("temporarily-unavailable", { detail, afterMs: RETRY_AFTER_DEFAULT_MS });

export const notConfigured = (): ExchangeReply =>
  unavailable("The processor that carries this out is not configured: nothing was sent.");

export const unknown = (): ExchangeReply =>
  problem("outcome-unknown-yet", { afterMs: RETRY_AFTER_DEFAULT_MS });

/** The journal says that there is an outcome, and the object that had it has lost it: it cannot be told, nor run again. */
export const lost = (): ExchangeReply =>
  problem("response-not-stored", { detail: "The answer of this key is not there any more." });

export const linkMember = (link: string | null) => (link === null ? {} : { link });

export const isInFlight = (reply: ExchangeReply): boolean =>
  reply.kind === "problem" && reply.code === "request-in-flight";

/** Reads an answer that nobody takes, so that its size and hash are known and its connection ends. */
export const drain = async (reply: ExchangeReply): Promise<void> => {
  if (reply.kind !== "stream") return;
  try {
    await reply.body.pipeTo(new WritableStream());
  } catch {
    // It broke off: then its size stays unknown.
  }
};
