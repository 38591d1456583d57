/**
 * The object's table of exchanges: the intent before the call, the outcome before the answer. A row is written in one
 * turn with the alarm that cares for it, so that both reach the disk together or neither does.
 *
 * There is one index, over what is due next: the alarm, the heals and the sweeps all ask for it. Rows written for one
 * exchange: the intent 2 (row and index), the outcome 2, the journal's word that it has it 2, and a chunk for every
 * 256 KiB of an answer beyond the first. That word comes for many exchanges at once, so what it changes is in columns.
 */
import { BoundedMap } from "../kernel/bounded-map.ts";
import { EXCHANGE_REMEMBERED_MAX, EXCHANGES_REMEMBERED } from "../kernel/limits.ts";
import {
  type Chore,
  dueAtMs,
  type Exchange,
  exchangeSchema,
  type ExchangeText,
} from "./exchange-record.ts";

export type ExchangeStorage = Pick<DurableObjectStorage, "sql" | "transactionSync">;

type Row = {
  readonly record: string;
  readonly settle_tries: number;
  readonly settle_at_ms: number | null;
};

type AnsweredRow = Row & { readonly bytes: ArrayBuffer | null };

const ROW = "record, settle_tries, settle_at_ms";
const FIND = `SELECT ${ROW} FROM exchanges WHERE key = ?`;
const FIND_ALL = `SELECT ${ROW} FROM exchanges WHERE key IN (SELECT value FROM json_each(?))`;
const FIND_WITH_ANSWER = `SELECT ${ROW}, CASE WHEN substr(mark, -5) = 'final' THEN bytes END AS bytes FROM exchanges WHERE key = ?`;
const ADD =
  "INSERT INTO exchanges (due_at_ms, settle_tries, settle_at_ms, settled_due_ms, mark, record, key, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
const SET =
  "due_at_ms = ?, settle_tries = ?, settle_at_ms = ?, settled_due_ms = ?, mark = ?, record = ?";
const AS_READ = "key = ? AND record = ? AND settle_at_ms IS ?";
const REPLACE = `UPDATE exchanges SET ${SET} WHERE ${AS_READ}`;
const REPLACE_WITH_BYTES = `UPDATE exchanges SET ${SET}, bytes = ? WHERE ${AS_READ}`;

const markOf = ({ nonce, state }: Exchange): string => `${nonce} ${state.kind}`;

/** Decides on what is stored; may be asked twice. */
type ExchangeChange = (
  now: Exchange,
) => { readonly exchange: Exchange; readonly bytes?: Uint8Array | null } | undefined;

export class Exchanges {
  readonly #storage: ExchangeStorage;
  readonly #epoch: number;
  /** Rows by their very text, read or written lately: parsing one again is the dearest part of reading it. */
  readonly #parsed = new BoundedMap<string, ExchangeText>(EXCHANGES_REMEMBERED);
  /** The text of what was read or written: what is stored is what somebody holds if it has this very text. */
  readonly #texts = new WeakMap<Exchange, string>();
  /** Of those that were read with their answer. */
  readonly #answers = new WeakMap<Exchange, Uint8Array>();
  /** Final and settled ones by key, asked for lately: nothing else stays true. What writes to one forgets it. */
  readonly #ended = new BoundedMap<string, Exchange>(EXCHANGES_REMEMBERED);
  #hasTables: boolean | undefined;

  /** @param epoch how often the database was restored; see `RESTORE_EPOCH` */
  constructor(storage: ExchangeStorage, epoch = 0) {
    this.#storage = storage;
    this.#epoch = epoch;
  }

  /** Throws if storage cannot be read: what is not known must not be taken for unused. */
  find(key: string): Exchange | undefined {
    if (!this.#tablesExist()) return undefined;
    const [row] = this.#storage.sql.exec<Row>(FIND, key).toArray();
    return row === undefined ? undefined : this.#parse(row);
  }

  /** Those that there are. A statement for each would cost more than what it reads. */
  findAll(keys: readonly string[]): Exchange[] {
    if (!this.#tablesExist()) return [];
    return this.#storage.sql
      .exec<Row>(FIND_ALL, JSON.stringify(keys))
      .toArray()
      .map((row) => this.#parse(row));
  }

  /** The same as `find`, for who will mostly replay it: what `answerOf` it gives is read with it, or remembered. */
  findWithAnswer(key: string): Exchange | undefined {
    const remembered = this.#ended.get(key);
    if (remembered !== undefined) return remembered;
    if (!this.#tablesExist()) return undefined;
    const [row] = this.#storage.sql.exec<AnsweredRow>(FIND_WITH_ANSWER, key).toArray();
    if (row === undefined) return undefined;
    const exchange = this.#parse(row);
    if (row.bytes === null) return exchange;
    this.#answers.set(exchange, new Uint8Array(row.bytes));
    const isShort = row.bytes.byteLength + row.record.length <= EXCHANGE_REMEMBERED_MAX;
    if (exchange.settling === null && isShort) this.#ended.set(key, exchange);
    return exchange;
  }

  /** False: there is one already, of another life of this object. Throws if storage does not take it. */
  add(exchange: Exchange, request: Uint8Array): boolean {
    if (!this.#tablesExist()) this.#storage.transactionSync(() => this.#createTables());
    return (
      this.#storage.sql.exec(ADD, ...this.#columnsOf(exchange), exchange.key, request).rowsWritten >
      0
    );
  }

  /**
   * Changes what is kept of a claim's exchange, so that whoever comes second decides on what the first has left: it is
   * written only over what it was decided on, and else read and decided anew. Gives back what is kept now; undefined if
   * nothing was changed.
   * @param held as it was read or written last: mostly it still is
   * @param change the exchange as it is to be, and the bytes beside it unless they stay; undefined: leave it
   */
  update(held: Exchange, change: ExchangeChange): Exchange | undefined {
    const { key, nonce } = held;
    const changed = this.#texts.has(held) ? this.#replace(held, change(held)) : undefined;
    if (changed !== undefined) return changed;
    return this.#storage.transactionSync(() => {
      const now = this.find(key);
      // Of another claim: the key was free in between.
      return now === undefined || now.nonce !== nonce ? undefined : this.#replace(now, change(now));
    });
  }

  /** Undefined also if what is stored is not, or not any more, what was read. */
  #replace(before: Exchange, next: ReturnType<ExchangeChange>): Exchange | undefined {
    const text = this.#texts.get(before);
    if (next === undefined || text === undefined) return undefined;
    const { exchange, bytes } = next;
    const { sql } = this.#storage;
    this.#ended.delete(before.key);
    const values = this.#columnsOf(exchange);
    const stands = [before.key, text, before.settling?.dueAtMs ?? null];
    const { rowsWritten } =
      bytes === undefined
        ? sql.exec(REPLACE, ...values, ...stands)
        : sql.exec(REPLACE_WITH_BYTES, ...values, bytes, ...stands);
    return rowsWritten > 0 ? exchange : undefined;
  }

  /**
   * The journal says what these say. Those whose claim or state is another by now have a settlement yet to come; those
   * that somebody else has found settled meanwhile are due for something else.
   */
  settled(sent: readonly Exchange[]): void {
    this.#storage.sql.exec(
      "UPDATE exchanges SET settle_at_ms = NULL, settle_tries = 0, due_at_ms = settled_due_ms FROM json_each(?) AS c WHERE exchanges.key = c.value ->> 0 AND mark = c.value ->> 1 AND settle_at_ms IS NOT NULL",
      JSON.stringify(sent.map((exchange) => [exchange.key, markOf(exchange)])),
    );
  }

  /** The journal is told of it once more, if it is closed. */
  settleAnew(key: string, nowMs: number): void {
    this.#ended.delete(key);
    if (this.#tablesExist()) this.#settleAnew("key = ?", nowMs, key);
  }

  /**
   * The same for all that is closed, once for each time that the database was restored. Whether that was now; it is
   * remembered in the turn of the call.
   */
  settleAnewIfRestored(nowMs: number): boolean {
    if (this.#epoch === 0 || !this.#tablesExist()) return false;
    return this.#storage.transactionSync(() => {
      if (!this.#isFirstInEpoch()) return false;
      this.#ended.clear();
      this.#settleAnew("true", nowMs);
      return true;
    });
  }

  #settleAnew(which: "key = ?" | "true", nowMs: number, ...values: readonly string[]): void {
    this.#storage.sql.exec(
      `UPDATE exchanges SET settled_due_ms = due_at_ms, settle_at_ms = ?, due_at_ms = ? WHERE settle_at_ms IS NULL AND (mark LIKE '% final' OR mark LIKE '% uncertain') AND ${which}`,
      nowMs,
      nowMs,
      ...values,
    );
  }

  /** Remembers it. An object that has never seen another one than 0 has no table for it. */
  #isFirstInEpoch(): boolean {
    const { sql } = this.#storage;
    sql.exec("CREATE TABLE IF NOT EXISTS exchange_epoch (epoch INTEGER NOT NULL)");
    const [seen] = sql.exec<{ epoch: number }>("SELECT epoch FROM exchange_epoch").toArray();
    if (seen !== undefined && seen.epoch >= this.#epoch) return false;
    sql.exec("DELETE FROM exchange_epoch");
    sql.exec("INSERT INTO exchange_epoch (epoch) VALUES (?)", this.#epoch);
    return true;
  }

  /** Of the outcome nothing is left but what a tombstone needs. */
  strip(exchange: Exchange, left: "erased" | "expired"): void {
    this.update(exchange, (now) => ({
      exchange: { ...now, left, members: {}, answer: null, unstored: null, telling: null },
      bytes: null,
    }));
    this.removeChunks(exchange.key);
  }

  /** With all that is kept of it; never what another claim has put in its place meanwhile. */
  remove({ key, nonce }: Pick<Exchange, "key" | "nonce">): void {
    if (this.find(key)?.nonce !== nonce) return;
    this.#ended.delete(key);
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

  /** The same of an exchange that has its answer, without reading twice. */
  answerOf(exchange: Exchange): Uint8Array {
    return this.#answers.get(exchange) ?? this.bytes(exchange.key);
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
      .exec<Row>(
        `SELECT ${ROW} FROM exchanges WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?`,
        nowMs,
        limit,
      )
      .toArray()
      .map((row) => this.#parse(row));
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
    this.#ended.clear();
    this.#hasTables = false;
  }

  #parse({ record, settle_tries: tries, settle_at_ms: atMs }: Row): Exchange {
    const known = this.#parsed.get(record) ?? exchangeSchema.parse(JSON.parse(record));
    this.#remember(record, known);
    const settling: Chore | null = atMs === null ? null : { tries, dueAtMs: atMs };
    const exchange = { ...known, settling };
    this.#texts.set(exchange, record);
    return exchange;
  }

  /** The values of `ADD` and of `SET`. */
  #columnsOf(exchange: Exchange): SqlStorageValue[] {
    const { settling, ...text } = exchange;
    const record = JSON.stringify(text);
    this.#remember(record, text);
    this.#texts.set(exchange, record);
    return [
      dueAtMs(exchange),
      settling?.tries ?? 0,
      settling?.dueAtMs ?? null,
      settling === null ? null : dueAtMs({ ...exchange, settling: null }),
      markOf(exchange),
      record,
    ];
  }

  #remember(record: string, text: ExchangeText): void {
    if (record.length <= EXCHANGE_REMEMBERED_MAX) this.#parsed.set(record, text);
  }

  /** An object that was only asked stores nothing, not even an empty table. */
  #tablesExist(): boolean {
    if (this.#hasTables === undefined) {
      const [table] = this.#storage.sql
        .exec<{ sql: string }>("SELECT sql FROM sqlite_master WHERE name = 'exchanges'")
        .toArray();
      if (table !== undefined && !table.sql.includes("settled_due_ms")) this.#addColumns();
      this.#hasTables = table !== undefined;
    }
    return this.#hasTables;
  }

  /** Of a table that an earlier version made: there, what is in columns now was in the record's text. */
  #addColumns(): void {
    this.#storage.transactionSync(() => {
      const { sql } = this.#storage;
      sql.exec("ALTER TABLE exchanges ADD COLUMN settle_tries INTEGER NOT NULL DEFAULT 0");
      sql.exec("ALTER TABLE exchanges ADD COLUMN settle_at_ms INTEGER");
      sql.exec("ALTER TABLE exchanges ADD COLUMN settled_due_ms INTEGER");
      sql.exec("ALTER TABLE exchanges ADD COLUMN mark TEXT NOT NULL DEFAULT ''");
      sql.exec(
        `UPDATE exchanges SET settle_tries = COALESCE(record ->> '$.settling.tries', 0), settle_at_ms = record ->> '$.settling.dueAtMs',
           settled_due_ms = CASE WHEN record ->> '$.state.kind' = 'final'
             THEN MIN(COALESCE(record ->> '$.telling.dueAtMs', 1e15), 1000 * (record ->> '$.expiresAtS')) END,
           mark = (record ->> '$.nonce') || ' ' || (record ->> '$.state.kind')`,
      );
    });
  }

  #createTables(): void {
    if (this.#tablesExist()) return;
    const { sql } = this.#storage;
    sql.exec(
      // settled_due_ms: when it is due once it is settled. mark: of which claim it is, and in which state.
      "CREATE TABLE IF NOT EXISTS exchanges (key TEXT PRIMARY KEY, due_at_ms INTEGER, settle_tries INTEGER NOT NULL, settle_at_ms INTEGER, settled_due_ms INTEGER, mark TEXT NOT NULL, record TEXT NOT NULL, bytes BLOB) WITHOUT ROWID",
    );
    sql.exec(
      "CREATE INDEX IF NOT EXISTS exchanges_due ON exchanges (due_at_ms) WHERE due_at_ms IS NOT NULL",
    );
    sql.exec(
      "CREATE TABLE IF NOT EXISTS exchange_chunks (key TEXT NOT NULL, place INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (key, place)) WITHOUT ROWID",
    );
    if (this.#epoch > 0) this.#isFirstInEpoch();
    // A transaction that fails undoes them, and then it is asked anew.
    this.#hasTables = undefined;
  }
}
