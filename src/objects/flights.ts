/**
 * The runs that this object leads right now, one for each key, and who waits for them. In memory only: it spares work,
 * and the claim is what makes a second run harmless.
 */
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import { WAITERS_PER_KEY_MAX, WAITERS_PER_OBJECT_MAX } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { KeyReply } from "./key-call.ts";

export type Flight = {
  readonly operation: string;
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  readonly members: MemberHashes;
  readonly startedAtMs: number;
  readonly reply: Promise<KeyReply>;
};

export class Flights {
  readonly #flights = new Map<string, Flight & { waiters: number }>();
  #waiters = 0;

  get size(): number {
    return this.#flights.size;
  }

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  get(key: string): Flight | undefined {
    return this.#flights.get(key);
  }

  begin(key: string, flight: Flight): void {
    this.#flights.set(key, { ...flight, waiters: 0 });
  }

  end(key: string): void {
    this.#flights.delete(key);
  }

  /** What the run in flight is answered; undefined if that takes longer, or too many wait already. */
  async replyOf(key: string, waitMs: number): Promise<KeyReply | undefined> {
    const flight = this.#flights.get(key);
    if (
      flight === undefined ||
      flight.waiters >= WAITERS_PER_KEY_MAX ||
      this.#waiters >= WAITERS_PER_OBJECT_MAX
    ) {
      return undefined;
    }
    flight.waiters += 1;
    this.#waiters += 1;
    try {
      return await withTimeout(flight.reply, waitMs);
    } catch {
      return undefined;
    } finally {
      flight.waiters -= 1;
      this.#waiters -= 1;
    }
  }
}
