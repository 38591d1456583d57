/**
 * Whether an upstream may be called now: a bounded number of calls at a time, and none while it is down but one at a
 * time to see whether it is back. It only ever says "not now", before anything is sent. That it is down is learned, by
 * everything that the isolate sees of it; losing that costs a few calls that fail.
 */
import {
  RETRY_AFTER_DEFAULT_MS,
  UPSTREAM_CALLS_MAX,
  UPSTREAM_PROBE_MS,
  UPSTREAM_THROTTLES_MAX,
} from "../kernel/limits.ts";
import type { Upstream } from "./exchange.ts";

/** How long, milliseconds; and where it was learned, what it is good for. */
export type Wait = {
  readonly afterMs: number;
  readonly successProbability?: number;
  readonly reason?: string;
};

export type Admission = { readonly admitted: true } | ({ readonly admitted: false } & Wait);

/** What is known of outages. */
export type Outages = {
  readonly isDown: (upstream: string) => boolean;
  /** Lets the one who asks be the next to try an upstream that is down, if it is time to. */
  readonly takeProbe: (upstream: string) => boolean;
  /** The one who was let did not call: whoever asks next may. */
  readonly returnProbe: (upstream: string) => void;
  /** When to come back to one that is down. */
  readonly wait: (upstream: string) => Wait;
};

/** How an admitted call ended: 429, otherwise, or it was not sent after all. */
export type Experience = "throttled" | "ended" | "not-called";

export type OriginHealth = {
  /** Each admitted call is to be observed once. */
  readonly admit: (upstream: string, nowMs: number) => Admission;
  readonly observe: (upstream: string, experience: Experience, nowMs: number) => void;
};

/** What an upstream is called in the log, and what its health is kept by. */
export const upstreamName = (upstream: Upstream): string =>
  upstream.kind === "origin" ? upstream.origin : `service:${upstream.binding}`;

type Health = { calls: number; throttles: number; closedUntilMs: number };

/**
 * @param outages down: one call at a time probes, when it is time to
 *
 * An upstream that says nothing but 429 is well, and left alone for a while all the same; then one call at a time goes.
 */
export const originHealth = (outages: Outages): OriginHealth => {
  const known = new Map<string, Health>();
  const healthOf = (upstream: string): Health => {
    const health = known.get(upstream) ?? { calls: 0, throttles: 0, closedUntilMs: 0 };
    known.set(upstream, health);
    return health;
  };
  return {
    admit: (upstream, nowMs) => {
      const health = healthOf(upstream);
      const isThrottled = health.throttles >= UPSTREAM_THROTTLES_MAX;
      if (isThrottled && nowMs < health.closedUntilMs) {
        return { admitted: false, afterMs: health.closedUntilMs - nowMs };
      }
      const isDown = outages.isDown(upstream);
      if (health.calls >= (isDown || isThrottled ? 1 : UPSTREAM_CALLS_MAX)) {
        return isDown
          ? { admitted: false, ...outages.wait(upstream) }
          : { admitted: false, afterMs: RETRY_AFTER_DEFAULT_MS };
      }
      if (isDown && !outages.takeProbe(upstream)) {
        return { admitted: false, ...outages.wait(upstream) };
      }
      health.calls += 1;
      return { admitted: true };
    },
    observe: (upstream, experience, nowMs) => {
      const health = healthOf(upstream);
      health.calls -= 1;
      if (experience === "not-called") {
        if (outages.isDown(upstream)) outages.returnProbe(upstream);
      } else if (experience === "ended") {
        health.throttles = 0;
      } else {
        health.throttles += 1;
        health.closedUntilMs = nowMs + UPSTREAM_PROBE_MS;
      }
      // What is well and idle need not be remembered: routes may name many origins.
      if (health.calls === 0 && health.throttles === 0) known.delete(upstream);
    },
  };
};
