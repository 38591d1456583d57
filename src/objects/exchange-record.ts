/** An exchange as it is kept in the object: all that a heal needs while it is open, and what it answers from then on. */
import { z } from "zod";
import type { ExchangePolicy, HeaderPairs } from "../gateway/exchange.ts";
import type { ExchangeState } from "../gateway/exchange-decision.ts";
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import type { KeyRecord } from "../idempotency/key-record.ts";
import type { Json } from "../kernel/json.ts";
import type { ResolutionRecord } from "../journal/settlements.ts";

/**
 * What is sent, and how; with the body that is kept beside it. Gone once the exchange is closed; of one that is uncertain,
 * and can be asked for, all but the body stays: the question needs the call's credentials.
 */
export type ExchangeInput = {
  readonly policy: ExchangePolicy;
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderPairs;
  readonly requestId: string;
  readonly origin: string;
};

/** What the processor of an operation said for good, and what that came to. */
export type StepEnded = {
  readonly answer: { readonly status: number; readonly body: Json };
  readonly atMs: number;
  /** Null: it was done. */
  readonly refusal: string | null;
};

/** The operation that an exchange is the external step of. */
export type StepWork = {
  readonly operation: string;
  readonly held: Json;
  /** Where our own routes are reached, for the links in its answer. */
  readonly origin: string;
  readonly ended: StepEnded | null;
};

/** Something that is to be done again until it is done. */
export type Chore = { readonly tries: number; readonly dueAtMs: number };

export type Exchange = {
  readonly tenant: string;
  readonly key: string;
  readonly object: string;
  readonly route: string;
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  readonly members: MemberHashes;
  /** Of the claim in the journal. */
  readonly nonce: string;
  readonly createdAtMs: number;
  readonly expiresAtS: number;
  readonly forgetAtS: number;
  readonly state: ExchangeState;
  /** When a call that is under way is given up, at the latest: its time-out and a grace. */
  readonly callEndsAtMs: number;
  readonly input: ExchangeInput | null;
  /** Null: what the upstream answers is passed on as it is. */
  readonly work: StepWork | null;
  /** The outcome's, as it is told; its bytes are beside it. */
  readonly answer: { readonly status: number; readonly headers: HeaderPairs } | null;
  /** Of an answer that was not stored, once it is known. */
  readonly unstored: { readonly bytes: number; readonly sha256: string } | null;
  readonly link: string | null;
  readonly resolution: ResolutionRecord | null;
  /** Null: the journal's row says what the state says. */
  readonly settling: Chore | null;
  /** Who is to be told of the outcome. */
  readonly hook: ExchangePolicy["webhook"];
  /** Null: nobody is to be told now, or they were. */
  readonly telling: Chore | null;
  /** What has become of the outcome since: erased on request, or expired. */
  readonly left: "whole" | "erased" | "expired";
};

const pairs = z.array(z.tuple([z.string(), z.string()]));
const chore = { tries: z.number(), dueAtMs: z.number() };
const progress = {
  attempt: z.number(),
  sends: z.number(),
  asks: z.number(),
  sentAtMs: z.number(),
  doubtful: z.boolean(),
};

const policySchema: z.ZodType<ExchangePolicy> = z.object({
  route: z.string(),
  upstream: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("origin"), origin: z.string() }),
    z.object({ kind: z.literal("service"), binding: z.string() }),
  ]),
  timeoutMs: z.number(),
  keyLifetimeSeconds: z.number(),
  tombstoneSeconds: z.number(),
  finalStatuses: z.array(z.number()).nullable(),
  honoursKey: z.boolean(),
  status: z
    .object({ path: z.string(), absenceIsFinal: z.boolean(), quietMs: z.number() })
    .nullable(),
  heal: z.object({ attemptsMax: z.number(), elapsedMsMax: z.number() }),
  keepHeaders: z.array(z.string()).nullable(),
  webhook: z.object({ url: z.string(), secretName: z.string() }).nullable(),
});

const workSchema: z.ZodType<StepWork> = z.object({
  operation: z.string(),
  held: z.json(),
  origin: z.string(),
  ended: z
    .object({
      answer: z.object({ status: z.number(), body: z.json() }),
      atMs: z.number(),
      refusal: z.string().nullable(),
    })
    .nullable(),
});

/** What a row's text holds: all but what comes and goes without the rest, and so has columns of its own. */
export type ExchangeText = Omit<Exchange, "settling">;

/** Written by this object, and by earlier versions of it. */
export const exchangeSchema: z.ZodType<ExchangeText> = z.object({
  tenant: z.string(),
  key: z.string(),
  object: z.string(),
  route: z.string(),
  fingerprint: z.string(),
  fingerprintVersion: z.number(),
  members: z.record(z.string(), z.string()),
  nonce: z.string(),
  createdAtMs: z.number(),
  expiresAtS: z.number(),
  forgetAtS: z.number(),
  state: z.discriminatedUnion("kind", [
    z.object({ ...progress, kind: z.literal("calling") }),
    z.object({
      ...progress,
      kind: z.literal("paused"),
      next: z.enum(["send", "ask"]),
      dueAtMs: z.number(),
    }),
    z.object({ ...progress, kind: z.literal("uncertain") }),
    z.object({
      ...progress,
      kind: z.literal("final"),
      by: z.enum(["upstream", "status", "person"]),
      stored: z.boolean(),
    }),
    z.object({ ...progress, kind: z.literal("free"), afterMs: z.number() }),
  ]),
  callEndsAtMs: z.number(),
  input: z
    .object({
      policy: policySchema,
      method: z.string(),
      target: z.string(),
      headers: pairs,
      requestId: z.string(),
      origin: z.string(),
    })
    .nullable(),
  work: workSchema.nullable(),
  answer: z.object({ status: z.number(), headers: pairs }).nullable(),
  unstored: z.object({ bytes: z.number(), sha256: z.string() }).nullable(),
  link: z.string().nullable(),
  resolution: z
    .object({
      outcome: z.enum(["executed", "not-executed"]),
      status: z.number().nullable(),
      digest: z.string(),
      reason: z.string(),
      by: z.string(),
      atMs: z.number(),
    })
    .nullable(),
  hook: z.object({ url: z.string(), secretName: z.string() }).nullable(),
  telling: z.object(chore).nullable(),
  left: z.enum(["whole", "erased", "expired"]),
});

/** When there is something to do about it, milliseconds since the epoch; null: never, unless somebody asks. */
export const dueAtMs = (exchange: Exchange): number | null => {
  const { state, settling, telling } = exchange;
  const due = [settling?.dueAtMs, telling?.dueAtMs].filter((at) => at !== undefined);
  if (state.kind === "calling") due.push(exchange.callEndsAtMs);
  if (state.kind === "paused") due.push(state.dueAtMs);
  // Its row must be final before it may be swept.
  if (state.kind === "final" && settling === null) {
    due.push((exchange.left === "expired" ? exchange.forgetAtS : exchange.expiresAtS) * 1000);
  }
  return due.length === 0 ? null : Math.min(...due);
};

/** The exchange as the one decision on a key reads it. The answer's bytes stay where they are. */
export const keyRecordOf = (exchange: Exchange): KeyRecord => {
  const { fingerprint, fingerprintVersion, members, expiresAtS, link, state, left } = exchange;
  const claimed = { fingerprint, fingerprintVersion, members, expiresAtS, link };
  switch (state.kind) {
    case "calling":
    case "paused":
    case "free":
      return { ...claimed, state: "in-flight" };
    case "uncertain":
      return { ...claimed, state: "uncertain" };
    case "final":
      return left === "whole"
        ? {
            ...claimed,
            state: "final",
            response: { status: exchange.answer?.status ?? 0, headers: {}, body: "" },
          }
        : { ...claimed, state: left };
  }
};
