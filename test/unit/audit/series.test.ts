import { describe, expect, it } from "vitest";
import {
  BUCKETS_MS,
  Counters,
  labelOf,
  prometheusText,
  sumSeries,
} from "../../../src/audit/series.ts";
import { SERIES_MAX } from "../../../src/kernel/limits.ts";

describe("counters", () => {
  it("are written as Prometheus reads them: help, type, cumulative buckets, sum and count", () => {
    const counters = new Counters();
    counters.count("latchkey_requests_total", { operation: "payments.create", outcome: "new" });
    counters.count("latchkey_requests_total", { operation: "payments.create", outcome: "new" }, 2);
    for (const ms of [3, 7, 60_000]) counters.observe("latchkey_queue_wait_ms", {}, ms);
    const lines = prometheusText(counters.peek()).split("\n");
    expect(lines).toContain('latchkey_requests_total{operation="payments.create",outcome="new"} 3');
    expect(lines).toContain("# TYPE latchkey_queue_wait_ms histogram");
    const buckets = lines.filter((line) => line.startsWith("latchkey_queue_wait_ms_bucket"));
    expect(buckets).toHaveLength(BUCKETS_MS.length + 1);
    expect(buckets[0]).toBe('latchkey_queue_wait_ms_bucket{le="5"} 1');
    expect(buckets[1]).toBe('latchkey_queue_wait_ms_bucket{le="10"} 2');
    expect(buckets.at(-1)).toBe('latchkey_queue_wait_ms_bucket{le="+Inf"} 3');
    expect(lines).toContain("latchkey_queue_wait_ms_sum{} 60010");
    expect(lines).toContain("latchkey_queue_wait_ms_count{} 3");
  });

  it("are taken once, and summed with others", () => {
    const counters = new Counters();
    counters.count("latchkey_groups_total", {}, 2);
    const taken = counters.take();
    expect(counters.isEmpty).toBe(true);
    expect(sumSeries([taken, taken, counters.take()])).toEqual(
      new Map([["latchkey_groups_total{}", 4]]),
    );
  });

  it("are no more than their bound, whatever is counted; those that are there go on", () => {
    const counters = new Counters();
    for (let i = 0; i < SERIES_MAX + 10; i++) {
      counters.count("latchkey_requests_total", { operation: `o${i}` });
    }
    counters.count("latchkey_requests_total", { operation: "o0" });
    expect(counters.peek().size).toBe(SERIES_MAX);
    expect(counters.peek().get('latchkey_requests_total{operation="o0"}')).toBe(2);
  });

  it("hold a label's value as text, whatever is in it", () => {
    const counters = new Counters();
    counters.count("latchkey_requests_total", { operation: 'a"b\\c\nd' });
    expect(prometheusText(counters.peek())).toContain(
      String.raw`latchkey_requests_total{operation="a\"b\\c\nd"} 1`,
    );
    expect(labelOf('x{operation="a",outcome="b"}', "outcome")).toBe("b");
  });
});
