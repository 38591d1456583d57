/**
 * What becomes of accepted requests: the alarm runs them with their original key until they have an outcome, and the
 * object itself reports what takes too long.
 */
import { PROBLEMS } from "../contract/problems.ts";
import { BY_SERVICE } from "../journal/audit-log.ts";
import type { Database } from "../journal/database.ts";
import { changeIssue, issueId, raiseIssues } from "../journal/issues.ts";
import type { Clock } from "../kernel/clock.ts";
import { keyHash } from "../kernel/hash.ts";
import {
  IN_FLIGHT_TOO_LONG_MS,
  INTENTS_PER_ALARM_MAX,
  KEY_LIFETIME_SECONDS,
  REDRIVE_WAIT_MS,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { Intent, Intents } from "./intents.ts";
import type { KeyCall, KeyReply, Redrive, RedriveBy } from "./key-call.ts";

export type AcceptedWorkSetup = {
  readonly intents: Intents;
  readonly operations: ReadonlyMap<string, Operation>;
  readonly databaseFor: (tenant: string) => Promise<Database>;
  readonly clock: Clock;
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
  readonly isRunning: (key: string) => boolean;
  /** Answers the request as if it had just come. */
  readonly run: (call: KeyCall) => Promise<KeyReply>;
};

export class AcceptedWork {
  readonly #setup: AcceptedWorkSetup;

  constructor(setup: AcceptedWorkSetup) {
    this.#setup = setup;
  }

  /** After a run: an intent is done when its key is, and is tried again when it may still be carried out. */
  async ended(key: string, reply: KeyReply): Promise<void> {
    const intent = this.#setup.intents.find(key);
    if (intent === undefined) return;
    const nowMs = this.#setup.clock();
    const mayStillRun = reply.kind === "problem" && PROBLEMS[reply.code].shouldRetry;
    const operation = this.#setup.operations.get(intent.call.request.operation);
    // An operation that is gone may come back: a deployment is rolled back, or has not reached this object.
    const lifetimeMs = (operation?.keyLifetimeSeconds ?? KEY_LIFETIME_SECONDS) * 1000;
    if (mayStillRun && nowMs < intent.acceptedAtMs + lifetimeMs) {
      if (nowMs >= intent.acceptedAtMs + IN_FLIGHT_TOO_LONG_MS) this.#reportIntent(intent, nowMs);
      const isLearned = reply.successProbability !== undefined;
      await this.#setup.intents.postpone(key, nowMs, isLearned ? reply.afterMs : 0);
      return;
    }
    if (mayStillRun) {
      this.#setup.alert("intent-abandoned", { operation: intent.call.request.operation });
    } else if (nowMs >= intent.acceptedAtMs + IN_FLIGHT_TOO_LONG_MS) {
      this.#closeReport(intent, nowMs);
    }
    this.#setup.intents.remove(key);
  }

  /**
   * Until it runs, an accepted request is in no table that the reconciliation sees: the object itself raises the issue. Best
   * effort, and awaited by nobody: while the database is away there is an alert for that.
   */
  #reportIntent({ call, acceptedAtMs, attempts }: Intent, nowMs: number): void {
    const { tenant, key, object, request } = call;
    const minutes = Math.floor((nowMs - acceptedAtMs) / 60_000);
    const issue = {
      ...issueOfIntent(tenant, key),
      what: `An accepted request has no outcome yet: ${request.operation}, for ${minutes} minutes, after ${attempts + 1} tries.`,
      work: { key, object },
    };
    this.#besides("issue-not-raised", tenant, (db) => raiseIssues(db, [issue], nowMs));
  }

  #closeReport({ call: { tenant, key } }: Intent, nowMs: number): void {
    const change = { state: "resolved", reason: "It has an outcome." } as const;
    this.#besides("issue-not-resolved", tenant, (db) =>
      changeIssue(db, issueId(issueOfIntent(tenant, key)), change, BY_SERVICE, nowMs),
    );
  }

  #besides(event: string, tenant: string, work: (db: Database) => Promise<unknown>): void {
    const { databaseFor, keepAlive, alert } = this.#setup;
    const done = databaseFor(tenant).then((db) => withTimeout(work(db), SEND_TIMEOUT_MS));
    keepAlive(done.catch((error: unknown) => alert(event, { error: String(error) })));
  }

  /** Runs accepted requests that are due and that nobody is running, with their original key. */
  async heal(nowMs: number): Promise<void> {
    const due = this.#setup.intents
      .due(nowMs, INTENTS_PER_ALARM_MAX)
      .filter(({ call }) => !this.#setup.isRunning(call.key));
    await Promise.all(due.map((intent) => this.#resume(intent)));
  }

  /** A claim that is there already is found by the run, like by any retry. */
  async #resume(intent: Intent): Promise<void> {
    const { call } = intent;
    const reply = await this.#setup.run({ ...call, detached: false });
    // What no run has settled, since there was none: an operation that is gone, or takes this input no more.
    if (this.#setup.intents.find(call.key) === intent) await this.ended(call.key, reply);
  }

  /** Runs an accepted request now that has no outcome yet, whenever it is due. Undefined if there is none. */
  async redrive(key: string, by: RedriveBy): Promise<Redrive["kind"] | undefined> {
    const intent = this.#setup.intents.find(key);
    if (intent === undefined) return undefined;
    if (this.#setup.isRunning(key)) return "running";
    if (by === "reconciliation") return "running";
    const done = this.#resume(intent);
    this.#setup.keepAlive(done.catch(() => undefined));
    await withTimeout(done, REDRIVE_WAIT_MS).catch(() => undefined);
    return "taken-up";
  }
}

/** What tells the issue of an accepted request from others. */
const issueOfIntent = (tenant: string, key: string) => ({
  kind: "accepted-too-long",
  tenant,
  subject: keyHash(tenant, key),
});
