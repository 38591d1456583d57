/** What an exchange engine is given in production: the runtime's fetch, the Worker's bindings, what the isolate has learned of upstreams. */
import type { Bindings, EngineSettings } from "../env.ts";
import { exchangeFingerprint } from "../gateway/content-fingerprint.ts";
import { originHealth } from "../gateway/origin-health.ts";
import { parseProcessor } from "../gateway/processor.ts";
import { fingerprint } from "../idempotency/fingerprint.ts";
import { keptHeaders } from "../gateway/headers.ts";
import { systemClock } from "../kernel/clock.ts";
import { systemRandomness } from "../kernel/ids.ts";
import {
  EXCHANGE_PAUSE_MS,
  EXCHANGE_PAUSE_MS_MAX,
  KEY_LIFETIME_SECONDS_MAX,
} from "../kernel/limits.ts";
import type { Operation } from "../operations/define-operation.ts";
import { advisor, UPSTREAMS } from "./advice.ts";
import type { ExchangeSurroundings } from "./exchange-surroundings.ts";
import { fetcherOf } from "./exchange-upstream.ts";
import { ExternalSteps } from "./external-steps.ts";
import { callObject } from "./object-call.ts";
import { keyObjectNamed } from "./routing.ts";
import { databaseFor } from "./tenant-database.ts";
import { UpstreamAdvice } from "./upstream-advice.ts";

/** What belongs to the object itself, and is shared with what else lives in it. */
type Shared = Pick<ExchangeSurroundings, "storage" | "alarm" | "commit" | "keepAlive" | "alert">;

export const exchangeSetup = (
  env: Bindings,
  settings: EngineSettings,
  operations: readonly Operation[],
  shared: Shared,
): ExchangeSurroundings => {
  const upstreams = new UpstreamAdvice(advisor, () => {
    const told = advisor.exchange(UPSTREAMS, env.ADVISOR);
    if (told !== undefined) shared.keepAlive(told);
  });
  return {
    ...shared,
    databaseFor: (tenant) => databaseFor(env, settings, tenant),
    databaseBytesMax: settings.DATABASE_BYTES_MAX,
    epoch: settings.RESTORE_EPOCH,
    send: (upstream, request) => fetcherOf(env, upstream)(...request),
    post: (request) => fetch(request),
    forward: (object, call) =>
      // Safe to repeat: it is one keyed request, however often it arrives.
      callObject(keyObjectNamed(env, object), (stub) => stub.exchange(call)),
    upstreams,
    health: originHealth(upstreams),
    pauseBefore: (attempt) => pauseBefore(attempt, systemRandomness),
    keptHeaders: (headers, keepHeaders) => keptHeaders(headers, keepHeaders),
    fingerprintIn,
    steps: new ExternalSteps({
      operations,
      processorNamed: (name) => parseProcessor(env, name, KEY_LIFETIME_SECONDS_MAX),
    }),
    secretNamed: (name) => {
      const value: unknown = Reflect.get(env, name);
      return typeof value === "string" && value !== "" ? value : undefined;
    },
    clock: systemClock,
    randomness: systemRandomness,
  };
};

/** Of the request that the caller made: of a call for an operation, what the operation was asked. */
export const fingerprintIn: ExchangeSurroundings["fingerprintIn"] = (call, version) =>
  call.operation === undefined
    ? exchangeFingerprint(call.request, version)
    : fingerprint(call.operation, version);

/**
 * Doubles from the first pause to the maximum, and up to half of it is left away at random: keys that failed together
 * do not come back together.
 */
const pauseBefore = (attempt: number, randomness: (bytes: Uint8Array) => void): number => {
  const random = new Uint8Array(1);
  randomness(random);
  const wholeMs = Math.min(EXCHANGE_PAUSE_MS * 2 ** (attempt - 1), EXCHANGE_PAUSE_MS_MAX);
  return Math.round(wholeMs * (1 - (random[0] ?? 0) / 512));
};
