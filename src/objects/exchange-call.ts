/** What the Worker asks of a key object about an exchange, and what it gets: plain data and streams, safe to send by RPC. */
import type { ExchangePolicy, ExchangeRequest, HeaderPairs } from "../gateway/exchange.ts";
import type { Fingerprinted, MemberHashes } from "../idempotency/fingerprint.ts";
import type { ResolutionRecord } from "../journal/settlements.ts";
import type { OpenReply } from "./key-call.ts";

/** One keyed request whose effect is outside, authenticated and read. */
export type ExchangeCall = UpstreamCall | OperationCall;

/** What goes to an upstream as it came. */
export type UpstreamCall = Asked & {
  readonly policy: ExchangePolicy;
  readonly request: ExchangeRequest;
  readonly operation?: undefined;
};

/** What an operation with an external step was asked; its schema is not judged yet. */
export type OperationCall = Asked & {
  readonly operation: Fingerprinted;
  /** W3C Trace Context of the request; a gateway's call has it among its headers. */
  readonly traceparent?: string | undefined;
};

type Asked = {
  readonly tenant: string;
  readonly key: string;
  /** The name of the object that is asked. */
  readonly object: string;
  /** Of the request, in the version that the Worker that asks knows best. */
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  readonly members: MemberHashes;
  /** Of the HTTP request, for the log and the audit log. */
  readonly requestId: string;
  /** Who asks, for the audit log: a hash. */
  readonly actor: string;
  /** Where our own routes are reached, for the links in what is told. */
  readonly origin: string;
  /** How long the caller holds if the key is in flight, milliseconds; 0: not at all. */
  readonly waitMs: number;
  /** Answer 202 as soon as the request is durable, and carry it out whatever happens. */
  readonly detached: boolean;
};

export type ExchangeReply =
  /** Final and replayable; `replayed` is false for the caller whose call it was. */
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers: HeaderPairs;
      readonly body: ReadableStream<Uint8Array> | Uint8Array;
      readonly expiresAtS: number;
      readonly replayed: boolean;
    }
  /** Too large to store: it goes through once. The key says so before the first byte past the limit. */
  | {
      readonly kind: "stream";
      readonly status: number;
      readonly headers: HeaderPairs;
      readonly body: ReadableStream<Uint8Array>;
      readonly expiresAtS: number;
    }
  | OpenReply;

/** What a person says of an uncertain key. */
export type Resolution = {
  readonly outcome:
    /** It was: this is what later retries get. */
    | {
        readonly kind: "executed";
        readonly status: number;
        readonly headers: HeaderPairs;
        readonly body: Uint8Array;
        readonly link: string | null;
      }
    /** It was not: the key is free to run. */
    | { readonly kind: "not-executed" };
  /** Who, when and why. */
  readonly record: ResolutionRecord;
};

export type ResolutionReply = {
  readonly kind: "resolved" | "refused" | "unknown-key" | "unavailable";
};
