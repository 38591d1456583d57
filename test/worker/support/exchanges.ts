/**
 * Exchange engines to test: each real, inside a real Durable Object with its storage and its alarm, over the real D1
 * behind a connection that can fail, and in front of an upstream that fails as told. Clock, pauses and time-outs are the
 * test's: how fast the machine is decides nothing.
 */
import { applyD1Migrations, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, beforeEach, vi } from "vitest";
import type { ExchangePolicy } from "../../../src/gateway/exchange.ts";
import { keptHeaders } from "../../../src/gateway/headers.ts";
import { originHealth } from "../../../src/gateway/origin-health.ts";
import { systemRandomness } from "../../../src/kernel/ids.ts";
import { Advisor } from "../../../src/objects/advice.ts";
import { Alarm } from "../../../src/objects/alarm.ts";
import type {
  ExchangeCall,
  ExchangeReply,
  UpstreamCall,
} from "../../../src/objects/exchange-call.ts";
import { ExchangeEngine } from "../../../src/objects/exchange-engine.ts";
import { fingerprintIn } from "../../../src/objects/exchange-setup.ts";
import type { ExchangeSurroundings } from "../../../src/objects/exchange-surroundings.ts";
import { UpstreamAdvice } from "../../../src/objects/upstream-advice.ts";
import { ExternalSteps } from "../../../src/objects/external-steps.ts";
import { type EngineStorage, KeyEngine } from "../../../src/objects/key-engine.ts";
import { operations } from "../../../src/operations/registry.ts";
import { FaultyDatabase, until } from "../../support/faulty-database.ts";
import type { Upstream } from "./upstream.ts";
import { VirtualTime } from "./virtual-time.ts";

/** Between two tries of these engines, milliseconds of the test's clock. */
export const PAUSE_MS = 1_000;

export type ExchangeOptions = {
  readonly upstream: Upstream;
  readonly time?: VirtualTime;
  /** The object whose storage is used: the same name again is its next life. */
  readonly object?: string;
  readonly storage?: (real: EngineStorage) => EngineStorage;
  readonly parts?: Partial<ExchangeSurroundings>;
  /** What the isolate has learned; nothing unless said. */
  readonly advisor?: Advisor;
  /** How the processors of operations are called. */
  readonly processor?: ExchangePolicy | null;
};

/** One incarnation of a key object, as far as its exchanges go. */
export class ExchangeIncarnation {
  readonly db: FaultyDatabase;
  readonly time: VirtualTime;
  readonly object: string;
  readonly alerts: string[] = [];
  readonly #options: ExchangeOptions;
  readonly #stub: DurableObjectStub;
  /** How much of what the object does beside its replies has not ended. */
  #besides = 0;
  #engines: { readonly exchanges: ExchangeEngine; readonly keys: KeyEngine } | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.object = options.object ?? `test/${crypto.randomUUID()}`;
    this.time = options.time ?? VirtualTime.ahead();
    this.#stub = env.KEY_OBJECT.getByName(this.object);
    this.db = new FaultyDatabase(env.DB);
  }

  run<Value>(
    work: (
      exchanges: ExchangeEngine,
      state: DurableObjectState,
      keys: KeyEngine,
    ) => Value | Promise<Value>,
  ): Promise<Value> {
    return runInDurableObject(this.#stub, (_instance, state) => {
      this.#engines ??= this.#create(state);
      return work(this.#engines.exchanges, state, this.#engines.keys);
    });
  }

  exchange(call: ExchangeCall): Promise<Heard> {
    return this.run(async (engine) =>
      heardOf(await engine.exchange({ ...call, object: this.object })),
    );
  }

  /** What the object does when its alarm goes off. */
  alarm(): Promise<void> {
    return this.run(async (exchanges, _state, keys) => {
      await exchanges.care();
      await keys.sweep();
    });
  }

  /** Lets time pass to when the alarm is set for, and a little more, and lets it go off. */
  async nextAlarm(): Promise<void> {
    const atMs = await this.alarmAtMs();
    if (atMs === null) throw new Error("There is no alarm.");
    this.time.setTo(Math.max(this.time.nowMs, atMs));
    await this.alarm();
  }

  alarmAtMs(): Promise<number | null> {
    return this.run((_exchanges, state) => state.storage.getAlarm());
  }

  /**
   * Lets the time-out of a call or a question pass, and nothing else: the clock of the engine stands still. What waits
   * for the upstream now has waited for too long.
   */
  timeOut({ policy }: UpstreamCall): Promise<void> {
    return this.run(async () => {
      await vi.advanceTimersByTimeAsync(policy.timeoutMs);
    });
  }

  /** An exchange whose upstream is silent until its time is over: what its caller hears. */
  async timedOut(call: UpstreamCall): Promise<Heard> {
    const { upstream } = this.#options;
    const callsBefore = upstream.calls;
    const heard = this.exchange(call);
    await until(() => upstream.calls > callsBefore);
    await this.timeOut(call);
    return heard;
  }

  /** Until nothing goes on that a reply did not wait for: the journal has what it is to have, and webhooks were sent. */
  settled(): Promise<void> {
    return until(() => this.#besides === 0);
  }

  #create(state: DurableObjectState) {
    const { time, db } = this;
    const { upstream } = this.#options;
    const storage = this.#options.storage?.(state.storage) ?? state.storage;
    const alarm = new Alarm(storage);
    const alert = (event: string): void => {
      this.alerts.push(event);
    };
    const ended = (): void => {
      this.#besides -= 1;
    };
    const keepAlive = (work: Promise<unknown>): void => {
      this.#besides += 1;
      state.waitUntil(work.then(ended, ended));
    };
    const { advisor = new Advisor(time.clock, () => 0.5) } = this.#options;
    const upstreams = new UpstreamAdvice(advisor);
    const exchanges = new ExchangeEngine({
      databaseFor: () => Promise.resolve(db),
      databaseBytesMax: Number.POSITIVE_INFINITY,
      epoch: 0,
      storage,
      alarm,
      commit: (database, submission) => keys.commit(database, submission),
      send: (_upstream, request) => upstream.handle(new Request(...request)),
      post: () => Promise.reject(new Error("There are no webhooks here.")),
      forward: () => Promise.reject(new Error("There is no other object.")),
      upstreams,
      health: originHealth(upstreams),
      pauseBefore: () => PAUSE_MS,
      steps: new ExternalSteps({
        operations,
        processorNamed: () => {
          const { processor = POLICY } = this.#options;
          return processor === null ? null : { terms: processor, token: "processor-token" };
        },
      }),
      keptHeaders,
      fingerprintIn,
      secretNamed: () => undefined,
      clock: time.clock,
      randomness: systemRandomness,
      keepAlive,
      alert,
      ...this.#options.parts,
    });
    const keys: KeyEngine = new KeyEngine({
      databaseFor: () => Promise.resolve(db),
      databaseBytesMax: Number.POSITIVE_INFINITY,
      storage,
      operations,
      clock: time.clock,
      randomness: systemRandomness,
      pause: time.pause,
      keepAlive,
      alert,
      epoch: 0,
      hashSecret: env.FINGERPRINT_SECRET,
      alarm,
      others: exchanges,
    });
    return { exchanges, keys };
  }
}

/** A reply with its body read. */
export type Heard =
  | {
      readonly kind: "answer" | "stream";
      readonly status: number;
      readonly headers: Record<string, string>;
      readonly body: Uint8Array;
      readonly text: string;
      readonly replayed: boolean;
      readonly expiresAtS: number;
    }
  | Extract<ExchangeReply, { kind: "accepted" | "problem" }>;

export const heardOf = async (reply: ExchangeReply): Promise<Heard> => {
  if (reply.kind === "accepted" || reply.kind === "problem") return reply;
  const body = new Uint8Array(await new Response(reply.body).arrayBuffer());
  return {
    kind: reply.kind,
    status: reply.status,
    headers: Object.fromEntries(reply.headers),
    body,
    text: new TextDecoder().decode(body),
    replayed: reply.kind === "answer" && reply.replayed,
    expiresAtS: reply.expiresAtS,
  };
};

/** The status of an answer, the code of a problem, or `accepted`. */
export const verdict = (heard: Heard): number | string =>
  heard.kind === "problem" ? heard.code : heard.kind === "accepted" ? "accepted" : heard.status;

export const POLICY: ExchangePolicy = {
  route: "things",
  upstream: { kind: "service", binding: "UPSTREAM" },
  timeoutMs: 5_000,
  keyLifetimeSeconds: 3_600,
  tombstoneSeconds: 7_200,
  finalStatuses: null,
  honoursKey: false,
  status: null,
  heal: { attemptsMax: 5, elapsedMsMax: 600_000 },
  keepHeaders: null,
  webhook: null,
};

export const ASKABLE: ExchangePolicy["status"] = {
  path: "/status/{key}",
  absenceIsFinal: true,
  quietMs: 10_000,
};

export type ExchangeCallOptions = {
  readonly key?: string;
  readonly policy?: Partial<ExchangePolicy>;
  readonly body?: Uint8Array;
  readonly waitMs?: number;
  readonly detached?: boolean;
  readonly fingerprint?: string;
};

/** A new one each time: tests share the database. */
export const tenantOf = (): string => `t-${crypto.randomUUID().slice(0, 8)}`;

export const exchangeCall = (
  tenant: string,
  {
    key = crypto.randomUUID(),
    policy = {},
    body = new TextEncoder().encode('{"amount":1}'),
    waitMs = 0,
    detached = false,
    fingerprint = "fingerprint-1",
  }: ExchangeCallOptions = {},
): UpstreamCall => ({
  tenant,
  key,
  object: "",
  policy: { ...POLICY, ...policy },
  request: {
    method: "POST",
    target: "/things?x=1",
    headers: [
      ["content-type", "application/json"],
      ["authorization", "Bearer upstream"],
      ["idempotency-key", key],
    ],
    body,
  },
  fingerprint,
  fingerprintVersion: 1,
  members: { "(operation)": "POST /things", amount: fingerprint },
  requestId: crypto.randomUUID(),
  actor: "somebody",
  origin: "https://latchkey.test",
  waitMs,
  detached,
});

export type Row = {
  readonly state: string;
  readonly attempt: number;
  readonly nonce: string;
  readonly status: number;
  readonly refusal: string | null;
  readonly object: string;
  readonly body: string | null;
};

export const rowOf = async ({ tenant, key }: ExchangeCall): Promise<Row | null> =>
  env.DB.prepare(
    "SELECT state, attempt, nonce, status, refusal, object, body FROM journal WHERE tenant = ? AND key = ?",
  )
    .bind(tenant, key)
    .first<Row>();

/** Sets up a file of exchange tests; what it returns makes incarnations. */
export const useExchanges = (): ((options: ExchangeOptions) => ExchangeIncarnation) => {
  vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
  let made: ExchangeIncarnation[] = [];
  beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));
  beforeEach(() => {
    // The engines' time-outs, see `timeOut`. The runtime's own waiting is not touched.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    for (const { db, time } of made) {
      db.endStalls();
      time.end();
    }
    made = [];
    vi.useRealTimers();
  });
  return (options) => {
    const incarnation = new ExchangeIncarnation(options);
    made.push(incarnation);
    return incarnation;
  };
};
