/** The object's one alarm, shared by all that is due. It is never moved later by anyone but the alarm's own handler. */

export type AlarmStorage = Pick<DurableObjectStorage, "getAlarm" | "setAlarm">;

export class Alarm {
  readonly #storage: AlarmStorage;
  /** When it is set for; null: not set; undefined: not read yet. */
  #atMs: number | null | undefined;

  constructor(storage: AlarmStorage) {
    this.#storage = storage;
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
    if (this.#atMs !== undefined && this.#atMs !== null && this.#atMs <= atMs) return;
    await this.set(atMs);
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
