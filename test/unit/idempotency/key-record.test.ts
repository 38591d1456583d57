import { describe, expect, it } from "vitest";
import {
  type Asking,
  decide,
  type Decision,
  isExpired,
  isSettled,
  type KeyKnowledge,
  type KeyRecord,
} from "../../../src/idempotency/key-record.ts";

const EXPIRES_AT_S = 1_800_000_000;
const members = { amountMinor: "hash" };
const response = { status: 201, headers: { "content-type": "application/json" }, body: "{}" };
const claimed = {
  fingerprintVersion: 1,
  fingerprint: "mine",
  members,
  expiresAtS: EXPIRES_AT_S,
  link: "/v1/payments/pay_1",
};

const record = (state: KeyRecord["state"]): KeyRecord =>
  state === "final" ? { ...claimed, state, response } : { ...claimed, state };

const known: Readonly<Record<string, KeyKnowledge>> = {
  free: { kind: "free" },
  running: { kind: "running", fingerprint: "mine", fingerprintVersion: 1, members },
  accepted: { kind: "accepted", fingerprint: "mine", fingerprintVersion: 1, members },
  final: { kind: "record", record: record("final") },
  "in-flight": { kind: "record", record: record("in-flight") },
  uncertain: { kind: "record", record: record("uncertain") },
  erased: { kind: "record", record: record("erased") },
  expired: { kind: "record", record: record("expired") },
};

/** What the asking request's fingerprint is, in the version of the record. */
const prints = { same: "mine", other: "another", unknown: undefined } as const;

/** Offsets from the expiry, milliseconds; the whole second itself is expired. */
const BEFORE = [-EXPIRES_AT_S * 1000, -1_000, -1];
const FROM_ON = [0, 1, 999, 1_000, 10 ** 11];

const ask = (print: keyof typeof prints, waits: boolean): Asking => ({
  fingerprintIn: () => prints[print],
  waits,
});

type Cell = {
  readonly state: string;
  readonly print: keyof typeof prints;
  /** Said for a caller who waits and for one who does not. */
  readonly decided: (waits: boolean, expired: boolean) => Decision;
  readonly so: string;
};

const always = (decision: Decision) => () => decision;
const mismatch = always({ do: "mismatch", members });
const unreadable = always({ do: "unreadable" });

/** Every state of a key, against every relation of the two fingerprints. */
const table: readonly Cell[] = [
  { state: "free", print: "same", so: "starts", decided: always({ do: "start" }) },
  { state: "free", print: "other", so: "starts", decided: always({ do: "start" }) },
  { state: "free", print: "unknown", so: "starts", decided: always({ do: "start" }) },
  {
    state: "running",
    print: "same",
    so: "waits if it asked to, and is told otherwise",
    decided: (waits) => (waits ? { do: "wait" } : { do: "in-flight" }),
  },
  { state: "running", print: "other", so: "is a mismatch, not in flight", decided: mismatch },
  { state: "running", print: "unknown", so: "is unreadable", decided: unreadable },
  {
    state: "accepted",
    print: "same",
    so: "starts: nobody runs it at the moment",
    decided: always({ do: "start" }),
  },
  { state: "accepted", print: "other", so: "12: is a mismatch, not a start", decided: mismatch },
  {
    state: "accepted",
    print: "unknown",
    so: "81: is unreadable, never a run",
    decided: unreadable,
  },
  {
    state: "final",
    print: "same",
    so: "56: replays until the millisecond before the expiry, and is expired from it on",
    decided: (_, expired) =>
      expired
        ? { do: "expired", link: claimed.link }
        : { do: "replay", response, expiresAtS: EXPIRES_AT_S },
  },
  { state: "final", print: "other", so: "12: is a mismatch, expired or not", decided: mismatch },
  { state: "final", print: "unknown", so: "81: is unreadable, never a run", decided: unreadable },
  {
    state: "in-flight",
    print: "same",
    so: "44: is recovered: its run is gone",
    decided: always({ do: "recover", record: record("in-flight") }),
  },
  { state: "in-flight", print: "other", so: "is a mismatch, not in flight", decided: mismatch },
  { state: "in-flight", print: "unknown", so: "is unreadable", decided: unreadable },
  { state: "uncertain", print: "same", so: "is uncertain", decided: always({ do: "uncertain" }) },
  {
    state: "uncertain",
    print: "other",
    so: "is a mismatch: its fate is not told",
    decided: mismatch,
  },
  { state: "uncertain", print: "unknown", so: "is unreadable", decided: unreadable },
  {
    state: "erased",
    print: "same",
    so: "69: is erased until it is expired, with the link, and never starts",
    decided: (_, expired) => ({ do: expired ? "expired" : "erased", link: claimed.link }),
  },
  { state: "erased", print: "other", so: "69: is a mismatch still", decided: mismatch },
  { state: "erased", print: "unknown", so: "81: is unreadable, never a run", decided: unreadable },
  {
    state: "expired",
    print: "same",
    so: "is expired, with the link, whatever the clock says",
    decided: always({ do: "expired", link: claimed.link }),
  },
  {
    state: "expired",
    print: "other",
    so: "is a mismatch: the link is not told",
    decided: mismatch,
  },
  { state: "expired", print: "unknown", so: "is unreadable", decided: unreadable },
];

describe("the decision", () => {
  it.each(table)("a key that is $state, fingerprint $print: $so", ({ state, print, decided }) => {
    const knowledge = known[state];
    if (knowledge === undefined) throw new Error(state);
    for (const waits of [false, true]) {
      for (const offset of [...BEFORE, ...FROM_ON]) {
        const decision = decide(knowledge, ask(print, waits), EXPIRES_AT_S * 1000 + offset);
        expect(decision, `waits ${waits}, ${offset} ms`).toEqual(decided(waits, offset >= 0));
      }
    }
  });

  it("is listed above for every state and every relation of fingerprints", () => {
    const cells = new Set(table.map(({ state, print }) => `${state} ${print}`));
    expect(cells.size).toBe(table.length);
    expect(cells.size).toBe(Object.keys(known).length * Object.keys(prints).length);
  });

  it("58: never starts, waits or replays because of a clock alone, however wrong it is", () => {
    for (const state of ["in-flight", "uncertain", "erased", "expired", "final"]) {
      const knowledge = known[state];
      if (knowledge === undefined) throw new Error(state);
      for (const nowMs of [0, -1, Number.MAX_SAFE_INTEGER]) {
        expect(decide(knowledge, ask("same", true), nowMs).do).not.toMatch(/start|wait/);
      }
    }
  });

  it("81: asks for the fingerprint in the version of the record, not in its own", () => {
    const versions: number[] = [];
    const knowledge: KeyKnowledge = {
      kind: "record",
      record: { ...claimed, state: "final", response, fingerprintVersion: 7, fingerprint: "v7" },
    };
    const asking: Asking = {
      fingerprintIn: (version) => {
        versions.push(version);
        return version === 7 ? "v7" : "another";
      },
      waits: false,
    };
    expect(decide(knowledge, asking, 0).do).toBe("replay");
    expect(versions).toEqual([7]);
  });

  it("a free key's fingerprint is not asked for: there is nothing to compare it with", () => {
    const asking: Asking = {
      fingerprintIn: () => {
        throw new Error("asked");
      },
      waits: true,
    };
    expect(decide({ kind: "free" }, asking, 0)).toEqual({ do: "start" });
  });

  it("an expired refusal made nothing, and links to nothing", () => {
    const refused: KeyKnowledge = {
      kind: "record",
      record: { ...claimed, state: "expired", link: null },
    };
    expect(decide(refused, ask("same", false), 0)).toEqual({ do: "expired", link: null });
  });
});

describe("56: expiry is a whole second", () => {
  it.each([
    [-1, false],
    [0, true],
    [1, true],
  ])("%i ms from it: expired is %s", (offset, expired) => {
    expect(isExpired({ expiresAtS: EXPIRES_AT_S }, EXPIRES_AT_S * 1000 + offset)).toBe(expired);
  });
});

it.each([
  ["final", true],
  ["erased", true],
  ["expired", true],
  ["in-flight", false],
  ["uncertain", false],
] as const)("a record that is %s is settled, so that it may be copied: %s", (state, settled) => {
  expect(isSettled(record(state))).toBe(settled);
});
