/**
 * Counters and histograms, as Prometheus writes them: a series is its name with its labels, and a histogram is counters.
 * Pure and bounded: labels come from the operations and the table of problems, never from a request.
 */
import { SERIES_MAX } from "../kernel/limits.ts";

/** What is counted, and what it means. */
export const METRICS = {
  latchkey_requests_total: {
    type: "counter",
    help: "Keyed requests by operation and what came of them: new, refused, replayed, accepted, or a problem's code.",
  },
  latchkey_request_duration_ms: {
    type: "histogram",
    help: "Milliseconds from a keyed request to its answer, as the Worker saw it.",
  },
  latchkey_queue_wait_ms: {
    type: "histogram",
    help: "Milliseconds that an operation waited in its object for a batch to the database.",
  },
  latchkey_groups_total: { type: "counter", help: "Batches sent to the database by key objects." },
  latchkey_group_operations_total: { type: "counter", help: "Operations in those batches." },
  latchkey_in_flight_age_ms: {
    type: "histogram",
    help: "Age in milliseconds of a run, whenever another request met it in flight.",
  },
  latchkey_telemetry_lost_total: {
    type: "counter",
    help: "Counts that could not be added up; they are missing from the other series.",
  },
} as const;

export type Metric = keyof typeof METRICS;

type Labels = Readonly<Record<string, string>>;

/** Upper bounds in milliseconds; what is beyond the last is counted in the sum alone, and in `+Inf`. */
export const BUCKETS_MS = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 20_000] as const;

/** Label values are names of our own, but a host names its operations as it likes. */
const escape = (value: string): string =>
  value
    .replaceAll("\\", String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll("\n", String.raw`\n`);

export const seriesOf = (name: string, labels: Labels): string =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}="${escape(value)}"`)
    .join(",")}}`;

export class Counters {
  #values = new Map<string, number>();

  count(name: Metric, labels: Labels, by = 1): void {
    this.#add(seriesOf(name, labels), by);
  }

  /** @param ms of a histogram */
  observe(name: Metric, labels: Labels, ms: number): void {
    // Only its own bucket: they are summed when they are written down, so that an observation is three series.
    const bound = BUCKETS_MS.find((one) => ms <= one);
    this.#add(
      seriesOf(`${name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : String(bound) }),
      1,
    );
    this.#add(seriesOf(`${name}_sum`, labels), Math.round(ms));
    this.#add(seriesOf(`${name}_count`, labels), 1);
  }

  #add(series: string, by: number): void {
    const known = this.#values.get(series);
    if (known === undefined && this.#values.size >= SERIES_MAX) return;
    this.#values.set(series, (known ?? 0) + by);
  }

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  /** What was counted since the last time. */
  take(): ReadonlyMap<string, number> {
    const taken = this.#values;
    this.#values = new Map();
    return taken;
  }

  /** What was counted, left where it is. */
  peek(): ReadonlyMap<string, number> {
    return this.#values;
  }
}

/** Sums of the same series. */
export const sumSeries = (
  all: readonly ReadonlyMap<string, number>[],
): ReadonlyMap<string, number> => {
  const sums = new Map<string, number>();
  for (const one of all) {
    for (const [series, value] of one) sums.set(series, (sums.get(series) ?? 0) + value);
  }
  return sums;
};

/** The text exposition format, version 0.0.4: each metric with its help and type, buckets summed up. */
export const prometheusText = (
  values: ReadonlyMap<string, number>,
  gauges: Readonly<Record<string, { readonly help: string; readonly value: number }>> = {},
): string => {
  const lines: string[] = [];
  for (const [name, { type, help }] of Object.entries(METRICS)) {
    const mine = [...values].filter(([series]) => nameOf(series, type) === name);
    if (mine.length === 0) continue;
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    const plain = mine.filter(([series]) => !series.startsWith(`${name}_bucket`));
    lines.push(...(type === "histogram" ? bucketLines(mine, name) : []));
    lines.push(...plain.map(([series, value]) => `${series} ${value}`).toSorted());
  }
  for (const [name, { help, value }] of Object.entries(gauges)) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${value}`);
  }
  return `${lines.join("\n")}\n`;
};

const nameOf = (series: string, type: "counter" | "histogram"): string => {
  const name = series.slice(0, series.indexOf("{"));
  return type === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name;
};

/** Each bucket holds what the smaller ones do (`le`); all of them are written, also those that nothing fell into. */
const bucketLines = (mine: readonly (readonly [string, number])[], name: string): string[] => {
  const own = new Map(mine);
  const labelSets = mine
    .filter(([series]) => series.startsWith(`${name}_count{`))
    .map(([series]) => series.slice(`${name}_count{`.length, -1))
    .toSorted();
  return labelSets.flatMap((labels) => {
    let sum = 0;
    return [...BUCKETS_MS.map(String), "+Inf"].map((le) => {
      const series = `${name}_bucket{${labels}${labels === "" ? "" : ","}le="${le}"}`;
      sum += own.get(series) ?? 0;
      return `${series} ${sum}`;
    });
  });
};

/** The labels of a series, for whoever reads the sums. */
export const labelOf = (series: string, label: string): string | undefined =>
  new RegExp(`[{,]${label}="([^"]*)"`).exec(series)?.[1];
