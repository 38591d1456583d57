/** The Durable Object around the engine: bindings in, RPC methods and the alarm out. */
import { DurableObject } from "cloudflare:workers";
import type { CopySeen } from "../audit/copy.ts";
import { type Bindings, parseEngineSettings } from "../env.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { systemClock } from "../kernel/clock.ts";
import { systemRandomness } from "../kernel/ids.ts";
import { REDRIVES_REMEMBERED } from "../kernel/limits.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import { checkCatalogue } from "../operations/catalogue.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { SettledRecord } from "../idempotency/key-record.ts";
import { advisor } from "./advice.ts";
import type { Erasure, KeyCall, KeyReply, KeyStatus, Redrive, RedriveBy } from "./key-call.ts";
import { Alarm } from "./alarm.ts";
import type { ExchangeCall, ExchangeReply, Resolution, ResolutionReply } from "./exchange-call.ts";
import { keyReplyOf, operationCallOf } from "./operation-exchange.ts";
import { ExchangeEngine } from "./exchange-engine.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import { exchangeSetup } from "./exchange-setup.ts";
import { type EngineStorage, KeyEngine } from "./key-engine.ts";
import { databaseFor } from "./tenant-database.ts";

/** The RPC surface, as the Worker sees it. */
export type KeyObjectMethods = {
  readonly submit: (call: KeyCall) => Promise<KeyReply>;
  readonly erase: (tenant: string, key: string, by: AuditActor) => Promise<Erasure>;
  readonly eraseCopy: (
    tenant: string,
    key: string,
    record: SettledRecord,
    forgetAtS: number,
  ) => Promise<void>;
  readonly copySeen: (key: string) => Promise<CopySeen | undefined>;
  readonly lookUp: (tenant: string, key: string) => Promise<KeyStatus | "unavailable">;
  readonly exchange: (call: ExchangeCall) => Promise<ExchangeReply>;
  readonly resolve: (
    tenant: string,
    key: string,
    resolution: Resolution,
  ) => Promise<ResolutionReply>;
  /**
   * Takes stuck work up again, with its original key. Of one action it is done once, as long as the object lives, and
   * to do it twice is safe.
   * @param object its own name
   * @param action an operator's; empty for the reconciliation
   */
  readonly redrive: (
    tenant: string,
    key: string,
    object: string,
    action: string,
    by: RedriveBy,
  ) => Promise<Redrive>;
  /** @param object its own name, as the rows of its claims have it */
  readonly recover: (tenant: string, key: string, object: string) => Promise<void>;
};

export type KeyObjectClass = new (
  ctx: DurableObjectState,
  env: Bindings,
) => DurableObject<Bindings> & KeyObjectMethods;

/** What the tests replace. */
export type KeyObjectParts = {
  readonly sweepIntervalMs?: number;
  /** Puts something around the object's storage. */
  readonly storage?: (real: EngineStorage) => EngineStorage;
  /** Puts something in place of parts of the gateway's surroundings. */
  readonly exchanges?: (real: ExchangeSurroundings) => ExchangeSurroundings;
};

/** The class to export and bind as `KEY_OBJECT`, for these operations. */
export const keyObjectFor = (
  operations: readonly Operation[],
  { sweepIntervalMs, storage = (real) => real, exchanges = (real) => real }: KeyObjectParts = {},
): KeyObjectClass => {
  checkCatalogue({ operations, queries: [] });
  const external = new Set(
    operations.filter((operation) => operation.external !== null).map(({ name }) => name),
  );
  return class KeyObject extends DurableObject<Bindings> {
    readonly #engine: KeyEngine;
    readonly #exchanges: ExchangeEngine;
    readonly #alarm: Alarm;
    readonly #hashSecret: string;
    readonly #redrives = new BoundedMap<string, Promise<Redrive>>(REDRIVES_REMEMBERED);

    constructor(ctx: DurableObjectState, env: Bindings) {
      super(ctx, env);
      const settings = parseEngineSettings(env);
      const held = storage(ctx.storage);
      const keepAlive = (work: Promise<unknown>): void => ctx.waitUntil(work);
      this.#hashSecret = settings.FINGERPRINT_SECRET;
      this.#alarm = new Alarm(held);
      this.#exchanges = new ExchangeEngine(
        exchanges(
          exchangeSetup(env, settings, operations, {
            storage: held,
            alarm: this.#alarm,
            commit: (db, submission) => this.#engine.commit(db, submission),
            keepAlive,
            alert,
          }),
        ),
      );
      this.#engine = new KeyEngine({
        databaseFor: (tenant) => databaseFor(env, settings, tenant),
        databaseBytesMax: settings.DATABASE_BYTES_MAX,
        storage: held,
        operations,
        clock: systemClock,
        randomness: systemRandomness,
        pause: (ms) => scheduler.wait(ms),
        keepAlive,
        alert,
        sweepIntervalMs,
        epoch: settings.RESTORE_EPOCH,
        hashSecret: settings.FINGERPRINT_SECRET,
        alarm: this.#alarm,
        others: this.#exchanges,
        runEnded: (run) => {
          const advice = advisor.runEnded(run);
          const told = advisor.exchange(run.tenant, env.ADVISOR);
          if (told !== undefined) ctx.waitUntil(told);
          return advice;
        },
      });
    }

    async submit(call: KeyCall): Promise<KeyReply> {
      if (!external.has(call.request.operation)) return this.#engine.submit(call);
      return keyReplyOf(await this.#exchanges.exchange(operationCallOf(call, this.#hashSecret)));
    }

    async erase(tenant: string, key: string, by: AuditActor): Promise<Erasure> {
      return (await this.#exchanges.erase(key, by)) ?? this.#engine.erase(tenant, key, by);
    }

    eraseCopy(
      tenant: string,
      key: string,
      record: SettledRecord,
      forgetAtS: number,
    ): Promise<void> {
      this.#exchanges.eraseCopy(key);
      return this.#engine.eraseCopy(tenant, key, record, forgetAtS);
    }

    copySeen(key: string): Promise<CopySeen | undefined> {
      return Promise.resolve(this.#engine.copySeen(key));
    }

    async lookUp(tenant: string, key: string): Promise<KeyStatus | "unavailable"> {
      return this.#exchanges.lookUp(key) ?? this.#engine.lookUp(tenant, key);
    }

    exchange(call: ExchangeCall): Promise<ExchangeReply> {
      return this.#exchanges.exchange(call);
    }

    resolve(tenant: string, key: string, resolution: Resolution): Promise<ResolutionReply> {
      return this.#exchanges.resolve(tenant, key, resolution);
    }

    redrive(
      tenant: string,
      key: string,
      object: string,
      action: string,
      by: RedriveBy,
    ): Promise<Redrive> {
      if (by === "reconciliation") return this.#redrive(tenant, key, object, by);
      const known = this.#redrives.get(`${action} ${key}`);
      if (known !== undefined) return known;
      const redrive = this.#redrive(tenant, key, object, by);
      this.#redrives.set(`${action} ${key}`, redrive);
      // What failed may be asked for again.
      redrive.catch(() => this.#redrives.delete(`${action} ${key}`));
      return redrive;
    }

    async #redrive(tenant: string, key: string, object: string, by: RedriveBy): Promise<Redrive> {
      const stateOf = async (): Promise<Redrive["state"]> => {
        const status = await this.lookUp(tenant, key);
        return status === "unavailable" ? status : status.state;
      };
      const kind =
        (await this.#exchanges.redrive(key, by)) ?? (await this.#engine.redrive(key, by));
      if (kind !== undefined) return { kind, state: await stateOf() };
      // A claim that nobody called for, perhaps.
      const before = await stateOf();
      await this.#exchanges.recover(tenant, key, object);
      const state = await stateOf();
      return { kind: state === before ? "nothing-open" : "taken-up", state };
    }

    recover(tenant: string, key: string, object: string): Promise<void> {
      return this.#exchanges.recover(tenant, key, object);
    }

    /** The exchanges first: a sweep that takes its time must not keep a heal waiting. It sets the next alarm for all. */
    override async alarm(): Promise<void> {
      this.#alarm.forget();
      await this.#exchanges.care();
      await this.#engine.sweep();
    }
  };
};

/** One line of the log that somebody should look at. */
const alert = (event: string, facts: Readonly<Record<string, string | number>>): void =>
  console.error(JSON.stringify({ level: "alert", event, ...facts }));
