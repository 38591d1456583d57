/** The worlds that are searched: who asks for what, in how much time, and how often what may go wrong. */
import {
  ABSENCE_UNKNOWN_MS,
  BATCH_LIFE_MS,
  KEY_LIFETIME_SECONDS,
  TOMBSTONE_SECONDS,
} from "../../src/kernel/limits.ts";
import type { Kind } from "./database.ts";
import type { Faults } from "./state.ts";

export type Request = {
  readonly name: string;
  /** Index of the idempotency key. */
  readonly key: number;
  /** What is asked for: another body under the same key is another request. */
  readonly body: string;
  readonly kind: Kind;
  /** Whether the caller holds while its key is in flight. */
  readonly waits: boolean;
};

export type Scenario = {
  readonly name: string;
  readonly requests: readonly Request[];
  readonly keys: number;
  readonly stock: number;
  readonly faults: Faults;
  /** The same for the longer search, `npm run model`. */
  readonly moreFaults: Faults;
  /** The moments at which anything happens, milliseconds since the epoch. */
  readonly instants: readonly number[];
  /** Index of the instant at which the clients come. */
  readonly from: number;
  /** How long after it was sent a batch may still commit, milliseconds. */
  readonly batchLifeMs: number;
  /**
   * `both`: requests reach two incarnations at once, as two objects over one database. `latest`: the second replaces
   * the first, which does not know it and goes on with what it has.
   */
  readonly reach: "both" | "latest";
  /** Whether the state of the first key is looked up, once. */
  readonly looksUp: boolean;
};

const request = (name: string, key: number, more: Partial<Request> = {}): Request => ({
  name,
  key,
  body: "",
  kind: "guarded",
  waits: false,
  ...more,
});

const timeless = {
  keys: 2,
  stock: 1,
  instants: [0],
  from: 0,
  batchLifeMs: BATCH_LIFE_MS,
  reach: "both",
  looksUp: false,
} as const;

/** A retry and a neighbour want the last piece, through two incarnations. */
const contended: Scenario = {
  ...timeless,
  name: "contended",
  requests: [request("ann", 0), request("ann again", 0, { waits: true }), request("ben", 1)],
  faults: { crash: 1, silence: 1, again: 1, unread: 0, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 1, unread: 1, leave: 0 },
};

/** Two requests under one key, of which one is not the key's; there is enough for all. */
const mismatched: Scenario = {
  ...timeless,
  stock: 3,
  name: "mismatched",
  requests: [request("ann", 0, { body: "x" }), request("eve", 0, { body: "y" }), request("ben", 1)],
  faults: { crash: 1, silence: 1, again: 0, unread: 1, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 1, unread: 0, leave: 0 },
};

/** A constraint that no guard foresaw undoes the batch. */
const undone: Scenario = {
  ...timeless,
  name: "undone",
  requests: [
    request("ann", 0, { kind: "unguarded" }),
    request("ann again", 0, { kind: "unguarded" }),
    request("ben", 1),
  ],
  faults: { crash: 0, silence: 1, again: 1, unread: 0, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 1, unread: 0, leave: 0 },
};

/** One lost answer after the other: late sends, and sends again; nothing but the claim stands in their way. */
const resent: Scenario = {
  ...timeless,
  stock: 9,
  name: "resent",
  requests: [request("ann", 0), request("ben", 1)],
  faults: { crash: 0, silence: 2, again: 1, unread: 1, leave: 0 },
  moreFaults: { crash: 0, silence: 3, again: 1, unread: 1, leave: 0 },
};

/** The same, and nothing is delivered twice. */
const late: Scenario = {
  ...resent,
  name: "late",
  faults: { ...resent.faults, again: 0 },
  moreFaults: { ...resent.moreFaults, again: 0 },
};

/** Plans that rely on what they read. */
const replanned: Scenario = {
  ...timeless,
  name: "replanned",
  stock: 2,
  requests: [
    request("ann", 0, { kind: "planned" }),
    request("ann again", 0, { kind: "planned" }),
    request("ben", 1),
  ],
  faults: { crash: 0, silence: 1, again: 1, unread: 0, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 1, unread: 0, leave: 0 },
};

/** The same, and a caller leaves. */
const left: Scenario = {
  ...replanned,
  name: "left",
  faults: { crash: 0, silence: 1, again: 0, unread: 0, leave: 1 },
  moreFaults: { crash: 0, silence: 1, again: 1, unread: 0, leave: 1 },
};

const lifetimeMs = KEY_LIFETIME_SECONDS * 1000;
const tombstoneMs = TOMBSTONE_SECONDS * 1000;

/** A key from its claim over its expiry and its tombstone to its next life. Batches come weeks late. */
const expiring: Scenario = {
  ...timeless,
  name: "expiring",
  keys: 1,
  requests: [request("ann", 0), request("ann again", 0), request("ann later", 0)],
  stock: 2,
  faults: { crash: 1, silence: 1, again: 0, unread: 0, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 1, unread: 0, leave: 0 },
  instants: [0, lifetimeMs - 1, lifetimeMs, lifetimeMs + tombstoneMs],
  batchLifeMs: tombstoneMs,
};

/** The second incarnation replaces the first, and says when a key is free. */
const looked: Scenario = {
  ...timeless,
  name: "looked-up",
  keys: 1,
  requests: [request("ann", 0), request("ann again", 0)],
  faults: { crash: 0, silence: 1, again: 0, unread: 1, leave: 0 },
  moreFaults: { crash: 1, silence: 1, again: 0, unread: 1, leave: 0 },
  reach: "latest",
  looksUp: true,
  from: 1,
  instants: [
    0,
    ABSENCE_UNKNOWN_MS + 1_000,
    ABSENCE_UNKNOWN_MS + 5_000,
    ABSENCE_UNKNOWN_MS + 6_000,
    ABSENCE_UNKNOWN_MS + 4_999 + BATCH_LIFE_MS,
    ABSENCE_UNKNOWN_MS + 6_000 + BATCH_LIFE_MS,
    2 * ABSENCE_UNKNOWN_MS + 1_000,
    2 * ABSENCE_UNKNOWN_MS + 6_000,
  ],
};

export const SCENARIOS: readonly Scenario[] = [
  contended,
  mismatched,
  undone,
  resent,
  late,
  replanned,
  left,
  expiring,
  looked,
];

export const scenarioNamed = (name: string): Scenario => {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`There is no scenario ${name}.`);
  return scenario;
};
