/**
 * Brings what has become of exchanges into the journal: many keys in one batch, one batch at a time, awaited by nobody.
 * What D1 does not take is due again from the alarm, for as long as it takes. Each settlement is a compare-and-set that
 * may arrive late or twice; until one has, the row is in flight and nobody else may call.
 *
 * An outcome of an external effect is valid whatever `RESTORE_EPOCH` says: a restored database has forgotten the row,
 * but the upstream has not forgotten the effect. What the object has is then all that keeps the call from being made
 * again, so it writes the row again: another object that is asked for the key must find it. Not that of an operation,
 * whose effects in the database are gone with the row: somebody has to look, and is told.
 */
import type { Clock } from "../kernel/clock.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import {
  EXCHANGE_PAUSE_MS_MAX,
  GROUP_OPERATIONS_MAX,
  SEND_TIMEOUT_MS,
  SETTLE_GATHER_MS,
  SETTLE_PAUSE_MS,
} from "../kernel/limits.ts";
import { Moment } from "../kernel/moment.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { classifyFailure, type Database } from "../journal/database.ts";
import { type Settlement, settleRecords } from "../journal/settlements.ts";
import { lostClaimOf } from "./exchange-claim.ts";
import type { Chore, Exchange } from "./exchange-record.ts";
import type { ExternalSteps } from "./external-steps.ts";
import type { Exchanges } from "./exchanges.ts";

export type SettlingSetup = {
  readonly exchanges: Exchanges;
  readonly steps: Pick<ExternalSteps, "effectsOf">;
  readonly clock: Clock;
  readonly databaseFor: (tenant: string) => Promise<Database>;
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
};

/** Written with a state that the journal does not know yet. */
export const toSettle = (nowMs: number): Chore => ({ tries: 0, dueAtMs: nowMs + SETTLE_PAUSE_MS });

/** One more failure: later each time. */
export const postponed = (
  { tries }: Chore,
  nowMs: number,
  firstMs: number,
  maxMs: number,
): Chore => ({ tries: tries + 1, dueAtMs: nowMs + Math.min(firstMs * 2 ** tries, maxMs) });

/** What the journal does not say yet. */
type Open = { readonly exchange: Exchange; readonly settlement: Settlement };

export class Settling {
  readonly #setup: SettlingSetup;
  /** Told when a batch with the key's settlement is back, whatever became of it. */
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>();
  #isRunning = false;
  readonly #moment = new Moment();
  /** Whether somebody waits for a key that is in no batch yet, or may. */
  #isAwaited = false;

  constructor(setup: SettlingSetup) {
    this.#setup = setup;
  }

  /** With the next batch, which under load waits a while for more: a batch costs nearly the same for one as for many. */
  soon(key: string): void {
    void this.#queued(key);
    if (this.#waiting.size >= GROUP_OPERATIONS_MAX) this.#moment.end();
  }

  /** As soon as the batch that is under way is back; resolves when it was tried once, whatever became of it. Never rejects. */
  tried(key: string): Promise<void> {
    const tried = this.#queued(key);
    this.#isAwaited = true;
    this.#moment.end();
    return tried;
  }

  #queued(key: string): Promise<void> {
    const waiting = this.#waiting.get(key) ?? Promise.withResolvers<void>();
    this.#waiting.set(key, waiting);
    if (!this.#isRunning) this.#setup.keepAlive(this.#run());
    return waiting.promise;
  }

  /** Settles one key in a batch of its own. Never rejects: whether the journal has it is for the caller to look at. */
  async now(key: string): Promise<void> {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    await this.#try([key]);
    waiting?.resolve();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      // One turn later, so that keys which become final together go together.
      await Promise.resolve();
      for (let batches = 0; this.#waiting.size > 0; batches++) {
        const isFull = this.#waiting.size >= GROUP_OPERATIONS_MAX;
        if (batches > 0 && !isFull && !this.#isAwaited) await this.#moment.last(SETTLE_GATHER_MS);
        const group = [...this.#waiting].slice(0, GROUP_OPERATIONS_MAX);
        // Whoever waits for a key beyond these waits for one more batch.
        this.#isAwaited = group.length < this.#waiting.size;
        for (const [key] of group) this.#waiting.delete(key);
        await this.#try(group.map(([key]) => key));
        for (const [, waiting] of group) waiting.resolve();
      }
    } finally {
      // In the turn in which nobody was left: who comes in the next one begins anew.
      this.#isRunning = false;
    }
  }

  /** What fails is tried again when it is due. */
  async #try(keys: readonly string[]): Promise<void> {
    try {
      await this.#settle(keys);
    } catch (error) {
      this.#setup.alert("exchanges-not-settled", { keys: keys.length, error: String(error) });
      // The database has judged one of them: alone, it keeps none of the others waiting.
      const isJudged = keys.length > 1 && classifyFailure(error).kind === "aborted";
      if (isJudged) for (const key of keys) await this.#try([key]);
    }
  }

  async #settle(keys: readonly string[]): Promise<void> {
    const { exchanges, databaseFor } = this.#setup;
    const open = exchanges.findAll(keys).flatMap((exchange): Open[] => {
      const settlement = this.#settlementOf(exchange);
      return settlement === undefined ? [] : [{ exchange, settlement }];
    });
    const [first] = open;
    if (first === undefined) return;
    const db = await databaseFor(first.settlement.tenant);
    const settled = async (sent: readonly Open[]): Promise<ReadonlyMap<string, string>> => {
      const settlements = sent.map(({ settlement }) => settlement);
      return withTimeout(settleRecords(db, settlements, this.#setup.clock()), SEND_TIMEOUT_MS);
    };
    const nonces = await settled(open);
    if (CRASH_POINTS) await crashPoint("exchange-final");
    const lost = open.flatMap((one) => this.#writingAgain(one, nonces.get(one.exchange.key)));
    const keysLost = new Set(lost.map(({ exchange }) => exchange.key));
    this.#took(
      open.filter(({ exchange }) => !keysLost.has(exchange.key)),
      nonces,
    );
    if (lost.length > 0) this.#took(lost, await settled(lost));
  }

  /** With the row that is to be written first; none if it is there, or is not ours to write. */
  #writingAgain({ exchange, settlement }: Open, nonce: string | undefined): Open[] {
    if (nonce !== undefined || exchange.state.kind === "free") return [];
    const claim = lostClaimOf(exchange, this.#setup.clock());
    if (claim === undefined) return [];
    this.#setup.alert("row-written-again", { route: exchange.route, state: exchange.state.kind });
    return [{ exchange, settlement: { ...settlement, lost: claim } }];
  }

  #took(sent: readonly Open[], nonces: ReadonlyMap<string, string>): void {
    const done = sent.filter(({ exchange }) => this.#isDone(exchange, nonces.get(exchange.key)));
    if (done.length > 0) this.#setup.exchanges.settled(done.map(({ exchange }) => exchange));
  }

  /** @param nonce of the claim whose row the journal has; undefined: it has none */
  #isDone(sent: Exchange, nonce: string | undefined): boolean {
    const { exchanges, alert } = this.#setup;
    const isOwn = nonce === sent.nonce;
    // The database was restored to before this claim, and the row of an operation, or the key, is not this one's to write.
    if (sent.state.kind !== "free" && !isOwn) {
      alert("settlement-without-row", { route: sent.route, state: sent.state.kind });
    }
    // Nothing follows on being free, and `remove` asks whether it is still of this claim.
    if (sent.state.kind === "free" && !isOwn) exchanges.remove(sent);
    return sent.state.kind !== "free";
  }

  /** With what an operation does in the database; undefined if that cannot be told, or there is nothing to tell. */
  #settlementOf(exchange: Exchange): Settlement | undefined {
    const { exchanges, steps, clock, alert } = this.#setup;
    const settlement = settlementOf(exchange, clock());
    const { work, key } = exchange;
    if (settlement === undefined || work === null) return settlement;
    try {
      const effects = steps.effectsOf(exchange, work, clock());
      if (settlement.to.state !== "final") return { ...settlement, effects };
      // The row has the whole answer: any object can replay it.
      const told = {
        headers: Object.fromEntries(exchange.answer?.headers ?? []),
        body: new TextDecoder().decode(exchanges.bytes(key)),
        refusal: work.ended?.refusal ?? null,
      };
      return { ...settlement, to: { ...settlement.to, ...told }, effects };
    } catch (error) {
      // It stays as it is, held and told, until a version that knows the operation settles it.
      alert("step-not-settled", { operation: work.operation, error: String(error) });
      return undefined;
    }
  }
}

/** What the journal is to say; undefined if it says so, or if there is nothing to say yet. */
const settlementOf = (exchange: Exchange, nowMs: number): Settlement | undefined => {
  const { tenant, key, nonce, state, resolution, settling } = exchange;
  if (settling === null) return undefined;
  const claim = { tenant, key, nonce, attempt: state.attempt, resolution };
  switch (state.kind) {
    case "calling":
    case "paused":
      return undefined;
    case "uncertain":
      return { ...claim, to: { state: "uncertain" } };
    case "free":
      // A person's word is kept, also where the row that it is about is gone.
      return {
        ...claim,
        to: { state: "free" },
        lost: resolution === null ? undefined : lostClaimOf(exchange, nowMs),
      };
    case "final":
      return {
        ...claim,
        to: {
          state: "final",
          status: exchange.answer?.status ?? 0,
          refusal: state.stored ? null : "response-not-stored",
          headers: {},
          body: "",
          link: exchange.link,
          expiresAtS: exchange.expiresAtS,
          forgetAtS: exchange.forgetAtS,
        },
      };
  }
};

/** How long until it is sent again. */
export const postponedSettling = (settling: Chore, nowMs: number): Chore =>
  postponed(settling, nowMs, SETTLE_PAUSE_MS, EXCHANGE_PAUSE_MS_MAX);
