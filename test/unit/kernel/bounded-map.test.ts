import fc from "fast-check";
import { expect, it } from "vitest";
import { BoundedMap } from "../../../src/kernel/bounded-map.ts";
import { property } from "../property.ts";

it("forgets the entry that was longest unused, when it is full", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("c", 3);
  expect([map.get("a"), map.get("b"), map.get("c")]).toEqual([undefined, 2, 3]);
});

it("counts reading as use", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.get("a");
  map.set("c", 3);
  expect([map.get("a"), map.get("b")]).toEqual([1, undefined]);
});

it("counts writing anew as use, and makes no room for it", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  expect([map.get("b"), map.get("a")]).toEqual([2, 3]);
  map.set("a", 4);
  map.set("c", 5);
  expect([map.get("a"), map.get("b"), map.get("c")]).toEqual([4, undefined, 5]);
});

it("forgets what it is told to, and only that", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.delete("a");
  map.delete("c");
  map.set("d", 4);
  expect([map.get("a"), map.get("b"), map.get("d")]).toEqual([undefined, 2, 4]);
});

property(
  "holds exactly the last used keys, never more than its bound",
  fc.property(
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.tuple(fc.constantFrom("set", "get", "delete"), fc.nat(6)), { maxLength: 60 }),
    (max, calls) => {
      const map = new BoundedMap<number, number>(max);
      let model: [number, number][] = [];
      for (const [call, key] of calls) {
        const at = model.findIndex(([other]) => other === key);
        const value = at === -1 ? undefined : model[at]?.[1];
        if (call === "get") expect(map.get(key)).toBe(value);
        if (call === "set") map.set(key, key * 2);
        if (call === "delete") map.delete(key);
        model = model.filter(([other]) => other !== key);
        if (call === "set") model.push([key, key * 2]);
        else if (call === "get" && value !== undefined) model.push([key, value]);
        model = model.slice(-max);
      }
    },
  ),
  500,
);
