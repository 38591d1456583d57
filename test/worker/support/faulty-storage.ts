/** An object's storage that can fail: a wrapper around the real one, which counts what is asked of it. */
import type { EngineStorage } from "../../../src/objects/key-engine.ts";

const FULL = "database or disk is full: SQLITE_FULL";

export class FaultyStorage implements EngineStorage {
  #real: EngineStorage | undefined;
  /** Whether every access fails. */
  broken = false;
  /** Whether only the alarm cannot be set. */
  alarmBroken = false;
  /** Tried, whether or not they failed. */
  transactions = 0;

  /** For `EngineOptions.storage`. */
  readonly around = (real: EngineStorage): EngineStorage => {
    this.#real = real;
    return this;
  };

  get sql(): SqlStorage {
    return this.#open().sql;
  }

  transactionSync<Value>(work: () => Value): Value {
    this.transactions += 1;
    return this.#open().transactionSync(work);
  }

  async getAlarm(): Promise<number | null> {
    return this.#open().getAlarm();
  }

  async setAlarm(at: number | Date): Promise<void> {
    if (this.alarmBroken) throw new Error(FULL);
    await this.#open().setAlarm(at);
  }

  async deleteAll(): Promise<void> {
    await this.#open().deleteAll();
  }

  #open(): EngineStorage {
    if (this.broken || this.#real === undefined) throw new Error(FULL);
    return this.#real;
  }
}
