/**
 * Engines to test: each a real `KeyEngine` inside a real Durable Object, with its storage, over the real D1 behind
 * a connection that can fail. The engine's clock, pauses and timers are the test's.
 */
import { applyD1Migrations, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, beforeEach, vi } from "vitest";
import { systemRandomness } from "../../../src/kernel/ids.ts";
import type { Advisor } from "../../../src/objects/advice.ts";
import type { Erasure, KeyCall, KeyReply, KeyStatus } from "../../../src/objects/key-call.ts";
import { type EngineStorage, KeyEngine } from "../../../src/objects/key-engine.ts";
import type { Operation } from "../../../src/operations/define-operation.ts";
import { operations } from "../../../src/operations/registry.ts";
import {
  FaultyDatabase,
  type FaultyDatabaseSetup,
  type SentBatch,
} from "../../support/faulty-database.ts";
import { VirtualTime } from "./virtual-time.ts";

export type EngineOptions = {
  readonly time?: VirtualTime;
  /** The object whose storage is used: the same name again is its next life. */
  readonly object?: string;
  readonly operations?: readonly Operation[];
  readonly faults?: FaultyDatabaseSetup;
  readonly epoch?: number;
  readonly databaseBytesMax?: number;
  /** Who says when to come back. */
  readonly advisor?: Advisor;
  /** Puts a wrapper around the object's storage. */
  readonly storage?: (real: EngineStorage) => EngineStorage;
};

/** One incarnation of a key object. */
export class Incarnation {
  readonly db: FaultyDatabase;
  readonly time: VirtualTime;
  readonly object: string;
  /** Batches sent, oldest first. */
  readonly batches: SentBatch[] = [];
  readonly alerts: {
    readonly event: string;
    readonly facts: Readonly<Record<string, string | number>>;
  }[] = [];
  readonly #options: EngineOptions;
  readonly #stub: DurableObjectStub;
  #engine: KeyEngine | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.object = options.object ?? `test/${crypto.randomUUID()}`;
    this.time = options.time ?? VirtualTime.ahead();
    this.#stub = env.KEY_OBJECT.getByName(this.object);
    this.db = new FaultyDatabase(env.DB, {
      ...options.faults,
      onBatch: (batch) => this.batches.push(batch),
    });
  }

  /** Runs something inside the object: only there its storage may be touched. */
  run<Value>(
    work: (engine: KeyEngine, state: DurableObjectState) => Value | Promise<Value>,
  ): Promise<Value> {
    return runInDurableObject(this.#stub, (_instance, state) => {
      this.#engine ??= this.#create(state);
      return work(this.#engine, state);
    });
  }

  submit(call: KeyCall): Promise<KeyReply> {
    return this.run((engine) => engine.submit(this.#addressed(call)));
  }

  /** Submits all in the same turn, in this order. */
  submitAll(calls: readonly KeyCall[]): Promise<KeyReply[]> {
    return this.run((engine) =>
      Promise.all(calls.map((call) => engine.submit(this.#addressed(call)))),
    );
  }

  lookUp({ tenant, key }: KeyCall): Promise<KeyStatus | "unavailable"> {
    return this.run((engine) => engine.lookUp(tenant, key));
  }

  erase({ tenant, key }: KeyCall): Promise<Erasure> {
    return this.run((engine) =>
      engine.erase(tenant, key, { actor: "caller-hash", requestId: "request" }),
    );
  }

  sweep(): Promise<void> {
    return this.run((engine) => engine.sweep());
  }

  /** Waits until what was submitted has read what it needs, and stands in the queue or is under way. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < 3; turns++) {
      await this.run(() => undefined);
      if (this.db.readsUnderWay > 0) turns = 0;
    }
  }

  /** Lets time pass, with every timer that is due in it. */
  advance(ms: number): Promise<void> {
    return this.run(async () => {
      this.time.advance(ms);
      await vi.advanceTimersByTimeAsync(ms);
    });
  }

  #addressed(call: KeyCall): KeyCall {
    return { ...call, object: this.object };
  }

  #create(state: DurableObjectState): KeyEngine {
    const { time, db } = this;
    const { advisor } = this.#options;
    return new KeyEngine({
      databaseFor: () => Promise.resolve(db),
      databaseBytesMax: this.#options.databaseBytesMax ?? Number.POSITIVE_INFINITY,
      storage: this.#options.storage?.(state.storage) ?? state.storage,
      operations: this.#options.operations ?? operations,
      clock: time.clock,
      randomness: systemRandomness,
      pause: time.pause,
      keepAlive: (work) => state.waitUntil(work),
      alert: (event, facts) => {
        this.alerts.push({ event, facts });
      },
      epoch: this.#options.epoch ?? 0,
      hashSecret: env.FINGERPRINT_SECRET,
      ...(advisor === undefined ? {} : { runEnded: (run) => advisor.runEnded(run) }),
    });
  }
}

/** Sets up a file of engine tests; what it returns makes incarnations. */
export const useEngines = (): ((options?: EngineOptions) => Incarnation) => {
  // Nothing here measures: on a busy machine it takes longer, and that is no failure.
  vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
  let made: Incarnation[] = [];
  beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));
  beforeEach(() => {
    // The engine's time-outs and its wait for a quiet moment. The runtime's own waiting is not touched.
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
  return (options = {}) => {
    const incarnation = new Incarnation(options);
    made.push(incarnation);
    return incarnation;
  };
};
