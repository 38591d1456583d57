/** The slots of an object's keys: of each key one claim, call or heal at a time. In memory only; it spares work, no more. */
import type { ExchangeCall, ExchangeReply } from "./exchange-call.ts";
import { isInFlight, unknown } from "./exchange-reply.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Waiters } from "./exchange-waiters.ts";

/** Told to who waits once an exchange is closed: a problem if that is all there is to tell. */
export type ExchangeNews = ExchangeReply | "look-again";

/** The slot of a key: a client's claim or call, or a heal. One at a time. */
export type Flight = {
  readonly fingerprint: string;
  readonly fingerprintVersion: number;
  readonly members: ExchangeCall["members"];
  readonly startedAtMs: number;
  /** Resolved with true once the intent is written, with false if it never will be. */
  readonly recorded: Promise<boolean>;
  readonly reply: Promise<ExchangeReply>;
};

export type ExchangeFlightsSetup = Pick<ExchangeSurroundings, "clock" | "keepAlive" | "alert"> & {
  readonly waiters: Waiters<ExchangeNews>;
};

export class ExchangeFlights {
  readonly #setup: ExchangeFlightsSetup;
  readonly #flying = new Map<string, Flight>();

  constructor(setup: ExchangeFlightsSetup) {
    this.#setup = setup;
  }

  get size(): number {
    return this.#flying.size;
  }

  find(key: string): Flight | undefined {
    return this.#flying.get(key);
  }

  /** Takes the key's slot for as long as the work lasts; then tells who waits. The work must not reject. */
  begin(
    key: string,
    asking: Pick<Flight, "fingerprint" | "fingerprintVersion" | "members">,
    work: (recorded: (isRecorded: boolean) => void) => Promise<ExchangeReply>,
  ): Flight {
    const { clock, keepAlive, alert, waiters } = this.#setup;
    const recorded = Promise.withResolvers<boolean>();
    const reply = work(recorded.resolve)
      .catch((error: unknown): ExchangeReply => {
        alert("exchange-defect", { error: String(error) });
        return unknown();
      })
      .then((end) => {
        this.#flying.delete(key);
        recorded.resolve(false);
        if (!isInFlight(end)) {
          waiters.wake(key, end.kind === "problem" ? end : "look-again");
        }
        return end;
      });
    const { fingerprint, fingerprintVersion, members } = asking;
    const startedAtMs = clock();
    const flight = {
      fingerprint,
      fingerprintVersion,
      members,
      startedAtMs,
      recorded: recorded.promise,
      reply,
    };
    this.#flying.set(key, flight);
    keepAlive(reply);
    return flight;
  }
}
