import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IdSource, systemRandomness, timeOrderedId } from "../../../src/kernel/ids.ts";
import { property } from "../property.ts";

const zeros = (bytes: Uint8Array): void => {
  bytes.fill(0);
};
const ones = (bytes: Uint8Array): void => {
  bytes.fill(255);
};

/** The last millisecond that 48 bits hold. */
const TIME_MAX = 2 ** 48 - 1;

describe("a time-ordered id", () => {
  it("is a ULID in lower case: its specification's example time reads the same", () => {
    expect(timeOrderedId(1_469_918_176_385, zeros)).toBe(`01aryz6s41${"0".repeat(16)}`);
    expect(timeOrderedId(0, zeros)).toBe("0".repeat(26));
    expect(timeOrderedId(TIME_MAX, ones)).toBe(`7${"z".repeat(25)}`);
  });

  it("has 26 characters that need escaping nowhere", () => {
    for (const ms of [0, 1, Date.now(), TIME_MAX]) {
      expect(timeOrderedId(ms, systemRandomness)).toMatch(/^[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    }
  });

  property(
    "of a later millisecond sorts after, whatever the randomness",
    fc.property(
      fc.integer({ min: 0, max: TIME_MAX - 1 }),
      fc.integer({ min: 1, max: 1_000 }),
      (ms, by) => {
        const later = Math.min(ms + by, TIME_MAX);
        expect(timeOrderedId(ms, ones) < timeOrderedId(later, zeros)).toBe(true);
      },
    ),
    1_000,
  );

  property(
    "takes all of its 80 random bits from the randomness it is given",
    fc.property(fc.array(fc.nat(31), { minLength: 16, maxLength: 16 }), (values) => {
      const fill = (bytes: Uint8Array) => bytes.set(values);
      const digits = "0123456789abcdefghjkmnpqrstvwxyz";
      expect(timeOrderedId(0, fill).slice(10)).toBe(values.map((v) => digits.charAt(v)).join(""));
    }),
  );

  it("is unique: 20,000 of one millisecond, without a repetition", () => {
    const ids = new Set<string>();
    for (let i = 0; i < 20_000; i++) ids.add(timeOrderedId(1_800_000_000_000, systemRandomness));
    expect(ids.size).toBe(20_000);
  });
});

describe("the ids of one request", () => {
  const counting = () => {
    let minted = 0;
    return new IdSource(() => `id${(minted += 1)}`);
  };

  it("differ, and carry their prefix", () => {
    const ids = counting();
    expect([ids.next("pay"), ids.next("mov"), ids.next("pay")]).toEqual([
      "pay_id1",
      "mov_id2",
      "pay_id3",
    ]);
  });

  it("51: are the same ones, in the same order, for every plan of the request", () => {
    const ids = counting();
    const first = [ids.next("a"), ids.next("b"), ids.next("c")];
    ids.rewind();
    expect([ids.next("a"), ids.next("b"), ids.next("c")]).toEqual(first);
  });

  it("51: a plan that asks for more gets new ones behind those it had", () => {
    const ids = counting();
    ids.next("a");
    ids.rewind();
    expect([ids.next("a"), ids.next("a")]).toEqual(["a_id1", "a_id2"]);
    ids.rewind();
    expect(ids.next("b")).toBe("b_id1");
  });
});
