/**
 * Tells whoever asked for it that a key is final. A try is recorded, with the alarm for the next one, before it is sent: so
 * one that kills us counts, and two do not go out at a time. It never touches the outcome, and nobody waits for it.
 */
import type { Clock } from "../kernel/clock.ts";
import { WEBHOOK_ATTEMPTS_MAX, WEBHOOK_PAUSE_MS, WEBHOOK_PAUSE_MS_MAX } from "../kernel/limits.ts";
import type { Alarm } from "./alarm.ts";
import type { Exchange } from "./exchange-record.ts";
import { postponed } from "./exchange-settling.ts";
import { webhookRequest } from "./exchange-webhook.ts";
import type { Exchanges } from "./exchanges.ts";

export type TellingSetup = {
  readonly exchanges: Exchanges;
  readonly alarm: Alarm;
  readonly post: (request: Request) => Promise<Response>;
  readonly secretNamed: (name: string) => string | undefined;
  readonly clock: Clock;
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
};

export class Telling {
  readonly #setup: TellingSetup;

  constructor(setup: TellingSetup) {
    this.#setup = setup;
  }

  /** Behind the answer. */
  soon(exchange: Exchange): void {
    if (exchange.telling !== null) this.#setup.keepAlive(this.now(exchange));
  }

  /** One try. Never rejects. */
  async now(exchange: Exchange): Promise<void> {
    const { exchanges, clock, alert, alarm } = this.#setup;
    const { telling, route } = exchange;
    if (exchange.hook === null || telling === null) return;
    try {
      await alarm.load();
      const later = postponed(telling, clock(), WEBHOOK_PAUSE_MS, WEBHOOK_PAUSE_MS_MAX);
      const recorded = exchanges.update(exchange, (now) =>
        now.telling?.tries === telling.tries ? { exchange: { ...now, telling: later } } : undefined,
      );
      // Another try is under way.
      if (recorded === undefined) return;
      await alarm.noLaterThan(later.dueAtMs);
      const isTold = await this.#post(exchange, exchange.hook.secretName);
      if (!isTold && later.tries < WEBHOOK_ATTEMPTS_MAX) return;
      if (!isTold) alert("webhook-abandoned", { route, tries: later.tries });
      exchanges.update(recorded, (now) => ({ exchange: { ...now, telling: null } }));
    } catch (error) {
      alert("webhook-failed", { route, error: String(error) });
    }
  }

  async #post(exchange: Exchange, secretName: string): Promise<boolean> {
    const { clock, post, secretNamed, alert } = this.#setup;
    const { route } = exchange;
    try {
      const secret = secretNamed(secretName);
      if (secret === undefined) throw new Error(`The secret ${secretName} is not set.`);
      const response = await post(webhookRequest(exchange, secret, clock()));
      await response.body?.cancel();
      if (!response.ok) alert("webhook-refused", { route, status: response.status });
      return response.ok;
    } catch (error) {
      alert("webhook-failed", { route, error: String(error) });
      return false;
    }
  }
}
