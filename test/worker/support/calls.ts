/** Requests as the Worker hands them to an object. */
import {
  FINGERPRINT_VERSION,
  fingerprint,
  type Fingerprinted,
} from "../../../src/idempotency/fingerprint.ts";
import type { JsonObject } from "../../../src/kernel/json.ts";
import type { KeyCall, KeyReply } from "../../../src/objects/key-call.ts";

export type CallOptions = {
  readonly key?: string;
  readonly waitMs?: number;
  readonly detached?: boolean;
  readonly params?: Readonly<Record<string, string>>;
};

/** A call of any operation; a fresh key unless one is given. */
export const callOf = (
  tenant: string,
  operation: string,
  body: JsonObject,
  { key = crypto.randomUUID(), waitMs = 0, detached = false, params = {} }: CallOptions = {},
): KeyCall => {
  const request: Fingerprinted = { operation, params, query: [], body };
  const print = fingerprint(request);
  if (print === undefined) throw new Error("The current fingerprint version is not computable.");
  return {
    tenant,
    key,
    object: "",
    request,
    fingerprint: print,
    fingerprintVersion: FINGERPRINT_VERSION,
    requestId: crypto.randomUUID(),
    actor: "caller-hash",
    origin: "https://latchkey.test",
    waitMs,
    detached,
  };
};

/** A payment in euros. */
export const payment = (
  tenant: string,
  source: string,
  destination: string,
  amountMinor: number,
  options?: CallOptions,
): KeyCall =>
  callOf(tenant, "payments.create", { source, destination, amountMinor, currency: "EUR" }, options);

/** A refund of a payment: of what is left of it, unless an amount is given. */
export const refund = (
  tenant: string,
  paymentId: string,
  amountMinor?: number,
  options?: CallOptions,
): KeyCall =>
  callOf(tenant, "refunds.create", amountMinor === undefined ? {} : { amountMinor }, {
    ...options,
    params: { id: paymentId },
  });

/** A signed change of a product's stock. */
export const stockChange = (
  tenant: string,
  sku: string,
  delta: number,
  options?: CallOptions,
): KeyCall => callOf(tenant, "stock.adjust", { delta }, { ...options, params: { sku } });

/** What a reply comes to, in one word or number: the status of an outcome, the code of a problem, or `accepted`. */
export const verdict = (reply: KeyReply): number | string => {
  switch (reply.kind) {
    case "outcome":
      return reply.response.status;
    case "problem":
      return reply.code;
    case "accepted":
      return "accepted";
  }
};

/** How often each verdict was given. */
export const tally = (replies: readonly KeyReply[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const reply of replies) {
    const word = String(verdict(reply));
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
};

/** The bytes of an outcome. Fails the test if there is none. */
export const bodyOf = (reply: KeyReply): string => {
  if (reply.kind !== "outcome") throw new Error(`Not an outcome but ${verdict(reply)}.`);
  return reply.response.body;
};

/** The id that an outcome's body names. */
export const idIn = (reply: KeyReply): string => {
  const body = JSON.parse(bodyOf(reply)) as { readonly id: string };
  return body.id;
};
