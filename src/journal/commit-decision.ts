/**
 * What group commit decides: data in, data out. A batch or a read came back, or did not; what is known of each
 * submission, and what is to be done next, follows from that alone. The shell around it (group-commit.ts) sends,
 * reads, waits and tells; the model in test/model runs these same functions through every order of events.
 */
import type { DatabaseFailure } from "./database.ts";
import type { Fate } from "./submission.ts";

/** What is known of one submission under way. */
export type Standing = {
  /** Until when its caller's budget lasts, milliseconds since the epoch. */
  readonly deadlineMs: number;
  /** Of every send so far, the latest last: a row found with one of them is this submission's own. */
  readonly nonces: readonly string[];
  /** Whether a send or its lookup got no answer: from then on the key may have been claimed by it, now or later. */
  readonly unanswered: boolean;
};

/** A row of the journal, as far as these decisions look at it. */
export type ClaimedRow = { readonly nonce: string };

export const newStanding = (deadlineMs: number): Standing => ({
  deadlineMs,
  nonces: [],
  unanswered: false,
});

/** Before a send. Each has a nonce of its own, so that the effects of one that comes late find a foreign claim. */
export const sentUnder = (standing: Standing, freshNonce: string): Standing => ({
  ...standing,
  nonces: [...standing.nonces, freshNonce],
});

/** After silence: nothing may be denied any more. */
export const leftUnanswered = (standing: Standing): Standing => ({ ...standing, unanswered: true });

/** Whether its caller still has time for another send or read. */
export const isInTime = ({ deadlineMs }: Standing, nowMs: number): boolean => nowMs < deadlineMs;

export type AfterBatch =
  /**
   * Reads the keys whose claim gave no row back: all of them, if nothing came back. `answered` tells what absence will
   * mean.
   */
  | { readonly do: "look-up"; readonly answered: boolean }
  /** One of them, it is not known which, stands in the way of the others. */
  | { readonly do: "halve" }
  /** Its effects are impossible: its key is spent on the refusal that the constraint stands for. */
  | { readonly do: "refuse"; readonly constraint: string }
  | { readonly do: "give-up"; readonly reason: string };

/**
 * @param size how many submissions the batch carried
 * @param failure what came instead of results, if anything
 * @param refuses whether the batch carried a refusal that was forced already
 */
export const afterBatch = (
  size: number,
  failure: DatabaseFailure | undefined,
  refuses: boolean,
): AfterBatch => {
  switch (failure?.kind) {
    case undefined:
      return { do: "look-up", answered: true };
    case "unknown":
      return { do: "look-up", answered: false };
    case "aborted":
      if (size > 1) return { do: "halve" };
      if (refuses) return { do: "give-up", reason: "The refusal could not be stored." };
      return { do: "refuse", constraint: failure.constraint };
    case "not-migrated":
      // Whose table it is that is missing is not said: the others of the group are not held up by it.
      if (size > 1) return { do: "halve" };
      return { do: "give-up", reason: "The database is not migrated." };
  }
};

/** In the order in which they are sent. */
export const halves = <Member>(group: readonly Member[]): readonly [Member[], Member[]] => {
  const middle = Math.ceil(group.length / 2);
  return [group.slice(0, middle), group.slice(middle)];
};

export type AfterRead<Row> = Fate<Row> | { readonly kind: "send-again" };

/**
 * What a read of the journal says of each submission of a group, *per key*: a row found settles that key and says
 * nothing of its neighbours.
 * @param found the rows, in the order of the group
 * @param answered whether the batch before had its answer
 */
export const afterRead = <Row extends ClaimedRow>(
  group: readonly Standing[],
  found: readonly (Row | undefined)[],
  answered: boolean,
): AfterRead<Row>[] => group.map((standing, i) => afterReadOf(standing, found[i], answered));

/**
 * Absent: stale if the send was answered (a fact did not hold, or the claim would be there); else sent again. Absence
 * is not evidence: the send may still commit.
 */
const afterReadOf = <Row extends ClaimedRow>(
  standing: Standing,
  row: Row | undefined,
  answered: boolean,
): AfterRead<Row> => {
  if (row !== undefined) {
    return { kind: "recorded", entry: row, own: standing.nonces.includes(row.nonce) };
  }
  if (answered) return { kind: "stale", mayYetCommit: standing.unanswered };
  return { kind: "send-again" };
};

/** What the caller can be told when its time is up: `unknown` as soon as one send got no answer. */
export const givenUp = (standing: Standing, reason: string): Fate<never> => ({
  kind: standing.unanswered ? "unknown" : "unavailable",
  reason,
});
