/**
 * Stores the outcome of a call, its own or one that was found by asking, and answers with what stands: the first one.
 * Durable before it is told, by the runtime's output gate.
 */
import type { ExchangePolicy } from "../gateway/exchange.ts";
import type { ExchangeEvent } from "../gateway/exchange-decision.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { Gather } from "../kernel/gather.ts";
import { GATHER_CALLS, OUTCOME_GATHER_MS } from "../kernel/limits.ts";
import { passedBody, type Spooled, storedBody } from "./exchange-answer.ts";
import type { ExchangeReply } from "./exchange-call.ts";
import { type Changes, closed, lifeOf, nextState } from "./exchange-change.ts";
import type { HeardOutcome } from "./exchange-hearing.ts";
import type { Exchange, StepWork } from "./exchange-record.ts";
import type { Settling } from "./exchange-settling.ts";
import type { Standing } from "./exchange-standing.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Telling } from "./exchange-telling.ts";
import type { Exchanges } from "./exchanges.ts";
import type { StepOutcome } from "./external-steps.ts";

export type OutcomesSetup = Pick<
  ExchangeSurroundings,
  "clock" | "alarm" | "alert" | "keptHeaders" | "steps" | "pauseBefore"
> & {
  readonly exchanges: Exchanges;
  readonly changes: Changes;
  readonly standing: Standing;
  readonly settling: Settling;
  readonly telling: Telling;
};

type OutcomeEvent = Extract<ExchangeEvent, { kind: "judged" | "oversize" | "asked" }>;

export class Outcomes {
  readonly #setup: OutcomesSetup;
  readonly #outcomes = new Gather(OUTCOME_GATHER_MS, GATHER_CALLS);

  constructor(setup: OutcomesSetup) {
    this.#setup = setup;
  }

  /** Stores an outcome, if it is the first, and answers with what stands. Undefined if storage does not take it. */
  async store(
    exchange: Exchange,
    { route, keepHeaders }: ExchangePolicy,
    { response: { status, headers }, spooled }: HeardOutcome,
    event: OutcomeEvent,
  ): Promise<ExchangeReply | undefined> {
    const { keptHeaders, alert } = this.#setup;
    const answer = { status, headers: keptHeaders(headers, keepHeaders) };
    try {
      return await this.#store(exchange, answer, spooled, event);
    } catch (error) {
      alert("outcome-not-stored", { route, error: String(error) });
      return undefined;
    }
  }

  async #store(
    exchange: Exchange,
    answer: NonNullable<Exchange["answer"]>,
    spooled: Spooled,
    event: OutcomeEvent,
  ): Promise<ExchangeReply> {
    const { exchanges, standing, settling, telling, clock, alarm } = this.#setup;
    const { key, work } = exchange;
    await alarm.load();
    // Answers come one by one; each would wait for a disk of its own, and hold up everything else meanwhile.
    await this.#outcomes.end();
    const nowMs = clock();
    if (work !== null) return this.#storeWork(exchange, work, answer.status, spooled, event);
    const link = answer.headers.find(([name]) => name === "location")?.[1] ?? null;
    const stored = exchanges.update(exchange, (now) => {
      const state = nextState(now, event, nowMs);
      if (state === undefined) return undefined;
      const ended = closed({ ...now, ...lifeOf(now, nowMs), state, answer, link }, nowMs);
      return { exchange: ended, bytes: spooled.kind === "whole" ? spooled.first : null };
    });
    if (stored === undefined) {
      // Somebody has settled it meanwhile; what stands is what everybody gets.
      if (spooled.kind === "oversize") await spooled.rest.cancel();
      return standing.of(key);
    }
    await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
    if (CRASH_POINTS) await crashPoint("exchange-stored");
    settling.soon(key);
    telling.soon(stored);
    const { status, headers } = answer;
    const { expiresAtS } = stored;
    if (spooled.kind === "whole") {
      const body = spooled.chunks === 0 ? spooled.first : storedBody(exchanges, stored);
      return { kind: "answer", status, headers, body, expiresAtS, replayed: false };
    }
    const body = passedBody(exchanges, stored, spooled, (unstored) => {
      // It may take for ever: what was erased meanwhile stays so, and the chunks may be those of another claim.
      const noted = exchanges.update(stored, (now) =>
        now.left === "whole" ? { exchange: { ...now, unstored } } : undefined,
      );
      if (noted !== undefined) exchanges.removeChunks(key);
    });
    return { kind: "stream", status, headers, body, expiresAtS };
  }

  /**
   * The same for an operation's processor: its answer is what the step makes of it. Told once the database has settled
   * what was held, too, so that whoever hears it finds the money moved; or, if the database does not answer, all the
   * same, for it is durable, and settled by the alarm.
   */
  async #storeWork(
    exchange: Exchange,
    work: StepWork,
    status: number,
    spooled: Spooled,
    event: OutcomeEvent,
  ): Promise<ExchangeReply> {
    const { exchanges, changes, standing, settling, telling, clock, alarm, steps, alert } =
      this.#setup;
    const { key } = exchange;
    const nowMs = clock();
    const isShort = spooled.kind === "whole" && spooled.chunks === 0;
    if (spooled.kind === "oversize") await spooled.rest.cancel();
    if (!isShort) exchanges.removeChunks(key);
    let outcome: StepOutcome;
    try {
      outcome = steps.outcome(exchange, work, status, isShort ? spooled.first : null, nowMs);
    } catch (error) {
      // Something has happened there, and the step cannot say what: as doubtful as no answer.
      alert("step-defect", { operation: work.operation, error: String(error) });
      const { attempt } = exchange.state;
      const pauseMs = this.#setup.pauseBefore(exchange.state.sends, exchange.route);
      return changes.step(
        exchange,
        event.kind === "asked"
          ? { ...event, found: "unknown", pauseMs }
          : { kind: "judged", attempt, verdict: "maybe-executed", pauseMs },
      );
    }
    const { body, link, headers } = outcome;
    const final =
      event.kind === "asked"
        ? { ...event, stored: true }
        : ({ kind: "judged", attempt: event.attempt, verdict: "final", pauseMs: 0 } as const);
    const answer = { status: outcome.status, headers };
    const stored = exchanges.update(exchange, (now) => {
      const state = nextState(now, final, nowMs);
      if (state === undefined) return undefined;
      const ended = { ...now, ...lifeOf(now, nowMs), state, answer, link, work: outcome.work };
      return { exchange: closed(ended, nowMs), bytes: body };
    });
    if (stored === undefined) return standing.of(key);
    await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
    if (CRASH_POINTS) await crashPoint("exchange-stored");
    telling.soon(stored);
    await settling.tried(key);
    const { expiresAtS } = stored;
    return { kind: "answer", ...answer, body, expiresAtS, replayed: false };
  }
}
