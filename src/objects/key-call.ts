/** What the Worker asks a key object, and what it hears: plain data, because it crosses an RPC. */
import { z } from "zod";
import type { ProblemCode } from "../contract/problems.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Fingerprinted } from "../idempotency/fingerprint.ts";
import type { SettledRecord } from "../idempotency/key-record.ts";
import type { StoredResponse } from "../idempotency/stored-response.ts";

/** One keyed request, authenticated, read and parsed; its schema is not judged yet. */
export type KeyCall = {
  readonly tenant: string;
  readonly key: string;
  /** The name of the object that is asked. */
  readonly object: string;
  readonly request: Fingerprinted;
  /** Of the request, in the version that the Worker that asks knows best. */
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  /** Of the HTTP request, for the log and the audit log. */
  readonly requestId: string;
  /** Who asks, for the audit log: a hash. */
  readonly actor: string;
  /**
   * Where this app is reached, for the links in what is stored: the host and, if it is mounted in another app, the
   * path that it is mounted at; without a trailing slash.
   */
  readonly origin: string;
  /** How long the caller holds if the key is in flight, milliseconds; 0: not at all. */
  readonly waitMs: number;
  /** W3C Trace Context of the request, for what it calls in turn. */
  readonly traceparent?: string | undefined;
  /** Answer 202 as soon as the request is durable, and run it whatever happens. */
  readonly detached: boolean;
};

/** A call as it was kept: it was ours when it was written. */
export const keyCallSchema: z.ZodType<KeyCall> = z.object({
  tenant: z.string(),
  key: z.string(),
  object: z.string(),
  request: z.object({
    operation: z.string(),
    params: z.record(z.string(), z.string()),
    query: z.array(z.tuple([z.string(), z.string()])),
    body: z.json(),
  }),
  fingerprint: z.string(),
  fingerprintVersion: z.number(),
  requestId: z.string(),
  // Of what was accepted before it was noted.
  actor: z.string().default(""),
  origin: z.string(),
  waitMs: z.number(),
  traceparent: z.string().optional(),
  detached: z.boolean(),
});

export type KeyReply =
  /** A final outcome: this request's own, or a replay. */
  | {
      readonly kind: "outcome";
      readonly response: StoredResponse;
      readonly expiresAtS: number;
      readonly replayed: boolean;
    }
  | OpenReply;

/** There is no final outcome, or none that is told here. */
export type OpenReply =
  /** Durable, and not done yet. */
  | { readonly kind: "accepted"; readonly afterMs: number }
  /** Anything else; it is not stored. */
  | {
      readonly kind: "problem";
      readonly code: ProblemCode;
      readonly detail?: string;
      readonly afterMs?: number;
      /** Learned: the chance of a retry after `afterMs`, and why then. */
      readonly successProbability?: number;
      readonly reason?: string;
      readonly members?: JsonObject;
    };

/** The states of a key that a client can look up. */
export type KeyStatus = {
  readonly state: "free" | "unknown-yet" | "in-flight" | "completed" | "expired" | "uncertain";
  readonly operation?: string;
  /** Sends to the database; above 1, an earlier one got no answer. */
  readonly attempts?: number;
  readonly outcome?: { readonly status: number; readonly refusal: string | null };
  readonly link?: string | null;
  readonly createdAtMs?: number;
  readonly expiresAtS?: number;
  /** When it is worth asking again, milliseconds. */
  readonly afterMs?: number;
};

/** Who has the work of a key taken up again. */
export type RedriveBy = "operator" | "reconciliation";

/** What came of it. */
export type Redrive = {
  readonly kind:
    | "taken-up"
    /** It is being carried on already, or its time is set. */
    | "running"
    /** Nothing may be done but by a person's word on what happened. */
    | "uncertain"
    /** There is no work of this key that is open. */
    | "nothing-open";
  /** How the key stands afterwards. */
  readonly state: KeyStatus["state"] | "unavailable";
};

/** What came of erasing a key's stored answer. */
export type Erasure =
  | {
      readonly kind: "erased";
      /** The object that made the claim, and may hold a copy too. */
      readonly object: string;
      readonly record: SettledRecord;
      readonly forgetAtS: number;
    }
  /** A batch that came before may yet claim the key: whether there is something to erase is known in a while. */
  | { readonly kind: "unknown-yet"; readonly afterMs: number }
  | { readonly kind: "unknown-key" | "in-flight" | "unavailable" };

/** The path that an app is mounted at: what every path that it tells begins with. Empty at the root. */
export const mountPath = (origin: string): string =>
  // Of a host that cannot be told only the path is known.
  (URL.parse(origin)?.pathname ?? origin).replace(/\/$/, "");

/** Where a key's state can be looked up. */
export const keyPath = (origin: string, key: string): string =>
  `${mountPath(origin)}/v1/idempotency-keys/${encodeURIComponent(key)}`;
