/** What a client may know of an exchange. */
import { isExpired } from "../idempotency/key-record.ts";
import type { Exchange } from "./exchange-record.ts";
import type { KeyStatus } from "./key-call.ts";

/** @param afterMs when it is worth asking again, while it is open */
export const statusOfExchange = (
  exchange: Exchange,
  nowMs: number,
  afterMs: () => number,
): KeyStatus => {
  const { state, route, answer, link, createdAtMs, expiresAtS, left, work } = exchange;
  const known = { operation: route, attempts: state.sends, link, createdAtMs };
  switch (state.kind) {
    case "calling":
    case "paused":
    case "free":
      return { ...known, state: "in-flight", afterMs: afterMs() };
    case "uncertain":
      return { ...known, state: "uncertain" };
    case "final": {
      const expired = left === "expired" || isExpired(exchange, nowMs);
      return {
        ...known,
        state: expired ? "expired" : "completed",
        expiresAtS,
        ...(answer === null
          ? {}
          : {
              outcome: {
                status: answer.status,
                refusal: state.stored ? (work?.ended?.refusal ?? null) : "response-not-stored",
              },
            }),
      };
    }
  }
};
