/**
 * The object's table of exchanges: the intent before the call, the outcome before the answer. A row is written in one
 * turn with the alarm that cares for it, so that both reach the disk together or neither does.
 *
 * There is one index, over what is due next: the alarm, the heals and the sweeps all ask for it. Rows written for one
 * exchange: the intent 2 (row and index), the outcome 2, the journal's word that it has it 2, and a chunk for every
 * 256 KiB of an answer beyond the first.
 */
import { BoundedMap } from "../kernel/bounded-map.ts";
import { EXCHANGE_FLIGHTS_MAX } from "../kernel/limits.ts";
import { dueAtMs, type Exchange, exchangeSchema } from "./exchange-record.ts";

export type ExchangeStorage = Pick<DurableObjectStorage, "sql" | "transactionSync">;

export class Exchanges {
  readonly #storage: ExchangeStorage;
  /** Rows by their very text, read or written lately: parsing one again is the dearest part of reading it. */
  readonly #parsed = new BoundedMap<string, Exchange>(EXCHANGE_FLIGHTS_MAX);
  #hasTables: boolean | undefined;

  constructor(storage: ExchangeStorage) {
    this.#storage = storage;
  }

  /** Throws if storage cannot be read: what is not known must not be taken for unused. */
  find(key: string): Exchange | undefined {
    if (!this.#tablesExist()) return undefined;
    const [row] = this.#storage.sql
      .exec<{ record: string }>("SELECT record FROM exchanges WHERE key = ?", key)
      .toArray();
    return row === undefined ? undefined : this.#parse(row.record);
  }

  /** False: there is one already, of another life of this object. Throws if storage does not take it. */
  add(exchange: Exchange, request: Uint8Array): boolean {
    return this.#storage.transactionSync(() => {
      this.#createTables();
      return (
        this.#storage.sql.exec(
          "INSERT INTO exchanges (key, due_at_ms, record, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
          exchange.key,
          dueAtMs(exchange),
          this.#textOf(exchange),
          request,
        ).rowsWritten > 0
      );
    });
  }

  /**
   * Changes what is kept of a claim's exchange: read, decided and written in one transaction, so that whoever comes
   * second decides on what the first has left. Gives back what is kept now; undefined if nothing was changed.
   * @param change the exchange as it is to be, and the bytes beside it unless they stay; undefined: leave it
   */
  update(
    key: string,
    nonce: string,
    change: (
      now: Exchange,
    ) => { readonly exchange: Exchange; readonly bytes?: Uint8Array | null } | undefined,
  ): Exchange | undefined {
    return this.#storage.transactionSync(() => {
      const now = this.find(key);
      // Of another claim: the key was free in between.
      if (now === undefined || now.nonce !== nonce) return undefined;
      const next = change(now);
      if (next === undefined) return undefined;
      const { exchange, bytes } = next;
      const columns = [dueAtMs(exchange), this.#textOf(exchange)];
      if (bytes === undefined) {
        this.#storage.sql.exec(
          "UPDATE exchanges SET due_at_ms = ?, record = ? WHERE key = ?",
          ...columns,
          key,
        );
      } else {
        this.#storage.sql.exec(
          "UPDATE exchanges SET due_at_ms = ?, record = ?, bytes = ? WHERE key = ?",
          ...columns,
          bytes,
          key,
        );
      }
      return exchange;
    });
  }

  /** With all that is kept of it. */
  remove(key: string): void {
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec("DELETE FROM exchanges WHERE key = ?", key);
      this.removeChunks(key);
    });
  }

  /** The request while the exchange is open; the first, and mostly only, part of the answer from then on. */
  bytes(key: string): Uint8Array {
    const [row] = this.#storage.sql
      .exec<{ bytes: ArrayBuffer | null }>("SELECT bytes FROM exchanges WHERE key = ?", key)
      .toArray();
    return new Uint8Array(row?.bytes ?? new ArrayBuffer(0));
  }

  /** @param place from 0 on */
  writeChunk(key: string, place: number, bytes: Uint8Array): void {
    this.#storage.sql.exec(
      "INSERT OR REPLACE INTO exchange_chunks (key, place, bytes) VALUES (?, ?, ?)",
      key,
      place,
      bytes,
    );
  }

  chunk(key: string, place: number): Uint8Array | undefined {
    const [row] = this.#storage.sql
      .exec<{ bytes: ArrayBuffer }>(
        "SELECT bytes FROM exchange_chunks WHERE key = ? AND place = ?",
        key,
        place,
      )
      .toArray();
    return row === undefined ? undefined : new Uint8Array(row.bytes);
  }

  /** Also those of a try that was given up. */
  removeChunks(key: string): void {
    this.#storage.sql.exec("DELETE FROM exchange_chunks WHERE key = ?", key);
  }

  due(nowMs: number, limit: number): Exchange[] {
    if (!this.#tablesExist()) return [];
    return this.#storage.sql
      .exec<{ record: string }>(
        "SELECT record FROM exchanges WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?",
        nowMs,
        limit,
      )
      .toArray()
      .map(({ record }) => this.#parse(record));
  }

  nextDueAtMs(): number | undefined {
    if (!this.#tablesExist()) return undefined;
    const { due } = this.#storage.sql
      .exec<{ due: number | null }>(
        "SELECT MIN(due_at_ms) AS due FROM exchanges WHERE due_at_ms IS NOT NULL",
      )
      .one();
    return due ?? undefined;
  }

  /** Uncertain ones are due for nothing, and are kept all the same. */
  get isEmpty(): boolean {
    return (
      !this.#tablesExist() ||
      this.#storage.sql.exec("SELECT 1 FROM exchanges LIMIT 1").toArray().length === 0
    );
  }

  /** After the storage was given back. */
  storageGone(): void {
    this.#hasTables = false;
  }

  #parse(record: string): Exchange {
    const known = this.#parsed.get(record);
    if (known !== undefined) return known;
    const exchange = exchangeSchema.parse(JSON.parse(record));
    this.#parsed.set(record, exchange);
    return exchange;
  }

  #textOf(exchange: Exchange): string {
    const record = JSON.stringify(exchange);
    this.#parsed.set(record, exchange);
    return record;
  }

  /** An object that was only asked stores nothing, not even an empty table. */
  #tablesExist(): boolean {
    this.#hasTables ??=
      this.#storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'exchange_chunks'").toArray()
        .length > 0;
    return this.#hasTables;
  }

  #createTables(): void {
    if (this.#tablesExist()) return;
    const { sql } = this.#storage;
    sql.exec(
      "CREATE TABLE IF NOT EXISTS exchanges (key TEXT PRIMARY KEY, due_at_ms INTEGER, record TEXT NOT NULL, bytes BLOB) WITHOUT ROWID",
    );
    sql.exec(
      "CREATE INDEX IF NOT EXISTS exchanges_due ON exchanges (due_at_ms) WHERE due_at_ms IS NOT NULL",
    );
    sql.exec(
      "CREATE TABLE IF NOT EXISTS exchange_chunks (key TEXT NOT NULL, place INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, place)) WITHOUT ROWID",
    );
    // A transaction that fails undoes them, and then it is asked anew.
    this.#hasTables = undefined;
  }
}
