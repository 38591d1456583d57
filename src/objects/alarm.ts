/**
 * The object's one alarm, shared by all that is due. It is never moved later by anyone but the alarm's own handler, unless
 * it should have gone off long ago: then it has been lost, though storage says that it is set, and is set anew.
 */
import { type Clock, systemClock } from "../kernel/clock.ts";
import { ALARM_OVERDUE_MS } from "../kernel/limits.ts";

export type AlarmStorage = Pick<DurableObjectStorage, "getAlarm" | "setAlarm">;

export class Alarm {
  readonly #storage: AlarmStorage;
  readonly #clock: Clock;
  /** When it is set for; null: not set; undefined: not read yet. */
  #atMs: number | null | undefined;

  constructor(storage: AlarmStorage, clock: Clock = systemClock) {
    this.#storage = storage;
    this.#clock = clock;
  }

  /** Reads when it is set for. After this, `noLaterThan` writes in the turn it is called in. */
  async load(): Promise<void> {
    if (this.#atMs === undefined) this.#atMs = await this.#storage.getAlarm();
  }

  /**
   * Call it in the turn of the write that it belongs to, after `load`: the two reach the disk together.
   * @param atMs milliseconds since the epoch
   */
  async noLaterThan(atMs: number): Promise<void> {
    const nowMs = this.#clock();
    const setMs = this.#atMs ?? Number.POSITIVE_INFINITY;
    // One that is believed for ever would leave the object without any: everything that is due would wait for it.
    if (setMs < nowMs - ALARM_OVERDUE_MS) return this.set(Math.min(atMs, nowMs));
    if (setMs > atMs) await this.set(atMs);
  }

  /** For the alarm's handler, which knows everything that is due. */
  async set(atMs: number): Promise<void> {
    this.#atMs = atMs;
    try {
      await this.#storage.setAlarm(atMs);
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  /** After a failure, or once it went off: what is set is not known. */
  forget(): void {
    this.#atMs = undefined;
  }
}
