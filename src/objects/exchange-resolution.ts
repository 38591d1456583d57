/** A person's word on an uncertain key: what every later retry gets, or that the key is free. The first word stands. */
import { findResolution } from "../journal/settlements.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Resolution, ResolutionReply } from "./exchange-call.ts";
import { closed, lifeOf, nextState } from "./exchange-change.ts";
import { findEntry } from "./exchange-entry.ts";
import type { ExchangeFlights, ExchangeNews } from "./exchange-flights.ts";
import type { Questions } from "./exchange-question.ts";
import type { Exchange } from "./exchange-record.ts";
import type { Settling } from "./exchange-settling.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import type { Telling } from "./exchange-telling.ts";
import type { Waiters } from "./exchange-waiters.ts";
import type { Exchanges } from "./exchanges.ts";

export type ResolutionsSetup = Pick<
  ExchangeSurroundings,
  "databaseFor" | "alarm" | "alert" | "clock" | "steps"
> & {
  readonly exchanges: Exchanges;
  readonly flights: ExchangeFlights;
  readonly questions: Questions;
  readonly settling: Settling;
  readonly telling: Telling;
  readonly waiters: Waiters<ExchangeNews>;
};

export class Resolutions {
  readonly #setup: ResolutionsSetup;

  constructor(setup: ResolutionsSetup) {
    this.#setup = setup;
  }

  /** A person's word on an uncertain key. The same word again changes nothing; another one is refused. */
  async resolve(tenant: string, key: string, resolution: Resolution): Promise<ResolutionReply> {
    const { exchanges, waiters, settling, telling, clock, alarm, databaseFor, alert } = this.#setup;
    await alarm.load();
    const { outcome, record } = resolution;
    if (!(await this.#endQuestion(key))) return { kind: "unavailable" };
    const found = exchanges.find(key);
    if (found?.state.kind === "uncertain") {
      const nowMs = clock();
      let executed: Pick<Exchange, "answer" | "link" | "work"> & { readonly bytes: Uint8Array };
      try {
        executed = this.#resolvedAs(found, outcome, nowMs);
      } catch (error) {
        // What a person says of an operation's processor must be something that the operation can go by.
        alert("resolution-unusable", { route: found.route, error: String(error) });
        return { kind: "refused" };
      }
      const stored = exchanges.update(found, (now) => {
        const isExecuted = outcome.kind === "executed";
        const state = nextState(now, { kind: "resolved", executed: isExecuted }, nowMs);
        if (state === undefined) return undefined;
        const resolved = {
          ...closed({ ...now, ...lifeOf(now, nowMs), state }, nowMs),
          resolution: record,
        };
        const { bytes, ...told } = executed;
        return isExecuted ? { exchange: { ...resolved, ...told }, bytes } : { exchange: resolved };
      });
      if (stored !== undefined) {
        await alarm.noLaterThan(stored.settling?.dueAtMs ?? nowMs);
        waiters.wake(key, "look-again");
        telling.soon(stored);
        await settling.now(key);
        return { kind: "resolved" };
      }
    }
    const now = exchanges.find(key);
    if (now?.resolution?.digest === record.digest) return { kind: "resolved" };
    try {
      const db = await databaseFor(tenant);
      const before = await withTimeout(findResolution(db, tenant, key), SEND_TIMEOUT_MS);
      if (before?.digest === record.digest && now?.state.kind !== "uncertain") {
        return { kind: "resolved" };
      }
      if (now !== undefined || before !== undefined) return { kind: "refused" };
      const entry = await findEntry(databaseFor, tenant, key);
      if (entry === "unavailable") return { kind: "unavailable" };
      return { kind: entry === undefined ? "unknown-key" : "refused" };
    } catch {
      return { kind: "unavailable" };
    }
  }

  /** A person's word is not kept waiting for an upstream's; nor may the two be written at a time. */
  async #endQuestion(key: string): Promise<boolean> {
    const { exchanges, flights, questions } = this.#setup;
    const flight = flights.find(key);
    if (flight === undefined || exchanges.find(key)?.state.kind !== "uncertain") return true;
    questions.end(key, "A person has said what happened.");
    return withTimeout(flight.reply, SEND_TIMEOUT_MS).then(
      () => true,
      () => false,
    );
  }

  /** What later retries get: a person's word as it is, or what an operation makes of it as its processor's. */
  #resolvedAs(
    exchange: Exchange,
    outcome: Resolution["outcome"],
    nowMs: number,
  ): Pick<Exchange, "answer" | "link" | "work"> & { readonly bytes: Uint8Array } {
    const { work, answer, link } = exchange;
    if (outcome.kind === "not-executed") return { answer, link, work, bytes: new Uint8Array(0) };
    const { status, headers, body } = outcome;
    if (work === null)
      return { answer: { status, headers }, link: outcome.link, work, bytes: body };
    const step = this.#setup.steps.outcome(exchange, work, status, body, nowMs);
    return {
      answer: { status: step.status, headers: step.headers },
      link: step.link,
      work: step.work,
      bytes: step.body,
    };
  }
}
