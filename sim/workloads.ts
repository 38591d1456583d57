/** The eight workloads: what is asked, and how the origin fails. */
import type { Failure } from "../src/advisor/failure.ts";
import { exponential, latencyMs, logUniform, type Random } from "./random.ts";
import type { Attempt, Call, Workload } from "./world.ts";

const MINUTE = 60_000;
const USUAL_MS = 80;

const failed = (status: number, code: string, ms: number): Attempt => ({
  latencyMs: ms,
  failure: { status, code },
});

const fine = (random: Random): Attempt => ({
  latencyMs: latencyMs(random, USUAL_MS),
  failure: undefined,
});

const steady =
  (perSecond: number) =>
  (random: Random, spanMs: number): number[] => {
    const times: number[] = [];
    for (let at = exponential(random, 1_000 / perSecond); at < spanMs;) {
      times.push(at);
      at += exponential(random, 1_000 / perSecond);
    }
    return times;
  };

/** Now and then any attempt fails, whatever became of the one before. */
const blip = (random: Random, share: number): Attempt | undefined => {
  if (random() >= share) return undefined;
  const kind = random();
  if (kind < 0.4) return failed(503, "busy", 30);
  return kind < 0.7 ? failed(0, "reset", 15) : failed(500, "", 50);
};

type Window = readonly [fromMs: number, toMs: number];

const isWithin = (windows: readonly Window[], atMs: number): boolean =>
  windows.some(([fromMs, toMs]) => atMs >= fromMs && atMs < toMs);

/** Outages of half a minute to five minutes, with a few minutes between them. */
const outagesOf = (random: Random, spanMs: number): Window[] => {
  const windows: Window[] = [];
  for (let at = 2 * MINUTE + exponential(random, 2 * MINUTE); at < spanMs - MINUTE;) {
    const to = at + logUniform(random, 30_000, 300_000);
    windows.push([at, to]);
    at = to + 3 * MINUTE + exponential(random, 6 * MINUTE);
  }
  return windows;
};

/** Every ten minutes, announced nowhere, for about a minute and a half. */
const maintenanceOf = (random: Random, spanMs: number): Window[] => {
  const windows: Window[] = [];
  for (let at = 4 * MINUTE; at < spanMs; at += 8 * MINUTE) {
    windows.push([at, at + 75_000 + 30_000 * random()]);
  }
  return windows;
};

/** A code, how often requests meet it (in hundredths), which share recovers, and the median time until it does. */
type Trouble = {
  readonly failure: Failure;
  readonly percent: number;
  readonly share: number;
  readonly medianMs: number;
};

const trouble = (
  status: number,
  code: string,
  percent: number,
  share = 0,
  medianMs = 1,
): Trouble => ({ failure: { status, code }, percent, share, medianMs });

const TROUBLES: readonly Trouble[] = [
  trouble(402, "limit_reached", 2.5),
  trouble(404, "no_route", 1.5),
  trouble(409, "conflict", 2),
  trouble(422, "invalid", 2),
  trouble(500, "bug", 2),
  trouble(409, "locked", 2, 1, 500),
  trouble(500, "deadlock", 2, 1, 300),
  trouble(503, "starting", 1.5, 1, 4_000),
  trouble(404, "not_yet", 1.5, 1, 6_000),
  trouble(500, "failover", 1.5, 1, 40_000),
  trouble(402, "settling", 1, 1, 100_000),
  trouble(502, "", 0.5, 1, 1_500),
];

/** After the drift, each of these means what its partner meant. */
const PARTNERS: Readonly<Record<string, string>> = {
  limit_reached: "settling",
  settling: "limit_reached",
  no_route: "not_yet",
  not_yet: "no_route",
  conflict: "locked",
  locked: "conflict",
  bug: "deadlock",
  deadlock: "bug",
};

type Fate = { readonly failure: Failure; readonly untilMs: number } | undefined;

const fateOf = (call: Call, drifted: boolean): Fate => {
  let drawn = call.luck() * 100;
  const recovers = call.luck();
  const after = call.luck();
  for (const { failure, percent, share, medianMs } of TROUBLES) {
    drawn -= percent;
    if (drawn >= 0) continue;
    const code = drifted ? (PARTNERS[failure.code] ?? failure.code) : failure.code;
    const untilMs =
      recovers < share
        ? call.arrivedMs - medianMs * Math.log2(1 - after)
        : Number.POSITIVE_INFINITY;
    return { failure: { status: failure.status, code }, untilMs };
  }
  return undefined;
};

/** @param driftAt from which arrival on the codes have swapped their meanings */
const codes = (driftAt: number) => (random: Random) => {
  const fates = new Map<number, Fate>();
  return {
    answer: (call: Call, nowMs: number): Attempt => {
      if (!fates.has(call.id)) fates.set(call.id, fateOf(call, call.arrivedMs >= driftAt));
      const fate = fates.get(call.id);
      if (fate !== undefined && nowMs < fate.untilMs)
        return { latencyMs: 40, failure: fate.failure };
      return fine(random);
    },
  };
};

const independent: Workload = {
  name: "a",
  title: "independent transient failures, 15 in 100",
  spanMs: 15 * MINUTE,
  arrivals: steady(10),
  origin: (random) => ({ answer: () => blip(random, 0.15) ?? fine(random) }),
};

const outages: Workload = {
  name: "b",
  title: "outages of 30 to 300 s",
  spanMs: 40 * MINUTE,
  arrivals: steady(6),
  origin: (random, spanMs) => {
    const windows = outagesOf(random, spanMs);
    return {
      answer: (call, nowMs) =>
        isWithin(windows, nowMs)
          ? call.id % 2 === 0
            ? failed(503, "unavailable", 20)
            : failed(0, "refused", 5)
          : (blip(random, 0.01) ?? fine(random)),
    };
  },
  ends: (random, spanMs) => outagesOf(random, spanMs).map(([, toMs]) => toMs),
};

/** A queue: what waits too long is given up by the caller, and worked off all the same. */
const CAPACITY = 15;
const QUEUE_MS_MAX = 12_000;
const CALLER_TIMEOUT_MS = 2_000;
const TRIGGERS: readonly Window[] = [
  [5 * MINUTE, 5.75 * MINUTE],
  [15 * MINUTE, 15.75 * MINUTE],
];

const overload: Workload = {
  name: "c",
  title: "overload that feeds on retries: capacity falls to 40 % for 45 s at 80 % load",
  spanMs: 25 * MINUTE,
  arrivals: steady(12),
  origin: (random) => {
    let freeAtMs = 0;
    return {
      answer: (_call, nowMs) => {
        const waitMs = Math.max(0, freeAtMs - nowMs);
        if (waitMs > QUEUE_MS_MAX) return failed(503, "queue_full", 10);
        const capacity = isWithin(TRIGGERS, nowMs) ? CAPACITY * 0.4 : CAPACITY;
        freeAtMs = Math.max(nowMs, freeAtMs) + 1_000 / capacity;
        const takesMs = freeAtMs - nowMs + latencyMs(random, 30);
        return takesMs > CALLER_TIMEOUT_MS
          ? failed(0, "timeout", CALLER_TIMEOUT_MS)
          : { latencyMs: takesMs, failure: undefined };
      },
    };
  },
  ends: () => TRIGGERS.map(([, toMs]) => toMs),
};

const differentCodes: Workload = {
  name: "d",
  title: "codes with different odds, one request in ten beyond help",
  spanMs: 20 * MINUTE,
  arrivals: steady(10),
  origin: codes(Number.POSITIVE_INFINITY),
};

const BURST_EVERY_MS = 2 * MINUTE;
const BURST_MS = 30_000;

const throttled: Workload = {
  name: "e",
  title: "429 without Retry-After: 10 a second taken, bursts of 18",
  spanMs: 20 * MINUTE,
  arrivals: (random, spanMs) =>
    // A burst every other minute, by leaving out of a stream that is always one.
    steady(18)(random, spanMs).filter((at) => at % BURST_EVERY_MS < BURST_MS || random() < 6 / 18),
  origin: (random) => {
    let tokens = 20;
    let atMs = 0;
    return {
      answer: (_call, nowMs) => {
        tokens = Math.min(20, tokens + (nowMs - atMs) / 100);
        atMs = nowMs;
        if (tokens < 1) return failed(429, "", 10);
        tokens -= 1;
        return fine(random);
      },
    };
  },
};

const maintenance: Workload = {
  name: "f",
  title: "maintenance windows of a minute and a half",
  spanMs: 40 * MINUTE,
  arrivals: steady(6),
  origin: (random, spanMs) => {
    const windows = maintenanceOf(random, spanMs);
    return {
      answer: (_call, nowMs) =>
        isWithin(windows, nowMs)
          ? failed(503, "maintenance", 20)
          : (blip(random, 0.01) ?? fine(random)),
    };
  },
  ends: (random, spanMs) => maintenanceOf(random, spanMs).map(([, toMs]) => toMs),
};

const drift: Workload = {
  ...differentCodes,
  name: "g",
  title: "the same, and halfway the codes swap their meanings",
  spanMs: 40 * MINUTE,
  arrivals: steady(6),
  origin: codes(20 * MINUTE),
};

const lowTraffic: Workload = {
  name: "h",
  title: "low traffic: a request in 40 s, codes as in d, outages as in b",
  spanMs: 12 * 60 * MINUTE,
  arrivals: steady(1 / 40),
  origin: (random, spanMs) => {
    const windows: Window[] = [];
    for (let at = 30 * MINUTE; at < spanMs; at += exponential(random, 90 * MINUTE)) {
      windows.push([at, at + logUniform(random, 30_000, 300_000)]);
    }
    const rest = codes(Number.POSITIVE_INFINITY)(random);
    return {
      answer: (call, nowMs) =>
        isWithin(windows, nowMs) ? failed(503, "unavailable", 20) : rest.answer(call, nowMs),
    };
  },
};

export const WORKLOADS: readonly Workload[] = [
  independent,
  outages,
  overload,
  differentCodes,
  throttled,
  maintenance,
  drift,
  lowTraffic,
];
