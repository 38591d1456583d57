/**
 * Whether an upstream may be called now: a bounded number of calls at a time, and none while it is down but one at a
 * time to see whether it is back. It only ever says "not now", before anything is sent; what it knows is this object's
 * own experience, and losing it costs a few calls that fail.
 */
import {
  RETRY_AFTER_DEFAULT_MS,
  UPSTREAM_CALLS_MAX,
  UPSTREAM_FAILURES_MAX,
  UPSTREAM_PROBE_MS,
} from "../kernel/limits.ts";
import type { Upstream } from "./exchange.ts";

export type Admission =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly afterMs: number };

/** How an admitted call ended: the upstream answered as a system, failed as one, or was not called after all. */
export type Experience = "answered" | "failed" | "not-called";

export type OriginHealth = {
  /** Each admitted call is to be observed once. */
  readonly admit: (upstream: string, nowMs: number) => Admission;
  readonly observe: (upstream: string, experience: Experience, nowMs: number) => void;
};

/** What an upstream is called in the log, and what its health is kept by. */
export const upstreamName = (upstream: Upstream): string =>
  upstream.kind === "origin" ? upstream.origin : `service:${upstream.binding}`;

type Health = { calls: number; failures: number; closedUntilMs: number };

/** Failures in a row close it; then one call at a time probes, until one is answered. */
export const consecutiveFailures = (): OriginHealth => {
  const known = new Map<string, Health>();
  const healthOf = (upstream: string): Health => {
    const health = known.get(upstream) ?? { calls: 0, failures: 0, closedUntilMs: 0 };
    known.set(upstream, health);
    return health;
  };
  return {
    admit: (upstream, nowMs) => {
      const health = healthOf(upstream);
      const isDown = health.failures >= UPSTREAM_FAILURES_MAX;
      if (isDown && nowMs < health.closedUntilMs) {
        return { admitted: false, afterMs: health.closedUntilMs - nowMs };
      }
      if (health.calls >= (isDown ? 1 : UPSTREAM_CALLS_MAX)) {
        return { admitted: false, afterMs: RETRY_AFTER_DEFAULT_MS };
      }
      health.calls += 1;
      return { admitted: true };
    },
    observe: (upstream, experience, nowMs) => {
      const health = healthOf(upstream);
      health.calls -= 1;
      if (experience === "answered") {
        health.failures = 0;
      } else if (experience === "failed") {
        health.failures += 1;
        health.closedUntilMs = nowMs + UPSTREAM_PROBE_MS;
      }
      // What is well and idle need not be remembered: routes may name many origins.
      if (health.calls === 0 && health.failures === 0) known.delete(upstream);
    },
  };
};
