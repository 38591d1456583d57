/** The Durable Object around the engine: bindings in, RPC methods and the alarm out. */
import { DurableObject } from "cloudflare:workers";
import type { CopySeen } from "../audit/copy.ts";
import { type Bindings, parseEngineSettings } from "../env.ts";
import { systemClock } from "../kernel/clock.ts";
import { systemRandomness } from "../kernel/ids.ts";
import type { AuditActor } from "../journal/audit-log.ts";
import { checkCatalogue } from "../operations/catalogue.ts";
import type { Operation } from "../operations/define-operation.ts";
import type { SettledRecord } from "../idempotency/key-record.ts";
import type { Erasure, KeyCall, KeyReply, KeyStatus } from "./key-call.ts";
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
};

/** The class to export and bind as `KEY_OBJECT`, for these operations. */
export const keyObjectFor = (
  operations: readonly Operation[],
  { sweepIntervalMs, storage = (real) => real }: KeyObjectParts = {},
): KeyObjectClass => {
  checkCatalogue({ operations, queries: [] });
  return class KeyObject extends DurableObject<Bindings> {
    readonly #engine: KeyEngine;

    constructor(ctx: DurableObjectState, env: Bindings) {
      super(ctx, env);
      const settings = parseEngineSettings(env);
      this.#engine = new KeyEngine({
        databaseFor: (tenant) => databaseFor(env, settings, tenant),
        databaseBytesMax: settings.DATABASE_BYTES_MAX,
        storage: storage(ctx.storage),
        operations,
        clock: systemClock,
        randomness: systemRandomness,
        pause: (ms) => scheduler.wait(ms),
        keepAlive: (work) => ctx.waitUntil(work),
        alert: (event, facts) => console.error(JSON.stringify({ level: "alert", event, ...facts })),
        sweepIntervalMs,
        epoch: settings.RESTORE_EPOCH,
        hashSecret: settings.FINGERPRINT_SECRET,
      });
    }

    submit(call: KeyCall): Promise<KeyReply> {
      return this.#engine.submit(call);
    }

    erase(tenant: string, key: string, by: AuditActor): Promise<Erasure> {
      return this.#engine.erase(tenant, key, by);
    }

    eraseCopy(
      tenant: string,
      key: string,
      record: SettledRecord,
      forgetAtS: number,
    ): Promise<void> {
      return this.#engine.eraseCopy(tenant, key, record, forgetAtS);
    }

    copySeen(key: string): Promise<CopySeen | undefined> {
      return Promise.resolve(this.#engine.copySeen(key));
    }

    lookUp(tenant: string, key: string): Promise<KeyStatus | "unavailable"> {
      return this.#engine.lookUp(tenant, key);
    }

    override alarm(): Promise<void> {
      return this.#engine.sweep();
    }
  };
};
