/**
 * What an object counts of requests that changed nothing: replays, conflicts, requests in flight. They are in no
 * transaction, so this is the best that can be done: every few seconds one grouped row of the audit log for each tenant,
 * numbered within this life of the object. A number that is missing was lost on its way; a new life that begins says that
 * the old one ended, and may have taken its last seconds with it. Nothing of it is awaited by a request.
 */
import type { ProblemCode } from "../contract/problems.ts";
import { Counters } from "../audit/series.ts";
import { tallyNote } from "../journal/audit-log.ts";
import { type Database, statement } from "../journal/database.ts";
import { addToMetrics } from "../journal/metrics.ts";
import type { Clock } from "../kernel/clock.ts";
import { keyHash } from "../kernel/hash.ts";
import {
  SEND_TIMEOUT_MS,
  TALLY_DELAY_MS,
  TALLY_GROUPS,
  TALLY_KEYS_MAX,
  TALLY_MEMBER_LENGTH_MAX,
  TALLY_MEMBERS_MAX,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { KeyCall, KeyReply } from "./key-call.ts";

type Counts = Record<string, number>;

type Grouped = {
  readonly object: string;
  readonly sinceMs: number;
  /** By operation and what was answered. */
  readonly answers: Record<string, Counts>;
  /** By key; not of every key. They are hashed when they are written down, and not for each request. */
  readonly keys: Map<string, Counts>;
  /** Members that another request with the key had otherwise, by key: names, never values. */
  readonly differing: Map<string, readonly string[]>;
};

export type TallySetup = {
  readonly databaseFor: (tenant: string) => Promise<Database>;
  readonly clock: Clock;
  /** Names this life of the object; a fresh text. */
  readonly mintLife: () => string;
  readonly keepAlive: (work: Promise<unknown>) => void;
};

export class Tally {
  readonly #setup: TallySetup;
  #grouped = new Map<string, Grouped>();
  readonly #counters = new Counters();
  #groups = 0;
  #life: string | undefined;
  #number = 0;
  #willFlush = false;
  /** Whose database takes the figures of the queue. */
  #tenant = "";

  constructor(setup: TallySetup) {
    this.#setup = setup;
  }

  /** Counts a replay or a conflict; of everything else the audit log has a row, or nothing was used. */
  answered({ tenant, key, object, request }: KeyCall, reply: KeyReply): void {
    const what = wordFor(reply);
    this.#tenant = tenant;
    if (what === undefined) return;
    const grouped: Grouped = this.#grouped.get(tenant) ?? {
      object,
      sinceMs: this.#setup.clock(),
      answers: {},
      keys: new Map(),
      differing: new Map(),
    };
    this.#grouped.set(tenant, grouped);
    add((grouped.answers[request.operation] ??= {}), what);
    const known = grouped.keys.get(key);
    if (known !== undefined || grouped.keys.size < TALLY_KEYS_MAX) {
      const counts = known ?? {};
      add(counts, what);
      grouped.keys.set(key, counts);
      const names = differingIn(reply);
      if (names.length > 0) {
        const all = new Set([...(grouped.differing.get(key) ?? []), ...names]);
        grouped.differing.set(key, [...all].slice(0, TALLY_MEMBERS_MAX));
      }
    }
    this.#flushSoon();
  }

  /** @param ageMs of a run that another request has met */
  metInFlight(operation: string, ageMs: number): void {
    this.#counters.observe("latchkey_in_flight_age_ms", { operation }, ageMs);
  }

  /** @param waitsMs how long each operation of the batch has waited for it */
  sent(waitsMs: readonly number[]): void {
    this.#groups += 1;
    this.#counters.count("latchkey_groups_total", {});
    this.#counters.count("latchkey_group_operations_total", {}, waitsMs.length);
    for (const ms of waitsMs) this.#counters.observe("latchkey_queue_wait_ms", {}, ms);
    if (this.#groups >= TALLY_GROUPS) this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#willFlush) return;
    this.#willFlush = true;
    setTimeout(() => {
      this.#willFlush = false;
      this.#setup.keepAlive(this.flush());
    }, TALLY_DELAY_MS);
  }

  /**
   * Writes down what was counted, and forgets it, whatever comes of that: a row that is sent again could be there twice,
   * and one that is missing shows by its number.
   */
  async flush(): Promise<void> {
    const grouped = this.#grouped;
    this.#grouped = new Map();
    this.#groups = 0;
    const counted = this.#counters.take();
    if (grouped.size === 0) grouped.set(this.#tenant, NOTHING);
    let rest: ReadonlyMap<string, number> = counted;
    for (const [tenant, group] of grouped) {
      const notes = group === NOTHING ? [] : [this.#noteOf(tenant, group)];
      const figures = rest.size === 0 ? [] : [addToMetrics(rest)];
      rest = new Map();
      await this.#setup
        .databaseFor(tenant)
        .then((db) =>
          withTimeout(
            db.batch([...notes, ...figures].map((one) => statement(db, one))),
            SEND_TIMEOUT_MS,
          ),
        )
        .catch(() => undefined);
    }
  }

  #noteOf(tenant: string, { object, sinceMs, answers, keys, differing }: Grouped) {
    this.#life ??= this.#setup.mintLife();
    this.#number += 1;
    return tallyNote(tenant, this.#setup.clock(), {
      object,
      life: this.#life,
      number: this.#number,
      sinceMs,
      answers,
      keys: byHash(tenant, keys),
      ...(differing.size === 0 ? {} : { differing: byHash(tenant, differing) }),
    });
  }
}

const NOTHING: Grouped = {
  object: "",
  sinceMs: 0,
  answers: {},
  keys: new Map(),
  differing: new Map(),
};

const byHash = <Value>(tenant: string, of: ReadonlyMap<string, Value>): Record<string, Value> =>
  Object.fromEntries([...of].map(([key, value]) => [keyHash(tenant, key), value]));

/** What met a key that was used, and changed nothing. */
const CONFLICTS: ReadonlySet<ProblemCode> = new Set([
  "idempotency-key-reused",
  "request-in-flight",
  "idempotency-key-expired",
  "outcome-erased",
  "outcome-uncertain",
]);

/** Undefined for what a claim's own row tells, and for what has used no key. */
const wordFor = (reply: KeyReply): string | undefined => {
  switch (reply.kind) {
    case "outcome":
      return reply.replayed ? "replayed" : undefined;
    case "accepted":
      return undefined;
    case "problem":
      return CONFLICTS.has(reply.code) ? reply.code : undefined;
  }
};

/** As the problem of a mismatch names them. */
const differingIn = (reply: KeyReply): string[] => {
  const named = reply.kind === "problem" ? reply.members?.["mismatched"] : undefined;
  return Array.isArray(named)
    ? named
        .filter((name) => typeof name === "string")
        .map((name) => name.slice(0, TALLY_MEMBER_LENGTH_MAX))
    : [];
};

const add = (counts: Counts, what: string): void => {
  counts[what] = (counts[what] ?? 0) + 1;
};
