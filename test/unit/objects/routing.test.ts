import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { objectFor } from "../../../src/objects/routing.ts";
import { property, text } from "../property.ts";

const KEY = "0e1f5b7a-5b0c-4c7e-9d51-0b6f4f6f7a11";
const modes = [1, 2, 3, 16, 4096, "per-key"] as const;

describe("the object that holds a key", () => {
  it("49: has the name it always had: an object is found by its name alone", () => {
    expect(modes.map((mode) => objectFor("demo", KEY, mode))).toEqual([
      "bucket/4:demo/0",
      "bucket/4:demo/0",
      "bucket/4:demo/2",
      "bucket/4:demo/10",
      "bucket/4:demo/186",
      "key/4:demo/3fbd74f120baf57680996c59f3f73bcecc39184d85bb562d925d98b40f4d59db",
    ]);
  });

  it.each(modes)("9: of tenant a and key b:c is not that of tenant a:b and key c (%s)", (mode) => {
    const names = new Set([
      objectFor("a", "b:c-0000000000000", mode),
      objectFor("a:b", "c-0000000000000", mode),
      objectFor("a:b:c-0000000000000", "", mode),
      objectFor("", "a:b:c-0000000000000", mode),
    ]);
    expect(names.size).toBe(4);
  });

  it("per key is one for each key", () => {
    const names = Array.from({ length: 1_000 }, (_, i) => objectFor("demo", `key-${i}`, "per-key"));
    expect(new Set(names).size).toBe(1_000);
    expect(names[0]).toBe(objectFor("demo", "key-0", "per-key"));
  });

  it("1 for each tenant is one, whatever the key", () => {
    const names = Array.from({ length: 100 }, (_, i) => objectFor("demo", `key-${i}`, 1));
    expect(new Set(names).size).toBe(1);
    expect(objectFor("other", "key-0", 1)).not.toBe(names[0]);
  });

  it.each([2, 7, 16])("one of %i takes its even share, also of keys that count up", (n) => {
    const count = 20_000;
    const shares = new Map<string, number>();
    for (let i = 0; i < count; i++) {
      const name = objectFor("demo", `order-${String(i).padStart(10, "0")}`, n);
      shares.set(name, (shares.get(name) ?? 0) + 1);
    }
    expect(shares.size).toBe(n);
    for (const share of shares.values()) {
      // Within five standard deviations.
      expect(Math.abs(share - count / n)).toBeLessThan(5 * Math.sqrt(count / n));
    }
  });

  const name = fc.string({
    unit: fc.constantFrom("a", "b", ":", "/", "1", "0", "."),
    maxLength: 5,
  });
  property(
    "X: is never shared by two tenants, and per key by no two keys",
    fc.property(name, name, name, name, fc.constantFrom(...modes), (t, k, u, l, mode) => {
      if (t !== u) expect(objectFor(t, k, mode)).not.toBe(objectFor(u, l, mode));
      if (k !== l) expect(objectFor(t, k, "per-key")).not.toBe(objectFor(u, l, "per-key"));
    }),
    2_000,
  );

  property(
    "8: has a name without a trace of the key's text",
    fc.property(text, fc.constantFrom(...modes), (key, mode) => {
      expect(objectFor("demo", key, mode)).toMatch(
        /^(bucket\/4:demo\/\d+|key\/4:demo\/[0-9a-f]{64})$/,
      );
    }),
  );
});
