/**
 * The object's own copies of outcomes: in memory, and in its SQLite. They make replays fast and possible while D1
 * is away; they decide nothing, and losing them loses nothing. Copies are written late, many in one storage
 * transaction, because an unflushed write would hold back the next reply and the next batch (the output gate).
 *
 * A copy is one row written, so what is due has no index: an entry in one would be the second. It is found by passes
 * over the primary key instead, each in pages of which a turn of the object reads one. A pass begins only when
 * something may be due, by the soonest time that this object remembers, and when the one before it has rested for as
 * long as its rows are worth; so an alarm for anything else reads no copy, and a million of them block nobody. An object
 * that was restarted remembers neither: its first alarm begins a pass.
 */
import { z } from "zod";
import type { SettledRecord } from "../idempotency/key-record.ts";
import { responseBytes } from "../idempotency/stored-response.ts";
import { wholeSeconds } from "../kernel/clock.ts";
import {
  COPY_FAILURES_MAX,
  MEMORY_BYTES_MAX,
  MEMORY_OUTCOMES_MAX,
  SWEEP_INTERVAL_MS,
  SWEEP_PAGE_KEYS,
  SWEEP_REST_MS_PER_ROW,
  SWEEP_SCAN_ROWS,
} from "../kernel/limits.ts";
import type { Alarm } from "./alarm.ts";

/** The part of an object's storage that copies need. */
export type CopyStorage = Pick<DurableObjectStorage, "sql" | "transactionSync">;

export type Copy = {
  readonly tenant: string;
  /** Only what is settled is copied: nothing else stays true without being asked again. */
  readonly record: SettledRecord;
  /** Whole second at which the key is forgotten for good. */
  readonly forgetAtS: number;
};

const claimed = {
  fingerprintVersion: z.number(),
  fingerprint: z.string(),
  members: z.record(z.string(), z.string()),
  expiresAtS: z.number(),
  link: z.string().nullable(),
};

/** What a row holds; written by this class, and by earlier versions of it. */
const copySchema: z.ZodType<Copy> = z.object({
  tenant: z.string(),
  forgetAtS: z.number(),
  record: z.discriminatedUnion("state", [
    z.object({
      ...claimed,
      state: z.literal("final"),
      response: z.object({
        status: z.number(),
        headers: z.record(z.string(), z.string()),
        body: z.string(),
      }),
    }),
    z.object({ ...claimed, state: z.enum(["erased", "expired"]) }),
  ]),
});

const copyRow = z.object({
  copy: z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(copySchema),
});

/** A pass over the primary key that has begun. */
type Pass = {
  /** The last key that is done. */
  after: string;
  rows: number;
  /** The soonest that anything is due which it has left behind, or that was written since it began. */
  soonestS: number;
};

/** Rows that lie together in the primary key, as a pass has read them. */
export type SweepPage = {
  readonly pass: Pass;
  readonly after: string;
  /** Undefined: there is nothing behind it. */
  readonly last: string | undefined;
  readonly rows: number;
  readonly due: readonly { readonly tenant: string; readonly key: string }[];
  /** The soonest that one of the others is due; infinite if there are none. */
  readonly soonestS: number;
};

export class Copies {
  readonly #storage: CopyStorage;
  /** Of the database; copies of another one tell of a past that was undone (D1 Time Travel). */
  readonly #epoch: number;
  /** Most recently used last. */
  readonly #memory = new Map<string, Copy>();
  #memoryBytes = 0;
  readonly #unwritten = new Map<string, Copy>();
  #failures = 0;
  #hasTable: boolean | undefined;
  /** No row is due before; infinite: there is none; undefined: not known in this life of the object. */
  #soonestS: number | undefined;
  #pass: Pass | undefined;
  /** When the next pass may begin, milliseconds since the epoch. */
  #restsUntilMs = 0;
  readonly #alarm: Alarm;
  readonly #sweepIntervalMs: number;

  constructor(
    storage: CopyStorage,
    alarm: Alarm,
    epoch: number,
    sweepIntervalMs: number = SWEEP_INTERVAL_MS,
  ) {
    this.#storage = storage;
    this.#alarm = alarm;
    this.#epoch = epoch;
    this.#sweepIntervalMs = sweepIntervalMs;
  }

  /** How many copies are not written yet. */
  get lag(): number {
    return this.#unwritten.size;
  }

  find(key: string): Copy | undefined {
    const remembered = this.#memory.get(key) ?? this.#unwritten.get(key);
    if (remembered !== undefined) {
      this.#remember(key, remembered);
      return remembered;
    }
    const stored = this.#read(key);
    if (stored !== undefined) this.#remember(key, stored);
    return stored;
  }

  keep(key: string, copy: Copy): void {
    this.#remember(key, copy);
    // Storage that keeps failing is left alone: D1 answers what memory has lost.
    if (this.#failures < COPY_FAILURES_MAX) this.#unwritten.set(key, copy);
  }

  /**
   * Writes this copy now, over the one before it, however often storage has failed. Throws if it does not take it: then
   * the one before it may be read again.
   */
  async overwrite(key: string, copy: Copy, nowMs: number): Promise<void> {
    this.#remember(key, copy);
    this.#unwritten.delete(key);
    await this.#alarm.load();
    await this.#writeAll([[key, copy]], nowMs);
  }

  /** Writes what is unwritten. */
  async flush(nowMs: number): Promise<void> {
    if (this.#unwritten.size === 0) return;
    try {
      await this.#alarm.load();
      const batch = [...this.#unwritten];
      await this.#writeAll(batch, nowMs);
      this.#failures = 0;
      for (const [key, copy] of batch) {
        if (this.#unwritten.get(key) === copy) this.#unwritten.delete(key);
      }
    } catch {
      this.#failures += 1;
      if (this.#failures >= COPY_FAILURES_MAX) this.#unwritten.clear();
    }
  }

  /** Rows, and the alarm that will sweep them: without an await between the two, so that they reach the disk together. */
  async #writeAll(batch: readonly (readonly [string, Copy])[], nowMs: number): Promise<void> {
    const dueAtMs = Math.min(...batch.map(([, copy]) => dueAtS(copy))) * 1000;
    try {
      this.#storage.transactionSync(() => {
        this.#createTable();
        for (const [key, copy] of batch) this.#write(key, copy);
      });
    } catch (error) {
      // The table may have been made in what was undone.
      this.#hasTable = undefined;
      throw error;
    }
    await this.#alarm.noLaterThan(Math.max(dueAtMs, nowMs + this.#sweepIntervalMs));
  }

  /**
   * The next page of the pass that is under way, or that is due to begin; undefined if nothing is. It has as many rows
   * as one turn may look at, or ends with the last that one sweep may hold.
   */
  nextPage(nowMs: number): SweepPage | undefined {
    if (this.#pass === undefined) {
      if (this.#soonest() > wholeSeconds(nowMs) || nowMs < this.#restsUntilMs) return undefined;
      this.#pass = { after: "", rows: 0, soonestS: Number.POSITIVE_INFINITY };
    }
    return this.#readPage(this.#pass, wholeSeconds(nowMs));
  }

  #readPage(pass: Pass, nowS: number): SweepPage {
    const { after } = pass;
    // The place is a key and not an offset: what is written or deleted meanwhile moves nothing.
    const read = this.#storage.sql
      .exec<{ key: string; tenant: string; due_at_s: number }>(
        "SELECT key, tenant, due_at_s FROM copies WHERE key > ? ORDER BY key LIMIT ?",
        after,
        SWEEP_SCAN_ROWS,
      )
      .toArray();
    const due: { tenant: string; key: string }[] = [];
    let soonestS = Number.POSITIVE_INFINITY;
    let rows = 0;
    for (const { key, tenant, due_at_s: dueS } of read) {
      rows += 1;
      if (dueS <= nowS) due.push({ tenant, key });
      else soonestS = Math.min(soonestS, dueS);
      if (due.length === SWEEP_PAGE_KEYS) break;
    }
    const last = read[rows - 1]?.key;
    const isFull = rows === SWEEP_SCAN_ROWS || due.length === SWEEP_PAGE_KEYS;
    return { pass, after, last: isFull ? last : undefined, rows, due, soonestS };
  }

  /**
   * After the journal was swept: what has expired becomes a tombstone, what is past that goes, and the pass goes on
   * behind the page. Until then it has not moved: a page that failed is read again.
   */
  sweep(page: SweepPage, nowMs: number): void {
    if (page.due.length > 0) {
      this.#storage.transactionSync(() => {
        for (const { key } of page.due) this.#sweepOne(key, wholeSeconds(nowMs));
      });
    }
    const { pass } = page;
    // Another sweep of the same page was here first.
    if (this.#pass !== pass || pass.after !== page.after) return;
    pass.rows += page.rows;
    pass.soonestS = Math.min(pass.soonestS, page.soonestS);
    if (page.last !== undefined) {
      pass.after = page.last;
      return;
    }
    this.#pass = undefined;
    this.#soonestS = pass.soonestS;
    this.#restsUntilMs = nowMs + Math.max(this.#sweepIntervalMs, pass.rows * SWEEP_REST_MS_PER_ROW);
  }

  #sweepOne(key: string, nowS: number): void {
    const copy = this.#read(key);
    if (copy === undefined || copy.forgetAtS <= nowS) {
      this.#forget(key);
      this.#storage.sql.exec("DELETE FROM copies WHERE key = ?", key);
    } else if (dueAtS(copy) <= nowS) {
      this.#forget(key);
      this.#write(key, tombstone(copy));
    } else {
      // It was written anew since the page was read: a forgotten key that was used again, and lives.
      this.#expect(dueAtS(copy));
    }
  }

  /** Takes note of when a row is due, also where a pass has been already. Too early does no harm. */
  #expect(dueS: number): void {
    if (this.#soonestS !== undefined) this.#soonestS = Math.min(this.#soonestS, dueS);
    if (this.#pass !== undefined) this.#pass.soonestS = Math.min(this.#pass.soonestS, dueS);
  }

  /** When there is something to sweep, milliseconds since the epoch; undefined if there is nothing at all. */
  nextSweepAtMs(nowMs: number): number | undefined {
    if (this.#pass !== undefined) return nowMs;
    const soonestS = this.#soonest();
    return soonestS === Number.POSITIVE_INFINITY
      ? undefined
      : Math.max(soonestS * 1000, this.#restsUntilMs);
  }

  /** An object that was restarted does not know: then everything may be due. */
  #soonest(): number {
    if (!this.#tableExists()) this.#soonestS = Number.POSITIVE_INFINITY;
    return this.#soonestS ?? 0;
  }

  /** After the storage was given back. */
  storageGone(): void {
    this.#hasTable = false;
  }

  #createTable(): void {
    if (this.#tableExists()) return;
    // One b-tree, so that a copy costs one row written; an index on `due_at_s` would make it two.
    this.#storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS copies (key TEXT PRIMARY KEY, tenant TEXT NOT NULL, epoch INTEGER NOT NULL, due_at_s INTEGER NOT NULL, copy TEXT NOT NULL) WITHOUT ROWID",
    );
    this.#hasTable = true;
    this.#soonestS = Number.POSITIVE_INFINITY;
  }

  /** An object that was only asked stores nothing, not even an empty table. */
  #tableExists(): boolean {
    this.#hasTable ??=
      this.#storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'copies'").toArray().length >
      0;
    return this.#hasTable;
  }

  #read(key: string): Copy | undefined {
    try {
      if (!this.#tableExists()) return undefined;
      const [row] = this.#storage.sql
        .exec("SELECT copy FROM copies WHERE key = ? AND epoch = ?", key, this.#epoch)
        .toArray();
      return row === undefined ? undefined : copyRow.parse(row).copy;
    } catch {
      return undefined;
    }
  }

  #write(key: string, copy: Copy): void {
    const dueS = dueAtS(copy);
    this.#expect(dueS);
    this.#storage.sql.exec(
      "INSERT INTO copies (key, tenant, epoch, due_at_s, copy) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch, due_at_s = excluded.due_at_s, copy = excluded.copy",
      key,
      copy.tenant,
      this.#epoch,
      dueS,
      JSON.stringify(copy),
    );
  }

  #remember(key: string, copy: Copy): void {
    this.#forget(key);
    this.#memory.set(key, copy);
    this.#memoryBytes += bytesOf(copy);
    for (const oldest of this.#memory.keys()) {
      const full = this.#memory.size > MEMORY_OUTCOMES_MAX || this.#memoryBytes > MEMORY_BYTES_MAX;
      if (!full || oldest === key) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const copy = this.#memory.get(key);
    if (copy === undefined) return;
    this.#memory.delete(key);
    this.#memoryBytes -= bytesOf(copy);
  }
}

/** When the sweep has something to do with it. */
const dueAtS = ({ record, forgetAtS }: Copy): number =>
  record.state === "expired" ? forgetAtS : record.expiresAtS;

const bytesOf = ({ record }: Copy): number =>
  record.state === "final" ? responseBytes(record.response) : 512;

/** What is left of an expired key: whose it was and what it made. */
const tombstone = ({ tenant, record, forgetAtS }: Copy): Copy => ({
  tenant,
  forgetAtS,
  record: {
    state: "expired",
    fingerprintVersion: record.fingerprintVersion,
    fingerprint: record.fingerprint,
    members: {},
    expiresAtS: record.expiresAtS,
    link: record.link,
  },
});
