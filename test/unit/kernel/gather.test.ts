import { expect, it } from "vitest";
import { Gather } from "../../../src/kernel/gather.ts";

it("whoever comes within a moment goes on in the same turn; who comes later has a moment of its own", async () => {
  const ends: (() => void)[] = [];
  const gather = new Gather(() => new Promise((resolve) => ends.push(resolve)));
  const order: string[] = [];
  const first = gather.end().then(() => order.push("a"));
  const second = gather.end().then(() => order.push("b"));
  expect(ends).toHaveLength(1);
  expect(order).toEqual([]);
  ends[0]?.();
  await Promise.all([first, second]);
  expect(order).toEqual(["a", "b"]);
  const third = gather.end();
  expect(ends).toHaveLength(2);
  ends[1]?.();
  await third;
});
