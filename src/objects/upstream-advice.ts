/**
 * What is learned of the APIs behind a gateway: told of every call, it says when to send again, and when an API that is
 * down may be tried. It decides on times alone: whether a call may be sent again is the exchange's to say, and what was
 * not learned leaves the fixed schedule as it is.
 */
import type { Advice } from "../advisor/advice.ts";
import type { Failure } from "../advisor/failure.ts";
import type { Outages, Wait } from "../gateway/origin-health.ts";
import { HEAL_MARGIN_MS, UPSTREAM_PROBE_MS } from "../kernel/limits.ts";
import { type Advisor, UPSTREAMS } from "./advice.ts";

/** How one call ended. */
export type CallEnded = {
  readonly tenant: string;
  readonly key: string;
  readonly upstream: string;
  readonly startedAtMs: number;
  /** When its answer was here: what we do with it afterwards is not the upstream's time. */
  readonly endedAtMs: number;
  /** Its code is the route, so that each route's failures are told apart. Undefined: it has an outcome. */
  readonly failure: Failure | undefined;
  /** What the upstream asked to wait. */
  readonly hintMs: number | undefined;
  /** What the route's `heal` leaves. */
  readonly leftMs: number;
  readonly sendsLeft: number;
};

export class UpstreamAdvice implements Outages {
  readonly #advisor: Advisor;
  readonly #tell: () => void;

  /** @param tell what was learned to whoever keeps it; called after every call, not awaited */
  constructor(advisor: Advisor, tell: () => void = () => undefined) {
    this.#advisor = advisor;
    this.#tell = tell;
  }

  /** Takes in how a call ended. Milliseconds until it should be sent again, if that was learned. */
  ended({ tenant, key, upstream, sendsLeft, leftMs, ...rest }: CallEnded): number | undefined {
    const advice = this.#advisor.runEnded({
      ...rest,
      tenant: UPSTREAMS,
      key: `${tenant}\n${key}`,
      group: groupOf(upstream),
      // A request of one caller may break what answers all others: it must not close the upstream for them.
      ofOneRequest: rest.failure?.status === 500,
      leftMs: leftMs - HEAL_MARGIN_MS,
      triesLeft: sendsLeft,
    });
    this.#tell();
    if (advice === undefined || !isLearned(advice)) return undefined;
    return boundedBy(leftMs, advice.afterMs);
  }

  /** Takes in how a question about a key ended: it tells of the upstream, and of no class of failures. */
  asked(upstream: string, startedAtMs: number, atMs: number, failure: Failure | undefined): void {
    const durationMs = atMs - startedAtMs;
    this.#advisor.observe(UPSTREAMS, groupOf(upstream), { atMs, durationMs, failure });
    this.#tell();
  }

  isDown(upstream: string): boolean {
    return this.#advisor.isDown(UPSTREAMS, groupOf(upstream));
  }

  takeProbe(upstream: string): boolean {
    return this.#advisor.takeProbe(UPSTREAMS, groupOf(upstream));
  }

  returnProbe(upstream: string): void {
    this.#advisor.returnProbe(UPSTREAMS, groupOf(upstream));
  }

  wait(upstream: string): Wait {
    const question = { failure: DOWN, retries: 0, ageMs: 0 };
    const advice = this.#advisor.advise(UPSTREAMS, groupOf(upstream), question);
    if (!isLearned(advice)) return { afterMs: UPSTREAM_PROBE_MS };
    const { afterMs, successProbability, reason } = advice;
    return { afterMs, successProbability, reason };
  }
}

const DOWN: Failure = { status: 503, code: "" };

/** What is believed of all APIs is no reason to leave the schedule that the operator knows. */
const isLearned = ({ retry, policy }: Advice): boolean => retry && policy === "learned";

/** Not past the last moment at which it may still be sent: whether it is given up is not for advice to decide. */
export const boundedBy = (leftMs: number, afterMs: number): number =>
  leftMs > 2 * HEAL_MARGIN_MS ? Math.min(afterMs, leftMs - HEAL_MARGIN_MS) : afterMs;

const groupOf = (upstream: string): string => `upstream ${upstream}`;
