import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Gather } from "../../../src/kernel/gather.ts";
import { Moment, type Pause } from "../../../src/kernel/moment.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** As the runtime's, by the faked clock. */
const pause: Pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Error("aborted"));
    });
  });

/** Names who went on, in order. */
const waiting = (gather: Gather) => {
  const order: string[] = [];
  return {
    order,
    come: (name: string) => void gather.end().then(() => order.push(name)),
  };
};

it("whoever comes within a moment goes on in the same turn; who comes later has a moment of its own", async () => {
  const { order, come } = waiting(new Gather(10, 100, pause));
  come("a");
  await vi.advanceTimersByTimeAsync(9);
  come("b");
  expect(order).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(order).toEqual(["a", "b"]);
  come("c");
  await vi.advanceTimersByTimeAsync(9);
  expect(order).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(order).toEqual(["a", "b", "c"]);
});

it("enough of them wait for no more, and leave the next a whole moment", async () => {
  const { order, come } = waiting(new Gather(10, 2, pause));
  come("a");
  await vi.advanceTimersByTimeAsync(5);
  come("b");
  come("c");
  await vi.advanceTimersByTimeAsync(0);
  expect(order).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(9);
  expect(order).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(order).toEqual(["a", "b", "c"]);
  expect(vi.getTimerCount()).toBe(0);
});

it("a moment that is ended leaves no timer, and to end none does nothing", async () => {
  const moment = new Moment(pause);
  moment.end();
  const over = moment.last(10);
  moment.end();
  await over;
  expect(vi.getTimerCount()).toBe(0);
  moment.end();
});
