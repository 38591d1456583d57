/** What an exchange engine is given: the database, the object's storage and alarm, the ways out, clock and chance. */
import type { HeaderPairs } from "../gateway/exchange.ts";
import type { OriginHealth } from "../gateway/origin-health.ts";
import type { Database } from "../journal/database.ts";
import type { Fate, Submission } from "../journal/submission.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Randomness } from "../kernel/ids.ts";
import type { Alarm } from "./alarm.ts";
import type { ExchangeCall, ExchangeReply } from "./exchange-call.ts";
import type { SendUpstream } from "./exchange-upstream.ts";
import type { ExchangeStorage } from "./exchanges.ts";
import type { ExternalSteps } from "./external-steps.ts";
import type { UpstreamAdvice } from "./upstream-advice.ts";

export type ExchangeSurroundings = {
  /** Where the tenant's rows are. Throws if that cannot be found out. */
  readonly databaseFor: (tenant: string) => Promise<Database>;
  /** From which size on, in bytes, a database takes no new keys. */
  readonly databaseBytesMax: number;
  /** How often the database was restored; see `RESTORE_EPOCH`. */
  readonly epoch: number;
  readonly storage: ExchangeStorage;
  /** The object's one alarm. Whoever sets it for good asks `nextDueAtMs`. */
  readonly alarm: Alarm;
  /** Claims go in the groups of all other operations. */
  readonly commit: (db: Database, submission: Submission) => Promise<Fate>;
  readonly send: SendUpstream;
  /** Sends what is no upstream's: webhooks. */
  readonly post: (request: Request) => Promise<Response>;
  /** Asks the object that a row names, where it is not this one. */
  readonly forward: (object: string, call: ExchangeCall) => Promise<ExchangeReply>;
  readonly health: OriginHealth;
  /** Told of every call; says when it should be sent again, where that was learned. */
  readonly upstreams: Pick<UpstreamAdvice, "ended" | "asked">;
  /** How long before the next try, milliseconds; `attempt` is the number of the one that has failed, from 1. */
  readonly pauseBefore: (attempt: number, route: string) => number;
  /** The operations that have an external step. */
  readonly steps: ExternalSteps;
  readonly keptHeaders: (headers: Headers, keepHeaders: readonly string[] | null) => HeaderPairs;
  /** Undefined for a version that this build does not know: 503, never a guess. */
  readonly fingerprintIn: (call: ExchangeCall, version: number) => string | undefined;
  /** The secret of that name, if there is one. */
  readonly secretNamed: (name: string) => string | undefined;
  readonly clock: Clock;
  readonly randomness: Randomness;
  /** Keeps the object alive until the work is done, though its caller may be gone. */
  readonly keepAlive: (work: Promise<unknown>) => void;
  readonly alert: (event: string, facts: Readonly<Record<string, string | number>>) => void;
};
