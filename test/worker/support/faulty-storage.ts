/** An object's storage that can fail: a wrapper around the real one, which counts what is asked of it. */
import type { EngineStorage } from "../../../src/objects/key-engine.ts";
import { until } from "../../support/faulty-database.ts";

const FULL = "database or disk is full: SQLITE_FULL";

export class FaultyStorage implements EngineStorage {
  #real: EngineStorage | undefined;
  /** Whether every access fails. */
  broken = false;
  /** Whether only the alarm cannot be set. */
  alarmBroken = false;
  /** Whether what is written in the turn of an intent cannot be flushed: known only after the write has returned. */
  flushBroken = false;
  /** When the alarm seems to be set for, though it will not go off: until it is set anew. */
  lostAlarmAtMs: number | undefined;
  /** A table that takes nothing, where everything else is taken. */
  unwritable: "copies" | "intents" | undefined;
  /** Whether nobody who asks for the alarm is answered. */
  alarmStalled = false;
  /** How many have asked for it meanwhile. */
  stalls = 0;
  /** Tried, whether or not they failed. */
  transactions = 0;
  /** Every statement, oldest first, with its cursor. */
  readonly #statements: {
    readonly text: string;
    readonly cursor: Pick<SqlStorageCursor<never>, "rowsRead" | "rowsWritten">;
  }[] = [];

  /** For `EngineOptions.storage`. */
  readonly around = (real: EngineStorage): EngineStorage => {
    this.#real = real;
    return this;
  };

  get sql(): SqlStorage {
    const { sql } = this.#open();
    const exec = <Row extends Record<string, SqlStorageValue>>(
      text: string,
      ...values: unknown[]
    ): SqlStorageCursor<Row> => {
      if (this.unwritable && text.startsWith(`INSERT INTO ${this.unwritable} `))
        throw new Error(FULL);
      const cursor = sql.exec<Row>(text, ...values);
      this.#statements.push({ text, cursor });
      if (this.flushBroken && text.startsWith("INSERT INTO exchanges")) failAtCommit(sql);
      return cursor;
    };
    return Object.assign(Object.create(sql) as SqlStorage, { exec });
  }

  /** Rows that statements which name the table have read and written so far, as the runtime counts them. */
  rowsOf(table: string): { readonly read: number; readonly written: number } {
    const cursors = this.#statements
      .filter(({ text }) => text.includes(` ${table} `))
      .map(({ cursor }) => cursor);
    return {
      read: cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0),
      written: cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0),
    };
  }

  transactionSync<Value>(work: () => Value): Value {
    this.transactions += 1;
    return this.#open().transactionSync(work);
  }

  async getAlarm(): Promise<number | null> {
    if (this.alarmStalled) this.stalls += 1;
    await until(() => !this.alarmStalled);
    return this.lostAlarmAtMs ?? this.#open().getAlarm();
  }

  async setAlarm(at: number | Date): Promise<void> {
    if (this.alarmBroken) throw new Error(FULL);
    await this.#open().setAlarm(at);
    this.lostAlarmAtMs = undefined;
  }

  async deleteAll(): Promise<void> {
    await this.#open().deleteAll();
  }

  #open(): EngineStorage {
    if (this.broken || this.#real === undefined) throw new Error(FULL);
    return this.#real;
  }
}

/** SQLite judges it when the turn's transaction commits, which the runtime does behind our back: that is the flush. */
const failAtCommit = (sql: SqlStorage): void => {
  sql.exec("CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY)");
  sql.exec(
    "CREATE TABLE IF NOT EXISTS children (parent INTEGER NOT NULL REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
  );
  sql.exec("INSERT INTO children (parent) VALUES (1)");
};
