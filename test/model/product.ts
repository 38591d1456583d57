/**
 * The product's own decisions, as the model calls them, and the data that they take. Nothing is decided here: a
 * mutant is this object with one function exchanged.
 */
import { type Asking, decide, type KeyRecord } from "../../src/idempotency/key-record.ts";
import { FINGERPRINT_VERSION, fingerprint } from "../../src/idempotency/fingerprint.ts";
import {
  afterBatch,
  afterRead,
  givenUp,
  halves,
  isInTime,
  leftUnanswered,
  newStanding,
  sentUnder,
} from "../../src/journal/commit-decision.ts";
import { BY_SERVICE } from "../../src/journal/audit-log.ts";
import { type JournalEntry, parseClaimRow } from "../../src/journal/record-row.ts";
import type { Submission } from "../../src/journal/submission.ts";
import { wholeSeconds } from "../../src/kernel/clock.ts";
import {
  COMMIT_BUDGET_MS,
  KEY_LIFETIME_SECONDS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import {
  afterFate,
  decideAgainstRun,
  decideOnRow,
  freeFromMs,
} from "../../src/objects/run-decision.ts";
import type { Request, Scenario } from "./scenarios.ts";
import type { Claimed, Copy, Outcome, Pending, Row } from "./state.ts";

export const PRODUCT = {
  afterBatch,
  afterFate,
  afterRead,
  decide,
  decideAgainstRun,
  decideOnRow,
  fingerprint: (request: Request): string | undefined =>
    fingerprint(
      { operation: request.kind, params: {}, query: [], body: request.body },
      FINGERPRINT_VERSION,
    ),
  freeFromMs,
  givenUp,
  halves,
  isInTime,
  leftUnanswered,
  newStanding,
  sentUnder,
};

export type Product = typeof PRODUCT;

const OBJECT = "object";
const ATTEMPT = 1;

/** Turns what the model holds into what the product takes, and back. The same in gives the same object out. */
export class Papers {
  readonly #scenario: Scenario;
  readonly #fingerprints: readonly string[];
  readonly #askings: readonly Asking[];
  readonly #submissions = new Map<number, Submission>();
  readonly #claims = new Map<number, JournalEntry>();
  readonly #records = new Map<number, KeyRecord>();

  constructor(scenario: Scenario, product: Product) {
    this.#scenario = scenario;
    this.#fingerprints = scenario.requests.map((request) => product.fingerprint(request) ?? "");
    this.#askings = scenario.requests.map(({ waits }, client) => ({
      fingerprintIn: (version) =>
        version === FINGERPRINT_VERSION ? this.#fingerprints[client] : undefined,
      waits,
    }));
  }

  fingerprintOf(client: number): string {
    return this.#fingerprints[client] ?? "";
  }

  askingOf(client: number): Asking {
    const asking = this.#askings[client];
    if (asking === undefined) throw new Error(`There is no client ${client}.`);
    return asking;
  }

  deadlineMs(startedAt: number): number {
    return this.msOf(startedAt) + COMMIT_BUDGET_MS;
  }

  msOf(instant: number): number {
    return this.#scenario.instants[instant] ?? 0;
  }

  expiresAtS(startedAt: number): number {
    return wholeSeconds(this.msOf(startedAt)) + KEY_LIFETIME_SECONDS;
  }

  forgetAtS(startedAt: number): number {
    return this.expiresAtS(startedAt) + TOMBSTONE_SECONDS;
  }

  /** The entry that the product makes of a claim that was returned. */
  entryOfClaim({ client, run, startedAt }: Pending, claimed: Claimed): JournalEntry {
    const isOwnAnswer = claimed.refusal === "none" && claimed.first;
    const refused = claimed.refusal !== "none";
    const verdict = {
      refusal: refused ? claimed.refusal : null,
      status: refused ? 409 : 201,
      body: isOwnAnswer ? null : bodyOf({ client: claimed.client, run: claimed.run, refused }),
    };
    const memo =
      ((((client * 256 + run) * 8 + startedAt) * 4 + claimed.client) * 256 + claimed.run) * 4 +
      (refused ? 2 : 0) +
      (isOwnAnswer ? 1 : 0);
    let entry = this.#claims.get(memo);
    if (entry === undefined) {
      const submission = this.#submissionOf(client, run, startedAt);
      entry = parseClaimRow(verdict, undefined, submission, "", ATTEMPT);
      this.#claims.set(memo, entry);
    }
    return entry;
  }

  /** The entry that a read of the journal gives. */
  entryOfRow(row: Row): JournalEntry {
    const refused = row.refusal !== "none";
    return {
      key: "",
      operation: "",
      nonce: row.nonce,
      attempt: ATTEMPT,
      refusal: refused ? row.refusal : null,
      status: refused ? 409 : 201,
      object: OBJECT,
      createdAtMs: this.msOf(row.startedAt),
      forgetAtS: this.forgetAtS(row.startedAt),
      held: null,
      record: this.recordOf({ ...row, refused }),
    };
  }

  recordOf({ client, run, refused, startedAt, tombstone }: Copy): KeyRecord {
    const memo =
      ((client * 256 + run) * 8 + startedAt) * 4 + (refused ? 2 : 0) + (tombstone ? 1 : 0);
    let record = this.#records.get(memo);
    if (record === undefined) {
      const claimed = {
        fingerprintVersion: FINGERPRINT_VERSION,
        fingerprint: this.fingerprintOf(client),
        members: {},
        expiresAtS: this.expiresAtS(startedAt),
        link: bodyOf({ client, run, refused }),
      };
      record = tombstone
        ? { ...claimed, state: "expired" }
        : {
            ...claimed,
            state: "final",
            response: {
              status: refused ? 409 : 201,
              headers: {},
              body: bodyOf({ client, run, refused }),
            },
          };
      this.#records.set(memo, record);
    }
    return record;
  }

  /** What an object keeps of an entry. A tombstone is told by the link that it keeps. */
  copyOf({ record, createdAtMs }: JournalEntry): Copy {
    const body = record.state === "final" ? record.response.body : (record.link ?? "");
    return {
      ...outcomeIn(body),
      startedAt: this.#scenario.instants.indexOf(createdAtMs),
      tombstone: record.state !== "final",
    };
  }

  #submissionOf(client: number, run: number, startedAt: number): Submission {
    const memo = (client * 256 + run) * 8 + startedAt;
    let submission = this.#submissions.get(memo);
    if (submission === undefined) {
      const expiresAtS = this.expiresAtS(startedAt);
      submission = {
        tenant: "",
        key: "",
        operation: "",
        by: BY_SERVICE,
        fingerprintVersion: FINGERPRINT_VERSION,
        fingerprint: this.fingerprintOf(client),
        members: {},
        object: OBJECT,
        plan: { guards: [], effects: [], answer: { status: 201, body: {}, link: "/" } },
        answerBody: bodyOf({ client, run, refused: false }),
        bytes: 0,
        createdAtMs: this.msOf(startedAt),
        expiresAtS,
        forgetAtS: expiresAtS + TOMBSTONE_SECONDS,
        deadlineMs: this.deadlineMs(startedAt),
        refusalDocument: (code) => ({ code }),
        refusalOf: (constraint) => constraint,
      };
      this.#submissions.set(memo, submission);
    }
    return submission;
  }
}

/** The bytes that a caller would get: they tell whose answer it is, and of which run. */
const bodyOf = ({ client, run, refused }: Outcome): string =>
  `${client} ${run} ${refused ? "refused" : "done"}`;

const outcomes = new Map<string, Outcome>();

export const outcomeIn = (body: string): Outcome => {
  let outcome = outcomes.get(body);
  if (outcome === undefined) {
    const [client, run, verdict] = body.split(" ");
    outcome = { client: Number(client), run: Number(run), refused: verdict === "refused" };
    outcomes.set(body, outcome);
  }
  return outcome;
};
