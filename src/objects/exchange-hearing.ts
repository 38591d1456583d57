/** One request to an upstream, within its time, as far as it is the upstream's doing: what came of it. */
import type { Failure } from "../advisor/failure.ts";
import type { Upstream } from "../gateway/exchange.ts";
import { spool, type Spooled } from "./exchange-answer.ts";
import type { Exchanges } from "./exchanges.ts";

/** An outcome, and what has come of its body. */
export type HeardOutcome = { readonly response: Response; readonly spooled: Spooled };

export type Heard =
  | (HeardOutcome & { readonly kind: "outcome" })
  /** Another answer; its body is nobody's. */
  | { readonly kind: "answer"; readonly response: Response }
  /** No whole answer, or none in time. */
  | { readonly kind: "broken"; readonly failure: Failure; readonly error: string };

/**
 * Reads an outcome into storage. Never rejects.
 * @param timeoutMs from now to the last byte that is stored
 * @param limit ends it before that
 */
export const hear = async (
  exchanges: Exchanges,
  {
    key,
    upstream,
    timeoutMs,
    limit = new AbortController(),
    call,
    isOutcome,
  }: {
    readonly key: string;
    readonly upstream: Upstream;
    readonly timeoutMs: number;
    readonly limit?: AbortController;
    readonly call: (signal: AbortSignal) => Promise<Response>;
    readonly isOutcome: (status: number) => boolean;
  },
): Promise<Heard> => {
  const timer = setTimeout(() => limit.abort(new Error("time-out")), timeoutMs);
  try {
    const response = await call(limit.signal);
    if (isOutcome(response.status)) {
      return {
        kind: "outcome",
        response,
        spooled: await spool(exchanges, key, response, upstream),
      };
    }
    await response.body?.cancel().catch(() => undefined);
    return { kind: "answer", response };
  } catch (error) {
    const code = limit.signal.aborted ? "timeout" : "reset";
    return { kind: "broken", failure: { status: 0, code }, error: String(error) };
  } finally {
    clearTimeout(timer);
  }
};
