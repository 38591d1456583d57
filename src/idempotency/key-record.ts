/**
 * What is known of a key, and the one decision that follows from it. Pure: the record, the request and the
 * time go in, what to do comes out. Mismatch is judged before everything else, so that another request's
 * progress or fate is never told.
 */
import type { MemberHashes } from "./fingerprint.ts";
import type { StoredResponse } from "./stored-response.ts";

/** The request that a key belongs to, and when it stops belonging. */
type Claimed = {
  readonly fingerprintVersion: number;
  readonly fingerprint: string;
  readonly members: MemberHashes;
  /** Whole second from which the answer is no longer replayed. */
  readonly expiresAtS: number;
  /** Path of what the key made; null for a refusal. */
  readonly link: string | null;
};

export type KeyRecord =
  | (Claimed & { readonly state: "final"; readonly response: StoredResponse })
  | (Claimed & { readonly state: "in-flight" })
  | (Claimed & { readonly state: "uncertain" })
  | (Claimed & { readonly state: "erased" })
  | (Claimed & { readonly state: "expired" });

/** Nothing more can happen to it but expiry: what may be copied, and told for certain. */
export type SettledRecord = Extract<KeyRecord, { state: "final" | "erased" | "expired" }>;

export const isSettled = (record: KeyRecord): record is SettledRecord =>
  record.state === "final" || record.state === "erased" || record.state === "expired";

/**
 * What is known: nothing at all (`free`), a run that this object leads right now (`running`), a request that waits for its
 * turn (`accepted`), or a record.
 * A record `in-flight` without a run is what a crash left behind.
 */
export type KeyKnowledge =
  | { readonly kind: "free" }
  | {
      readonly kind: "running";
      readonly fingerprint: string;
      readonly fingerprintVersion: number;
      readonly members: MemberHashes;
    }
  /** Accepted with 202, and not running at the moment. */
  | {
      readonly kind: "accepted";
      readonly fingerprint: string;
      readonly fingerprintVersion: number;
      readonly members: MemberHashes;
    }
  | { readonly kind: "record"; readonly record: KeyRecord };

/** The request that asks. Its fingerprint can be computed in any known version. */
export type Asking = {
  readonly fingerprintIn: (version: number) => string | undefined;
  /** Whether the caller is ready to wait for a run in flight. */
  readonly waits: boolean;
};

export type Decision =
  | { readonly do: "start" }
  | { readonly do: "replay"; readonly response: StoredResponse; readonly expiresAtS: number }
  | { readonly do: "wait" }
  | { readonly do: "in-flight" }
  | { readonly do: "mismatch"; readonly members: MemberHashes }
  | { readonly do: "expired"; readonly link: string | null }
  | { readonly do: "erased"; readonly link: string | null }
  | { readonly do: "uncertain" }
  | { readonly do: "recover"; readonly record: KeyRecord }
  | { readonly do: "unreadable" };

export const decide = (known: KeyKnowledge, asking: Asking, nowMs: number): Decision => {
  if (known.kind === "free") return { do: "start" };
  const claimed = known.kind === "record" ? known.record : known;
  const asked = asking.fingerprintIn(claimed.fingerprintVersion);
  if (asked === undefined) return { do: "unreadable" };
  if (asked !== claimed.fingerprint) {
    return { do: "mismatch", members: claimed.members };
  }
  if (known.kind === "accepted") return { do: "start" };
  if (known.kind === "running") return asking.waits ? { do: "wait" } : { do: "in-flight" };

  const { record } = known;
  switch (record.state) {
    case "in-flight":
      return { do: "recover", record };
    case "uncertain":
      return { do: "uncertain" };
    case "expired":
      return { do: "expired", link: record.link };
    case "erased":
      return { do: isExpired(record, nowMs) ? "expired" : "erased", link: record.link };
    case "final":
      return isExpired(record, nowMs)
        ? { do: "expired", link: record.link }
        : { do: "replay", response: record.response, expiresAtS: record.expiresAtS };
  }
};

/** Expiry is the whole second itself: one millisecond before it replays, the second itself does not. */
export const isExpired = (record: { readonly expiresAtS: number }, nowMs: number): boolean =>
  nowMs >= record.expiresAtS * 1000;
