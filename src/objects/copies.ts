/**
 * The object's own copies of outcomes: in memory, and in its SQLite. They make replays fast and possible while D1
 * is away; they decide nothing, and losing them loses nothing. Copies are written late, many in one storage
 * transaction, because an unflushed write would hold back the next reply and the next batch (the output gate).
 */
import { z } from "zod";
import type { SettledRecord } from "../idempotency/key-record.ts";
import { responseBytes } from "../idempotency/stored-response.ts";
import {
  COPY_FAILURES_MAX,
  MEMORY_BYTES_MAX,
  MEMORY_OUTCOMES_MAX,
  SWEEP_INTERVAL_MS,
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
  readonly #alarm: Alarm;

  constructor(storage: CopyStorage, alarm: Alarm, epoch: number) {
    this.#storage = storage;
    this.#alarm = alarm;
    this.#epoch = epoch;
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
      // Whether the alarm was set is not known: the next flush asks.
      this.#alarm.forget();
      this.#failures += 1;
      if (this.#failures >= COPY_FAILURES_MAX) this.#unwritten.clear();
    }
  }

  /** Rows, and the alarm that will sweep them: without an await between the two, so that they reach the disk together. */
  async #writeAll(batch: readonly (readonly [string, Copy])[], nowMs: number): Promise<void> {
    const dueAtMs = Math.min(...batch.map(([, copy]) => dueAtS(copy))) * 1000;
    this.#storage.transactionSync(() => {
      this.#createTable();
      for (const [key, copy] of batch) this.#write(key, copy);
    });
    await this.#alarm.noLaterThan(Math.max(dueAtMs, nowMs + SWEEP_INTERVAL_MS));
  }

  /** Keys that are due to be swept, a page of them. */
  due(nowS: number, limit: number): { readonly tenant: string; readonly key: string }[] {
    if (!this.#tableExists()) return [];
    return this.#storage.sql
      .exec<{ tenant: string; key: string }>(
        "SELECT tenant, key FROM copies WHERE due_at_s <= ? LIMIT ?",
        nowS,
        limit,
      )
      .toArray();
  }

  /** After the journal was swept: what has expired becomes a tombstone, what is past that goes. */
  sweep(keys: readonly string[], nowS: number): void {
    this.#storage.transactionSync(() => {
      for (const key of keys) {
        const copy = this.#read(key);
        this.#forget(key);
        if (copy === undefined || copy.forgetAtS <= nowS) {
          this.#storage.sql.exec("DELETE FROM copies WHERE key = ?", key);
        } else {
          this.#write(key, tombstone(copy));
        }
      }
    });
  }

  /** When the earliest row is due, milliseconds since the epoch; undefined if there is none. */
  nextDueAtMs(): number | undefined {
    if (!this.#tableExists()) return undefined;
    const { due } = this.#storage.sql
      .exec<{ due: number | null }>("SELECT MIN(due_at_s) AS due FROM copies")
      .one();
    return due === null ? undefined : due * 1000;
  }

  /** After the storage was given back. */
  storageGone(): void {
    this.#hasTable = false;
  }

  #createTable(): void {
    if (this.#tableExists()) return;
    // One b-tree, so that a copy costs one row written. `due_at_s` has no index: a sweep reads the table,
    // which is a thousand times cheaper than a second write for each key.
    this.#storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS copies (key TEXT PRIMARY KEY, tenant TEXT NOT NULL, epoch INTEGER NOT NULL, due_at_s INTEGER NOT NULL, copy TEXT NOT NULL) WITHOUT ROWID",
    );
    this.#hasTable = true;
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
    this.#storage.sql.exec(
      "INSERT INTO copies (key, tenant, epoch, due_at_s, copy) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET epoch = excluded.epoch, due_at_s = excluded.due_at_s, copy = excluded.copy",
      key,
      copy.tenant,
      this.#epoch,
      dueAtS(copy),
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
