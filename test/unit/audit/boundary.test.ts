/** The boundary monitor over simulated traffic: time is counted in samples of 15 seconds, and all chance is seeded. */
import { describe, expect, it } from "vitest";
import {
  departureSentence,
  type Departure,
  type Learned,
  observe,
  recommendKeyObjects,
  type Sample,
  samplesOf,
} from "../../../src/audit/boundary.ts";
import { Random } from "../../support/crash-random.ts";

const SAMPLES_A_MINUTE = 4;
const SEED = Number(process.env["BOUNDARY_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** Hours of traffic, each of a seed of its own. */
const HOURS = Array.from({ length: 12 }, (_, i) => SEED + i);

/** How many of `n` happen, each with this probability; many by the normal approximation. */
const binomial = (random: Random, n: number, p: number): number => {
  if (n * p > 50)
    return Math.max(
      0,
      Math.min(n, Math.round(n * p + Math.sqrt(n * p * (1 - p)) * normal(random))),
    );
  let count = 0;
  for (let i = 0; i < n; i++) if (random.chance(p)) count += 1;
  return count;
};

const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());

type Traffic = {
  /** Requests a minute. */
  readonly rate: number;
  readonly replayed: number;
  readonly mismatched: number;
  readonly contended: number;
  readonly ageMs: number;
};

/** A busy operation, a middling one and a rare one. */
const NORMAL: Readonly<Record<string, Traffic>> = {
  "payments.create": {
    rate: 3_000,
    replayed: 0.03,
    mismatched: 0.000_5,
    contended: 0.01,
    ageMs: 40,
  },
  "orders.create": { rate: 300, replayed: 0.02, mismatched: 0.001, contended: 0.02, ageMs: 120 },
  "accounts.create": { rate: 8, replayed: 0.02, mismatched: 0.001, contended: 0.01, ageMs: 60 },
};

/** What one sample of traffic comes to: loads swell and fall, clients come back in bursts, some runs take long. */
const sampleOf = (random: Random, traffic: Traffic, at: number): Sample => {
  const swell =
    1 + 0.4 * Math.sin((2 * Math.PI * at) / (60 * SAMPLES_A_MINUTE)) + 0.1 * normal(random);
  const requests = binomial(
    random,
    Math.max(1, Math.round((traffic.rate / SAMPLES_A_MINUTE) * 2 * Math.max(0.1, swell))),
    0.5,
  );
  // A network that stumbles: replays come together.
  const burst = random.chance(0.03) ? 1 + 2 * random.next() : 1;
  const contended = binomial(random, requests, Math.min(1, traffic.contended * burst));
  let metAgeMs = 0;
  for (let i = 0; i < contended; i++) metAgeMs += traffic.ageMs * Math.exp(0.6 * normal(random));
  return {
    requests,
    replayed: binomial(random, requests, Math.min(1, traffic.replayed * burst)),
    mismatched: binomial(random, requests, traffic.mismatched),
    contended,
    metAgeMs,
  };
};

const samplesAt = (
  random: Random,
  at: number,
  traffic: Readonly<Record<string, Traffic>> = NORMAL,
): Record<string, Sample> =>
  Object.fromEntries(
    Object.entries(traffic).map(([name, one]) => [name, sampleOf(random, one, at)]),
  );

/** What an hour of normal traffic teaches, and what it alarmed. */
const hourOf = (random: Random, learned: Learned, from: number) => {
  const alarms: Departure[] = [];
  let known = learned;
  for (let at = from; at < from + 60 * SAMPLES_A_MINUTE; at++) {
    const seen = observe(known, samplesAt(random, at));
    alarms.push(...seen.departures);
    known = seen.learned;
  }
  return { learned: known, alarms };
};

const ANOMALIES: Readonly<
  Record<
    string,
    {
      readonly traffic: Readonly<Record<string, Traffic>>;
      readonly figure: Departure["figure"];
      readonly operation: string;
    }
  >
> = {
  "an upstream that is stuck": {
    traffic: {
      ...NORMAL,
      "orders.create": {
        rate: 300,
        replayed: 0.02,
        mismatched: 0.001,
        contended: 0.3,
        ageMs: 8_000,
      },
    },
    figure: "in-flight-age",
    operation: "orders.create",
  },
  "a client that reuses keys": {
    traffic: {
      ...NORMAL,
      "payments.create": {
        rate: 3_100,
        replayed: 0.03,
        mismatched: 0.08,
        contended: 0.01,
        ageMs: 40,
      },
    },
    figure: "mismatched",
    operation: "payments.create",
  },
  "a client that reuses keys, of a quieter operation": {
    traffic: {
      ...NORMAL,
      "orders.create": { rate: 350, replayed: 0.02, mismatched: 0.25, contended: 0.02, ageMs: 120 },
    },
    figure: "mismatched",
    operation: "orders.create",
  },
  "a retry storm": {
    traffic: {
      ...NORMAL,
      "payments.create": {
        rate: 12_000,
        replayed: 0.75,
        mismatched: 0.000_5,
        contended: 0.05,
        ageMs: 40,
      },
    },
    figure: "replayed",
    operation: "payments.create",
  },
};

describe("the boundary monitor", () => {
  it(`gives at most one alarm in an hour of normal traffic, in each of ${HOURS.length} (seed ${SEED})`, () => {
    const alarms = HOURS.map((seed) => {
      const random = new Random(seed);
      const first = hourOf(random, {}, 0);
      const second = hourOf(random, first.learned, 60 * SAMPLES_A_MINUTE);
      return [first.alarms.length, second.alarms.length];
    }).flat();
    expect(Math.max(...alarms), `alarms by hour: ${alarms.join(" ")}`).toBeLessThanOrEqual(1);
  });

  it.each(Object.entries(ANOMALIES))(`catches %s within a minute (seed ${SEED})`, (_, anomaly) => {
    for (const seed of HOURS) {
      const random = new Random(seed);
      const { learned } = hourOf(random, {}, 0);
      const caught: Departure[] = [];
      let known = learned;
      for (let i = 0; i < SAMPLES_A_MINUTE; i++) {
        const seen = observe(known, samplesAt(random, 240 + i, anomaly.traffic));
        caught.push(...seen.departures);
        known = seen.learned;
      }
      expect(caught).toContainEqual(
        expect.objectContaining({ operation: anomaly.operation, figure: anomaly.figure }),
      );
      for (const one of caught) {
        expect(one.found).toBeGreaterThan(one.limit);
        expect(departureSentence(one)).toMatch(/\d/);
      }
    }
  });

  it("says nothing before it has learned, and takes what lasts for half an hour as usual", () => {
    const random = new Random(SEED);
    const storm = ANOMALIES["a retry storm"]?.traffic ?? NORMAL;
    expect(observe({}, samplesAt(random, 0, storm)).departures).toEqual([]);
    let { learned } = hourOf(random, {}, 0);
    const departed: number[] = [];
    for (let at = 0; at < 240; at++) {
      const seen = observe(learned, samplesAt(random, at, storm));
      if (seen.departures.some(({ figure }) => figure === "replayed")) departed.push(at);
      learned = seen.learned;
    }
    expect(departed.filter((at) => at < 119)).toHaveLength(118);
    // Bursts of the new usual, at most.
    expect(departed.filter((at) => at >= 119).length).toBeLessThan(20);
  });

  it("does not learn from what departs: an anomaly that comes back alarms again", () => {
    const random = new Random(SEED);
    const reuse = ANOMALIES["a client that reuses keys"]?.traffic ?? NORMAL;
    let { learned } = hourOf(random, {}, 0);
    for (let times = 0; times < 3; times++) {
      const first = observe(learned, samplesAt(random, times, reuse));
      expect(first.departures, "one sample is a stumble").toEqual([]);
      const second = observe(first.learned, samplesAt(random, times, reuse));
      expect(second.departures.map(({ figure }) => figure)).toEqual(["mismatched"]);
      learned = observe(second.learned, samplesAt(random, times)).learned;
    }
  });
});

describe("the number of objects that is recommended", () => {
  const queue = (groups: number, size: number, waitMs: number) => ({
    groups,
    operations: groups * size,
    waitedMs: groups * size * waitMs,
  });

  it.each([
    ["twice as many where operations wait long in full groups", 1, queue(500, 60, 120), 2],
    ["half as many where they seldom meet", 8, queue(500, 1.1, 1), 4],
    ["the same where groups are large and nobody waits", 4, queue(500, 30, 10), 4],
    ["the same where there is too little to judge", 4, queue(10, 60, 500), 4],
    ["never less than one", 1, queue(500, 1, 0), 1],
    ["none for one object a key", "per-key" as const, queue(500, 60, 500), "per-key"],
  ])("is %s", (_, present, figures, recommended) => {
    expect(recommendKeyObjects(present, figures)).toBe(recommended);
  });
});

it("what counters gained is what was seen between two readings; a counter that fell was begun anew", () => {
  const requests = (outcome: string) =>
    `latchkey_requests_total{operation="o",outcome="${outcome}"}`;
  const before = { [requests("new")]: 10, [requests("replayed")]: 50 };
  const now = new Map([
    [requests("new"), 17],
    [requests("replayed"), 3],
    [requests("idempotency-key-reused"), 2],
    ['latchkey_in_flight_age_ms_count{operation="o"}', 4],
    ['latchkey_in_flight_age_ms_sum{operation="o"}', 400],
    ["latchkey_groups_total{}", 5],
    ["latchkey_group_operations_total{}", 9],
    ["latchkey_queue_wait_ms_sum{}", 90],
  ]);
  expect(samplesOf(before, now)).toEqual({
    samples: { o: { requests: 9, replayed: 0, mismatched: 2, contended: 4, metAgeMs: 400 } },
    queue: { groups: 5, operations: 9, waitedMs: 90 },
  });
});
