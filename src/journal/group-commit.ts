/**
 * Group commit: while one batch is on its way to D1, the operations that arrive wait in a bounded queue; when
 * it returns they go together in the next. Callers that overlapped before are given a moment to come back together;
 * one that is on its own waits for nothing, but once after a crowd.
 *
 * Each operation stands or falls alone. What a lost answer means is decided *per key*, by reading the journal:
 * a row found settles that key and says nothing of its neighbours; an absent one is sent again under a new
 * nonce with the same ids. Absence is not evidence: the first send may still commit, and then its effects find a
 * foreign nonce and change nothing.
 *
 * Here is what happens; what it means and what follows is decided in commit-decision.ts.
 */
import type { Clock } from "../kernel/clock.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import {
  GATHER_CALLS,
  GATHER_MS,
  GROUP_BYTES_MAX,
  GROUP_LONG_BYTES_MAX,
  GROUP_LONG_STATEMENTS_MAX,
  GROUP_OPERATIONS_MAX,
  GROUP_STATEMENTS_MAX,
  QUEUE_OPERATIONS_MAX,
  RECOVERY_PAUSE_MS,
  RECOVERY_PAUSE_MS_MAX,
  SEND_TIMEOUT_MS,
  SHORT_STATEMENTS_MAX,
} from "../kernel/limits.ts";
import { Moment } from "../kernel/moment.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { noteFailure, noteSize } from "./capacity.ts";
import {
  afterBatch,
  afterRead,
  givenUp,
  halves,
  isInTime,
  leftUnanswered,
  newStanding,
  sentUnder,
  type Standing,
} from "./commit-decision.ts";
import { classifyFailure, type Database, type DatabaseFailure, statement } from "./database.ts";
import { findRecords } from "./journal.ts";
import { type JournalEntry, parseClaimRow } from "./record-row.ts";
import { batchOf, type SendResults } from "./group-statements.ts";
import { type Send, statementWeight } from "./statements.ts";
import type { Fate, Submission } from "./submission.ts";

export type GroupCommitSetup = {
  readonly db: Database;
  readonly clock: Clock;
  /** A fresh, globally unique text for every call. */
  readonly mintNonce: () => string;
  readonly pause: (ms: number) => Promise<void>;
  /** What is to be done between two groups, when no batch is under way, if anything. Must not reject. */
  readonly between: () => Promise<void> | undefined;
  /** Told of each group that is taken, how long its operations had waited, milliseconds. Must not throw. */
  readonly sending?: (waitsMs: readonly number[]) => void;
  /** Told of constraint violations and effects that found no row: a guard is missing. */
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
};

/** A submission in the queue or under way. */
type Pending = {
  readonly submission: Submission;
  readonly queuedAtMs: number;
  readonly settle: (fate: Fate) => void;
  settled: boolean;
  standing: Standing;
  forcedRefusal?: Send["forcedRefusal"];
};

export class GroupCommit {
  readonly #setup: GroupCommitSetup;
  readonly #queue: Pending[] = [];
  #running = false;
  /** How many callers were at it at once: the last group, and who had queued while it was under way. */
  #overlapping = 1;
  readonly #moment = new Moment();

  constructor(setup: GroupCommitSetup) {
    this.#setup = setup;
  }

  /** Commits one operation. Never rejects. */
  commit(submission: Submission): Promise<Fate> {
    if (this.#queue.length >= QUEUE_OPERATIONS_MAX) {
      return Promise.resolve({ kind: "unavailable", reason: "The queue to the database is full." });
    }
    return new Promise((resolve) => {
      const pending: Pending = {
        submission,
        queuedAtMs: this.#setup.clock(),
        settle: (fate) => {
          pending.settled = true;
          resolve(fate);
        },
        settled: false,
        standing: newStanding(submission.deadlineMs),
      };
      this.#queue.push(pending);
      if (!this.#running) void this.#run();
      else if (!this.#isGathering()) this.#moment.end();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#queue.length > 0) {
        if (this.#isGathering()) await this.#moment.last(GATHER_MS);
        const group = this.#takeGroup();
        const takenAtMs = this.#setup.clock();
        this.#setup.sending?.(group.map(({ queuedAtMs }) => takenAtMs - queuedAtMs));
        if (CRASH_POINTS) await crashPoint("before-claim");
        await this.#commitGroup(group).catch((error: unknown) => this.#abandon(group, error));
        this.#overlapping = group.length + this.#queue.length;
        // Comfort must not hold up commits: storage that does not answer is not waited for.
        const chores = this.#setup.between();
        if (chores !== undefined) await withTimeout(chores, SEND_TIMEOUT_MS).catch(() => undefined);
      }
    } finally {
      this.#running = false;
    }
  }

  /**
   * Callers that were answered together come back together, but one after the other: to send the first of them alone
   * would make the rest wait for a batch of one. Those that call an upstream come back when it lets them: how many have
   * overlapped says nothing of how many come now, and to bring all of them together would keep them in step.
   */
  #isGathering(): boolean {
    if (this.#overlapping === 1) return false;
    const calls = this.#queue[0]?.submission.opens === true;
    const enough = calls ? GATHER_CALLS : Math.min(this.#overlapping, GROUP_OPERATIONS_MAX);
    return this.#queue.length < enough;
  }

  /**
   * The head of the queue within the bounds; never empty. Long operations have bounds of their own, and those that are
   * beyond them are passed by what is short: so a short one waits for the group that is under way and for its own, and
   * never for a queue of long ones. The first of them is the next group's head at the latest.
   */
  #takeGroup(): Pending[] {
    const group: Pending[] = [];
    const passed: Pending[] = [];
    let statements = 0;
    let longStatements = 0;
    let bytes = 0;
    let longBytes = 0;
    for (const pending of this.#queue) {
      const { submission } = pending;
      const weight = statementWeight(submission);
      const isLong = weight > SHORT_STATEMENTS_MAX;
      const isBeyondShare =
        longStatements + weight > GROUP_LONG_STATEMENTS_MAX ||
        longBytes + submission.bytes > GROUP_LONG_BYTES_MAX;
      if (group.length > 0 && isLong && isBeyondShare) {
        passed.push(pending);
        continue;
      }
      // One that is larger than the share by itself takes all of it, and leaves the rest to short ones.
      statements += isLong ? Math.min(weight, GROUP_LONG_STATEMENTS_MAX) : weight;
      bytes += isLong ? Math.min(submission.bytes, GROUP_LONG_BYTES_MAX) : submission.bytes;
      const full =
        group.length === GROUP_OPERATIONS_MAX ||
        statements > GROUP_STATEMENTS_MAX ||
        bytes > GROUP_BYTES_MAX;
      if (group.length > 0 && full) break;
      if (isLong) {
        longStatements += weight;
        longBytes += submission.bytes;
      }
      group.push(pending);
    }
    this.#queue.splice(0, group.length + passed.length, ...passed);
    return group;
  }

  /** A broken invariant in the middle of a group: nobody may be left waiting, and nothing is claimed to be known. */
  #abandon(group: readonly Pending[], error: unknown): void {
    this.#setup.alert("group-abandoned", { error: String(error) });
    leaveUnanswered(group);
    for (const pending of group) giveUp(pending, "The group could not be processed.");
  }

  async #commitGroup(group: readonly Pending[]): Promise<void> {
    let open = group;
    for (let round = 0; ; round++) {
      open = this.#withinBudget(open);
      if (open.length === 0) return;
      const failure = await this.#send(open);
      if (failure?.kind === "unknown") {
        noteFailure(this.#setup.db, failure.message, this.#setup.clock());
        this.#setup.alert("batch-unanswered", {
          operations: open.length,
          error: failure.message,
        });
      }
      const refuses = open.some(({ forcedRefusal }) => forcedRefusal !== undefined);
      const next = afterBatch(open.length, failure, refuses);
      if (failure?.kind === "aborted" && next.do !== "halve") {
        for (const { submission } of open) {
          const { operation } = submission;
          this.#setup.alert("constraint-violated", { operation, constraint: failure.constraint });
        }
      }
      switch (next.do) {
        case "look-up":
          open = await this.#lookUp(open, next.answered);
          if (open.length > 0) await this.#setup.pause(pauseMs(round));
          break;
        case "halve":
          for (const half of halves(open)) await this.#commitGroup(half);
          return;
        case "refuse":
          for (const pending of open) forceRefusal(pending, next.constraint);
          return this.#commitGroup(open);
        case "give-up":
          for (const pending of open) giveUp(pending, next.reason);
          return;
      }
    }
  }

  /** Those whose caller still has time; the others are told what is known. */
  #withinBudget(group: readonly Pending[]): Pending[] {
    const now = this.#setup.clock();
    return group.filter((pending) => {
      if (pending.settled) return false;
      if (isInTime(pending.standing, now)) return true;
      giveUp(pending, "The database did not answer in time.");
      return false;
    });
  }

  /** Sends one batch and settles every operation whose claim it returned. A failure is given back. */
  async #send(group: readonly Pending[]): Promise<DatabaseFailure | undefined> {
    const { db, mintNonce } = this.#setup;
    const sends = group.map((pending): Send => {
      const nonce = mintNonce();
      pending.standing = sentUnder(pending.standing, nonce);
      return {
        submission: pending.submission,
        nonce,
        attempt: pending.standing.nonces.length,
        ...(pending.forcedRefusal ? { forcedRefusal: pending.forcedRefusal } : {}),
      };
    });
    const { statements, resultsOf } = batchOf(sends);
    let results: D1Result[];
    try {
      const batch = db.batch(statements.map((one) => statement(db, one)));
      if (CRASH_POINTS) await crashPoint("batch-sent");
      results = await withTimeout(batch, SEND_TIMEOUT_MS);
    } catch (error) {
      const failure = classifyFailure(error);
      if (failure.kind === "unknown") leaveUnanswered(group);
      return failure;
    }
    noteSize(db, results);
    if (CRASH_POINTS) await crashPoint("batch-committed");
    const resultsBySend = resultsOf(results);
    group.forEach((pending, i) => this.#settleFrom(pending, sends[i], resultsBySend[i]));
    return undefined;
  }

  /** From the results of one operation's statements. No row from the claim: taken or stale, the lookup tells. */
  #settleFrom(pending: Pending, send: Send | undefined, results: SendResults | undefined): void {
    if (results?.claimed === undefined || send === undefined) return;
    const { answer } = pending.submission.plan;
    const computed = answer.computed === undefined ? undefined : results.rest.at(-1)?.results[0];
    const { submission, nonce, attempt } = send;
    const entry = parseClaimRow(results.claimed, computed, submission, nonce, attempt);
    if (entry.refusal === null && pending.forcedRefusal === undefined) {
      pending.submission.plan.effects.forEach((effect, i) => {
        if (effect.kind === "update" && results.rest[i]?.meta.changes === 0) {
          this.#setup.alert("effect-found-no-row", {
            operation: pending.submission.operation,
            table: effect.table,
          });
        }
      });
    }
    pending.settle({ kind: "recorded", entry, own: true });
  }

  /** Reads the keys that are still open, and settles what that settles. The rest is given back, to be sent again. */
  async #lookUp(group: readonly Pending[], answered: boolean): Promise<Pending[]> {
    const unread = group.filter((pending) => !pending.settled);
    if (unread.length === 0) return [];
    if (CRASH_POINTS) await crashPoint("recovery");
    const found = await this.#read(unread);
    const open = unread.filter((pending) => !pending.settled);
    const rows = open.map(({ submission }) => found.get(submission.key));
    const standings = open.map(({ standing }) => standing);
    afterRead(standings, rows, answered).forEach((after, i) => {
      if (after.kind !== "send-again") open[i]?.settle(after);
    });
    return open.filter((pending) => !pending.settled);
  }

  /** Reads until it gets an answer or everybody's budget is spent. */
  async #read(group: readonly Pending[]): Promise<Map<string, JournalEntry>> {
    const { db, pause } = this.#setup;
    const keys = group.map(({ submission }) => submission.key);
    const tenant = group[0]?.submission.tenant ?? "";
    for (let round = 0; ; round++) {
      try {
        return await withTimeout(findRecords(db, tenant, keys), SEND_TIMEOUT_MS);
      } catch {
        await pause(pauseMs(round));
        // Whether the key was taken could not be read: the claim may be there, so nothing may be denied.
        leaveUnanswered(group);
        if (this.#withinBudget(group).length === 0) return new Map();
      }
    }
  }
}

/** Tells the caller what can be told. */
const giveUp = (pending: Pending, reason: string): void => {
  if (!pending.settled) pending.settle(givenUp(pending.standing, reason));
};

const leaveUnanswered = (group: readonly Pending[]): void => {
  for (const pending of group) pending.standing = leftUnanswered(pending.standing);
};

/** What its next send commits: the refusal that the constraint stands for, and no effects. */
const forceRefusal = (pending: Pending, constraint: string): void => {
  const { refusalDocument, refusalOf } = pending.submission;
  pending.forcedRefusal = refusalDocument(refusalOf(constraint));
};

/** Doubles from the first pause to the maximum. */
const pauseMs = (round: number): number =>
  Math.min(RECOVERY_PAUSE_MS * 2 ** round, RECOVERY_PAUSE_MS_MAX);
