/**
 * What an isolate knows of retries: hot in memory, so that advice costs microseconds and no request awaits it. In the
 * background it is told to the tenant's advisor object, and what others have learned comes back; only while something
 * fails, for where nothing does there is nothing to tell. One tenant's experience never reaches another's advice.
 */
import { type Advice, advise, type Question } from "../advisor/advice.ts";
import { type Group, newGroup, noCounts } from "../advisor/group.ts";
import { mergeGroups } from "../advisor/merge.ts";
import { observe, type Observation, type Prediction } from "../advisor/observation.ts";
import type { Failure } from "../advisor/failure.ts";
import { returnProbe, takeProbe } from "../advisor/health.ts";
import { restore, snapshotOf } from "../advisor/snapshot.ts";
import { BoundedMap } from "../kernel/bounded-map.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import {
  ADVISOR_AGE_MS_MAX,
  ADVISOR_FAILED_KEYS_MAX,
  ADVISOR_GROUPS_MAX,
  ADVISOR_RETRIES_MAX,
  ADVISOR_TELL_MS,
  RETRY_DOUBTFUL_MS,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import type { AdvisorMethods } from "./advisor-call.ts";

/** This service itself, as its callers meet it: every keyed request rests on the same database. */
export const OWN_GROUP = "latchkey";
/** Reads fail and recover apart from what is written. */
export const OWN_READS = "latchkey reads";
/**
 * What the gateway meets of the APIs behind it is nobody's report: it is kept under a name that no tenant has, and helps
 * all of them. Nothing of a request is in it but statuses, routes and times.
 */
export const UPSTREAMS = "the APIs behind";

type Hot = {
  group: Group;
  /** Something was learned that nobody was told. */
  hasNews: boolean;
  /** When the object was last asked; 0: never. */
  askedAtMs: number;
};

/** How the last try of a key ended. */
type Failed = {
  readonly failure: Failure;
  readonly firstAtMs: number;
  readonly atMs: number;
  readonly retries: number;
  readonly predicted: Prediction | undefined;
};

export type RunEnded = {
  readonly tenant: string;
  readonly key: string;
  /** Whose failure it is; this service's own unless said. */
  readonly group?: string;
  readonly startedAtMs: number;
  /** Now, unless said. */
  readonly endedAtMs?: number;
  /** Undefined: it has an outcome. */
  readonly failure: Failure | undefined;
  /** See `Observation`. */
  readonly ofOneRequest?: boolean;
  readonly hintMs?: number | undefined;
  /** For how long it may still be tried, and how often; no bound unless said. */
  readonly leftMs?: number;
  readonly triesLeft?: number;
};

export class Advisor {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #hot = new BoundedMap<string, Hot>(ADVISOR_GROUPS_MAX);
  readonly #failedKeys = new BoundedMap<string, Failed>(ADVISOR_FAILED_KEYS_MAX);

  constructor(clock: Clock = systemClock, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  advise(tenant: string, group: string, question: Question): Advice {
    return advise(this.#of(tenant, group).group, question, this.#clock(), this.#random);
  }

  observe(tenant: string, group: string, seen: Observation): void {
    const hot = this.#of(tenant, group);
    observe(hot.group, seen);
    // Success upon success is what everybody expects anyway.
    if (seen.failure !== undefined || seen.before !== undefined || !hot.group.health.up) {
      hot.hasNews = true;
    }
  }

  /** Takes in how a run of a key ended. If it may be repeated: when. */
  runEnded(ended: RunEnded): Advice | undefined {
    const { tenant, key, group = OWN_GROUP, startedAtMs, failure, hintMs } = ended;
    const nowMs = this.#clock();
    const { endedAtMs = nowMs, ofOneRequest = false } = ended;
    const name = nameOf(tenant, key);
    const before = this.#failedKeys.get(name);
    this.observe(tenant, group, {
      atMs: nowMs,
      durationMs: endedAtMs - startedAtMs,
      failure,
      ofOneRequest,
      before:
        before === undefined
          ? undefined
          : {
              failure: before.failure,
              ageMs: before.atMs - before.firstAtMs,
              toAgeMs: Math.max(0, startedAtMs - before.firstAtMs),
            },
      predicted: before?.predicted,
    });
    if (failure === undefined) {
      this.#failedKeys.delete(name);
      return undefined;
    }
    const firstAtMs = before?.firstAtMs ?? nowMs;
    const retries = before === undefined ? 0 : before.retries + 1;
    // Few tries that are left are weighed like the last of many.
    const spent = ADVISOR_RETRIES_MAX - Math.max(1, ended.triesLeft ?? ADVISOR_RETRIES_MAX);
    const advice = this.advise(tenant, group, {
      failure,
      // A client that tries on is still told when.
      retries: Math.min(Math.max(retries, spent), RETRIES_TOLD_MAX),
      ageMs: nowMs - firstAtMs,
      hintMs,
      deadlineMs: ended.leftMs,
    });
    const { predicted } = advice;
    this.#failedKeys.set(name, { failure, firstAtMs, atMs: nowMs, retries, predicted });
    return advice;
  }

  /** Whether the origin is down, as far as this isolate knows. */
  isDown(tenant: string, group: string): boolean {
    return this.#hot.get(nameOf(tenant, group))?.group.health.up === false;
  }

  /** The probe that was taken was not sent: somebody else may. */
  returnProbe(tenant: string, group: string): void {
    const known = this.#hot.get(nameOf(tenant, group));
    if (known !== undefined) returnProbe(known.group.health, this.#clock());
  }

  /** Lets the one who asks be the next to try an origin that is down, if it is time to. */
  takeProbe(tenant: string, group: string): boolean {
    return takeProbe(this.#of(tenant, group).group.health, this.#clock());
  }

  /**
   * Tells what is new and hears what others know, where it is time to; else undefined. Not to be awaited by a request.
   * If the answer is lost, what was told is told again.
   */
  exchange(
    tenant: string,
    namespace: DurableObjectNamespace | undefined,
  ): Promise<void> | undefined {
    if (namespace === undefined) return undefined;
    const nowMs = this.#clock();
    const due = [OWN_GROUP, OWN_READS, ...this.#groupsOf(tenant)].filter((group) => {
      const hot = this.#hot.get(nameOf(tenant, group));
      if (hot === undefined) return false;
      const ageMs = Math.abs(nowMs - hot.askedAtMs);
      return ageMs >= (hot.hasNews ? ADVISOR_TELL_MS : ADVISOR_AGE_MS_MAX) && isWorthAsking(hot);
    });
    return due.length === 0 ? undefined : this.#exchange(tenant, due, namespace, nowMs);
  }

  /** What this isolate has of a tenant. */
  known(tenant: string): { readonly group: string; readonly known: Group }[] {
    return [OWN_GROUP, OWN_READS, ...this.#groupsOf(tenant)].flatMap((group) => {
      const hot = this.#hot.get(nameOf(tenant, group));
      return hot === undefined ? [] : [{ group, known: hot.group }];
    });
  }

  async #exchange(
    tenant: string,
    groups: readonly string[],
    namespace: DurableObjectNamespace,
    nowMs: number,
  ): Promise<void> {
    const news = groups.flatMap((group) => {
      const hot = this.#hot.get(nameOf(tenant, group));
      if (hot === undefined) return [];
      const snapshot = snapshotOf(hot.group, "untold");
      const told = hot.group.untold ?? noCounts();
      // What is learned from here on is told the next time.
      hot.group = { ...hot.group, untold: noCounts() };
      hot.askedAtMs = nowMs;
      hot.hasNews = false;
      return [{ group, snapshot, told }];
    });
    try {
      const object = namespace.getByName(tenant) as unknown as AdvisorMethods;
      const answer = await withTimeout(
        object.exchange(news.map(({ group, snapshot }) => ({ group, snapshot }))),
        SEND_TIMEOUT_MS,
      );
      for (const { group, snapshot } of answer) {
        const shared = restore(snapshot);
        const hot = this.#hot.get(nameOf(tenant, group));
        if (shared === undefined || hot === undefined) continue;
        const { untold = noCounts(), held } = hot.group;
        const learnedSince: Group = { ...hot.group, ...untold };
        mergeGroups(shared, learnedSince, this.#clock());
        hot.group = { ...shared, held, untold };
      }
    } catch {
      for (const { group, told } of news) {
        const hot = this.#hot.get(nameOf(tenant, group));
        if (hot === undefined) continue;
        const again: Group = { ...newGroup(nowMs), ...told };
        mergeGroups(again, { ...hot.group, ...(hot.group.untold ?? noCounts()) }, nowMs);
        hot.group = {
          ...hot.group,
          untold: { table: again.table, calibration: again.calibration },
        };
        hot.hasNews = true;
      }
    }
  }

  #of(tenant: string, group: string): Hot {
    const name = nameOf(tenant, group);
    const known = this.#hot.get(name);
    if (known !== undefined) return known;
    const made: Hot = {
      group: { ...newGroup(this.#clock()), untold: noCounts() },
      hasNews: false,
      askedAtMs: 0,
    };
    this.#hot.set(name, made);
    if (group !== OWN_GROUP && group !== OWN_READS) {
      const groups = this.#groups.get(tenant) ?? new BoundedMap<string, true>(ADVISOR_GROUPS_MAX);
      groups.set(group, true);
      this.#groups.set(tenant, groups);
    }
    return made;
  }

  /** Groups that tenants have named, so that they are told too. */
  readonly #groups = new BoundedMap<string, BoundedMap<string, true>>(ADVISOR_GROUPS_MAX);

  #groupsOf(tenant: string): string[] {
    return [...(this.#groups.get(tenant)?.keys() ?? [])];
  }
}

/** As a problem tells it. That a retry is safe is the table's to say: where it hardly helps, it is told for later. */
export const toldOf = ({
  retry,
  afterMs,
  successProbability,
  reason,
}: Advice): {
  readonly afterMs: number;
  readonly successProbability: number;
  readonly reason: string;
} => ({
  afterMs: retry ? Math.ceil(afterMs) : RETRY_DOUBTFUL_MS,
  successProbability: Math.round(successProbability * 1_000) / 1_000,
  reason,
});

/** More are counted, and not asked about: whether to go on is the client's to say, for a retry is safe. */
const RETRIES_TOLD_MAX = ADVISOR_RETRIES_MAX - 1;

/** A group in which nothing has ever failed is like one that was just made. */
const isWorthAsking = ({ hasNews, group }: Hot): boolean =>
  hasNews || group.table.classes.size > 0 || !group.health.up || group.health.outages.length > 0;

const nameOf = (tenant: string, name: string): string => `${tenant.length}:${tenant}${name}`;

/** The isolate's own. */
export const advisor = new Advisor();
