/**
 * Requests that were accepted and answered with 202 before they ran: kept, with the alarm that runs them anyway, until
 * they have an outcome. This is the one thing that is durable here before anything is in D1, and it is still not the
 * fence: whoever runs an intent claims its key like everybody else.
 */
import { INTENT_GRACE_MS, INTENT_PAUSE_MS, INTENT_PAUSE_MS_MAX } from "../kernel/limits.ts";
import type { Alarm } from "./alarm.ts";
import { type KeyCall, keyCallSchema } from "./key-call.ts";

export type IntentStorage = Pick<DurableObjectStorage, "sql" | "transactionSync">;

export type Intent = {
  readonly call: KeyCall;
  readonly acceptedAtMs: number;
  readonly attempts: number;
};

export class Intents {
  readonly #storage: IntentStorage;
  readonly #alarm: Alarm;
  /** Every intent of the object; undefined until read. They are few, and short-lived. */
  #known: Map<string, Intent> | undefined;

  constructor(storage: IntentStorage, alarm: Alarm) {
    this.#storage = storage;
    this.#alarm = alarm;
  }

  /** Storage that cannot be read tells of none: whoever runs claims, so that there is still one effect. */
  find(key: string): Intent | undefined {
    try {
      return this.#all().get(key);
    } catch {
      return undefined;
    }
  }

  get size(): number {
    return this.#all().size;
  }

  /** Durable, with its alarm, when the promise resolves. Throws if storage does not take it. */
  async add(call: KeyCall, nowMs: number): Promise<void> {
    if (this.#all().has(call.key)) {
      // Its alarm may have failed when it was written.
      await this.#alarm.noLaterThan(this.nextDueAtMs() ?? nowMs);
      return;
    }
    const intent = { call, acceptedAtMs: nowMs, attempts: 0 };
    this.#write(intent, nowMs + INTENT_GRACE_MS);
    this.#all().set(call.key, intent);
    await this.#alarm.noLaterThan(nowMs + INTENT_GRACE_MS);
  }

  /** It has an outcome: its input is erased. */
  remove(key: string): void {
    if (!this.#all().has(key)) return;
    // Known for as long as it is stored: what storage does not let go, the alarm finds done.
    this.#storage.sql.exec("DELETE FROM intents WHERE key = ?", key);
    this.#all().delete(key);
  }

  /** It has none yet: once more, later; and not before it is advised, within the longest pause. */
  async postpone(key: string, nowMs: number, advisedMs = 0): Promise<void> {
    await this.#alarm.load();
    const intent = this.#all().get(key);
    if (intent === undefined) return;
    const attempts = intent.attempts + 1;
    const doubledMs = INTENT_PAUSE_MS * 2 ** intent.attempts;
    const pauseMs = Math.min(Math.max(doubledMs, advisedMs), INTENT_PAUSE_MS_MAX);
    const later = { ...intent, attempts };
    this.#write(later, nowMs + pauseMs);
    this.#all().set(key, later);
    await this.#alarm.noLaterThan(nowMs + pauseMs);
  }

  due(nowMs: number, limit: number): Intent[] {
    if (this.size === 0) return [];
    return this.#storage.sql
      .exec<{ key: string }>("SELECT key FROM intents WHERE due_at_ms <= ? LIMIT ?", nowMs, limit)
      .toArray()
      .flatMap(({ key }) => this.#all().get(key) ?? []);
  }

  nextDueAtMs(): number | undefined {
    if (this.size === 0) return undefined;
    const { due } = this.#storage.sql
      .exec<{ due: number | null }>("SELECT MIN(due_at_ms) AS due FROM intents")
      .one();
    return due ?? undefined;
  }

  #write({ call, acceptedAtMs, attempts }: Intent, dueAtMs: number): void {
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec(
        "CREATE TABLE IF NOT EXISTS intents (key TEXT PRIMARY KEY, due_at_ms INTEGER NOT NULL, accepted_at_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, call TEXT NOT NULL) WITHOUT ROWID",
      );
      this.#storage.sql.exec(
        "INSERT INTO intents (key, due_at_ms, accepted_at_ms, attempts, call) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET due_at_ms = excluded.due_at_ms, attempts = excluded.attempts",
        call.key,
        dueAtMs,
        acceptedAtMs,
        attempts,
        JSON.stringify(call),
      );
    });
  }

  #all(): Map<string, Intent> {
    this.#known ??= new Map(this.#read().map((intent) => [intent.call.key, intent]));
    return this.#known;
  }

  #read(): Intent[] {
    const exists = this.#storage.sql
      .exec("SELECT 1 FROM sqlite_master WHERE name = 'intents'")
      .toArray();
    if (exists.length === 0) return [];
    return this.#storage.sql
      .exec<{ accepted_at_ms: number; attempts: number; call: string }>(
        "SELECT accepted_at_ms, attempts, call FROM intents",
      )
      .toArray()
      .map((row) => ({
        call: keyCallSchema.parse(JSON.parse(row.call)),
        acceptedAtMs: row.accepted_at_ms,
        attempts: row.attempts,
      }));
  }
}
