/**
 * Tells a URL that a key is final, signed by the Standard Webhooks scheme. The id is the same for every try, and for
 * every object that tries: the receiver's idempotency key. It says what is public about the key; never the answer's body.
 */
import { createHash } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { WEBHOOK_TIMEOUT_MS } from "../kernel/limits.ts";
import type { Exchange } from "./exchange-record.ts";

/** `msg_` and a digest of the claim: the claim is told of once, whatever the tries. */
const webhookId = ({ tenant, key, nonce }: Exchange): string =>
  `msg_${createHash("sha256")
    .update(JSON.stringify([tenant, key, nonce]))
    .digest("base64url")
    .slice(0, 32)}`;

/** Throws if the secret is no Standard Webhooks secret (`whsec_` and base64). */
export const webhookRequest = (exchange: Exchange, secret: string, nowMs: number): Request => {
  const id = webhookId(exchange);
  const { tenant, key, route, answer, state, createdAtMs, expiresAtS } = exchange;
  const payload = JSON.stringify({
    type: "idempotency_key.completed",
    timestamp: new Date(nowMs).toISOString(),
    data: {
      tenant,
      key,
      route,
      status: answer?.status ?? null,
      stored: state.kind === "final" && state.stored,
      decidedBy: state.kind === "final" ? state.by : null,
      tries: state.sends,
      createdAt: new Date(createdAtMs).toISOString(),
      expiresAt: new Date(expiresAtS * 1000).toISOString(),
    },
  });
  return new Request(exchange.hook?.url ?? "", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(nowMs / 1000)),
      "webhook-signature": new Webhook(secret).sign(id, new Date(nowMs), payload),
      "idempotency-key": id,
    },
    body: payload,
    redirect: "manual",
    signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
  });
};
