/**
 * What a key object decides around a run: what follows from the fate of what it submitted, which answer a journal
 * row gives, and from when on an absent key is free. Data in, data out, like the decision on a key that it rests on.
 */
import { type Asking, decide, type Decision, type KeyRecord } from "../idempotency/key-record.ts";
import type { Fate } from "../journal/submission.ts";
import { ABSENCE_UNKNOWN_MS, REPLANS_MAX } from "../kernel/limits.ts";

/** How a run ends. */
export type RunEnd<Entry> =
  | { readonly do: "recall"; readonly entry: Entry; readonly own: boolean }
  /** Nothing was carried out, and nothing will be. */
  | { readonly do: "unavailable"; readonly reason: string }
  /** A send of it may have been, or may yet be, committed. */
  | { readonly do: "unknown" };

export type AfterFate<Entry> =
  | RunEnd<Entry>
  | { readonly do: "plan-again"; readonly mayYetCommit: boolean };

/**
 * @param mayYetCommit whether a send of an earlier plan of this run got no answer
 * @param round plans that went before
 */
export const afterFate = <Entry>(
  fate: Fate<Entry>,
  mayYetCommit: boolean,
  round: number,
): AfterFate<Entry> => {
  switch (fate.kind) {
    case "recorded":
      return { do: "recall", entry: fate.entry, own: fate.own };
    case "stale": {
      const may = mayYetCommit || fate.mayYetCommit;
      return round < REPLANS_MAX
        ? { do: "plan-again", mayYetCommit: may }
        : withoutOutcome(may, "What the request depends on kept changing.");
    }
    case "unavailable":
      return withoutOutcome(mayYetCommit, fate.reason);
    case "unknown":
      return { do: "unknown" };
  }
};

/** A run that ends without a row: nothing is denied while one of its sends may yet commit. */
export const withoutOutcome = (mayYetCommit: boolean, reason: string): RunEnd<never> =>
  mayYetCommit ? { do: "unknown" } : { do: "unavailable", reason };

/**
 * What a row of the journal means for the request that asks. Its own claim is its answer; any other row is judged as
 * for a stranger.
 */
export const decideOnRow = (
  record: KeyRecord,
  own: boolean,
  asking: Asking,
  nowMs: number,
): Decision =>
  own && record.state === "final"
    ? { do: "replay", response: record.response, expiresAtS: record.expiresAtS }
    : decide({ kind: "record", record }, asking, nowMs);

/**
 * What another request hears while a run leads its key. A run that has claimed nothing does not own the key: the
 * request that asks may be the one that does, by a batch that is late. So it is judged by the row, or once the run is
 * over; but what was accepted owns the key by our word.
 * @param entry the row of the key, if the journal has one
 */
export const decideAgainstRun = <Entry>(
  entry: Entry | undefined | "unavailable",
  isPromised: boolean,
):
  | { readonly do: "recall"; readonly entry: Entry }
  | { readonly do: "mismatch" | "after-run" | "in-flight" } => {
  if (entry === "unavailable") return { do: isPromised ? "mismatch" : "in-flight" };
  if (entry !== undefined) return { do: "recall", entry };
  return { do: isPromised ? "mismatch" : "after-run" };
};

/**
 * From when on a key that is not in the journal is free, milliseconds since the epoch. A batch that an earlier life of
 * this object sent, or one that got no answer, may still commit until then.
 */
export const freeFromMs = (startedAtMs: number, unansweredUntilMs: number | undefined): number =>
  Math.max(startedAtMs + ABSENCE_UNKNOWN_MS, unansweredUntilMs ?? 0);
