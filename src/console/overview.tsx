/**
 * How it goes, in figures and two charts. Figures of the books are those of the last reconciliation, said with its age:
 * to sum them for a page would read all of them.
 */
import type { FC } from "hono/jsx";
import { z } from "zod";
import { RECONCILIATION } from "../audit/reconcile.ts";
import { parseReconciliation } from "../audit/reconciliation.ts";
import type { Database } from "../journal/database.ts";
import { countOpenIssues } from "../journal/issues.ts";
import { type Activity, countOpenKeys, readActivity } from "../journal/request-log.ts";
import { readScheduledState } from "../journal/scheduled-state.ts";
import { CONSOLE_CHART_BARS, IN_FLIGHT_TOO_LONG_MS } from "../kernel/limits.ts";
import { Lines, StackedBars } from "./chart.tsx";
import { count, duration, linkTo, Time } from "./format.tsx";
import { Tabs } from "./parts.tsx";
import { A } from "./place.tsx";
import { parseTally, sumOf } from "./tally.ts";
import type { PageDefinition } from "./visit.tsx";

const RANGES = {
  "15m": { name: "15 minutes", ms: 15 * 60_000 },
  "1h": { name: "1 hour", ms: 3_600_000 },
  "24h": { name: "24 hours", ms: 24 * 3_600_000 },
  "7d": { name: "7 days", ms: 7 * 24 * 3_600_000 },
} as const;
type Range = keyof typeof RANGES;

const search = z.object({
  range: z.enum(Object.keys(RANGES) as [Range, ...Range[]]).default("1h"),
});

type Search = z.output<typeof search>;

export const overview: PageDefinition<Search> = {
  name: "console.overview",
  anyOf: ["ops:read", "ops:support", "ops:act"],
  search,
  everywhere: true,
  noted: ({ range }) => ({ range }),
  view: async ({ databases, nowMs }, { range }) => {
    const barMs = Math.ceil(RANGES[range].ms / CONSOLE_CHART_BARS);
    // Whole bars, the last of which is not full yet.
    const lastBar = Math.floor(nowMs / barMs);
    const firstBar = lastBar - CONSOLE_CHART_BARS + 1;
    const all = await Promise.all(
      databases.map(async ([, db]) => readDatabase(db, firstBar * barMs, barMs, nowMs)),
    );
    const bars = barsOf(
      all.map(({ activity }) => activity),
      firstBar,
      barMs,
    );
    const sum = (pick: (one: (typeof all)[number]) => number): number =>
      all.reduce((total, one) => total + pick(one), 0);
    const total = (name: "created" | "replayed" | "conflicts" | "refused" | "failed"): number =>
      bars.reduce((before, bar) => before + bar[name], 0);
    const kinds = (...names: readonly string[]): number =>
      sum(({ issues }) => names.reduce((before, name) => before + (issues[name] ?? 0), 0));
    const checkedAtMs = all.map(({ checkedMs }) => checkedMs);
    const oldest = checkedAtMs.includes(null)
      ? null
      : Math.min(...checkedAtMs.map((one) => one ?? 0));
    const cutMs = Math.max(0, ...all.map(({ activity }) => activity.sinceMs ?? 0));
    const labels = bars.map(({ startMs }) => labelOf(startMs, range));
    return {
      title: "Overview",
      main: (
        <>
          <h1>Overview</h1>
          <h2 class="unseen">Must be looked at</h2>
          <ul class="figures">
            <Figure
              name="In flight"
              value={sum(({ open }) => open.inFlight)}
              href="/console/requests?state=in-flight"
            />
            <Figure
              name="Stuck"
              value={sum(({ open }) => open.stuck)}
              href="/console/requests?state=in-flight"
              isBadAbove={0}
            />
            <Figure
              name="Uncertain"
              value={sum(({ open }) => open.uncertain)}
              href="/console/requests?state=uncertain"
              isBadAbove={0}
            />
            <Figure
              name="Ledger imbalance"
              value={kinds("ledger-imbalance")}
              href="/console/issues"
              isBadAbove={0}
              unchecked={oldest === null}
              must="must be 0"
            />
            <Figure
              name="Oversold"
              value={kinds("stock-negative")}
              href="/console/issues"
              isBadAbove={0}
              unchecked={oldest === null}
              must="must be 0"
            />
            <Figure
              name="Open issues"
              value={sum(({ issues }) => Object.values(issues).reduce((a, b) => a + b, 0))}
              href="/console/issues"
              isBadAbove={0}
            />
          </ul>
          <p class="note">
            {oldest === null ? (
              "The reconciliation has not ended a pass yet: imbalance and oversold are not known."
            ) : (
              <>
                Imbalance and oversold are as of the last whole reconciliation, at{" "}
                <Time ms={oldest} />, {duration(Math.max(0, nowMs - oldest))} ago.
              </>
            )}
          </p>
          <h2>The last {RANGES[range].name}</h2>
          <Tabs
            label="Time range"
            tabs={Object.entries(RANGES).map(([value, { name }]) => ({
              title: name,
              href: linkTo("/console", { range: value }),
              isCurrent: value === range,
            }))}
          />
          <ul class="figures">
            <Figure
              name="New"
              value={total("created")}
              href={`/console/requests?state=done&range=${range}`}
            />
            <Figure
              name="Replays saved"
              value={total("replayed")}
              href={`/console/requests?state=retries&range=${range}`}
            />
            <Figure
              name="Conflicts"
              value={total("conflicts")}
              href={`/console/requests?state=retries&range=${range}`}
            />
            <Figure
              name="Refusals"
              value={total("refused")}
              href={`/console/requests?state=refused&range=${range}`}
            />
            <Figure
              name="5xx"
              value={total("failed")}
              href={`/console/requests?state=retries&range=${range}`}
              isBadAbove={0}
            />
          </ul>
          {cutMs > 0 && (
            <p class="note">
              Only the newest rows of the audit log are looked at, those since <Time ms={cutMs} />.
            </p>
          )}
          <div class="charts">
            <StackedBars
              title="Requests"
              unit=""
              labels={labels}
              series={[
                { name: "new", tone: "new", values: bars.map((bar) => bar.created) },
                { name: "replayed", tone: "replayed", values: bars.map((bar) => bar.replayed) },
                { name: "conflict", tone: "conflict", values: bars.map((bar) => bar.conflicts) },
                { name: "refused", tone: "refused", values: bars.map((bar) => bar.refused) },
              ]}
            />
            <Lines
              title="Time to the commit"
              unit="ms"
              labels={labels}
              series={[
                { name: "p50", tone: "new", values: bars.map((bar) => bar.p50) },
                { name: "p95", tone: "conflict", values: bars.map((bar) => bar.p95) },
              ]}
            />
          </div>
        </>
      ),
    };
  },
};

const readDatabase = async (db: Database, fromMs: number, barMs: number, nowMs: number) => {
  const [activity, open, issues, reconciliation] = await Promise.all([
    readActivity(db, fromMs, barMs),
    countOpenKeys(db, nowMs - IN_FLIGHT_TOO_LONG_MS),
    countOpenIssues(db),
    readScheduledState(db, RECONCILIATION),
  ]);
  const { last } = parseReconciliation(reconciliation.state);
  return { activity, open, issues, checkedMs: last?.finishedAtMs ?? null };
};

type BarSums = {
  readonly startMs: number;
  readonly created: number;
  readonly refused: number;
  readonly replayed: number;
  readonly conflicts: number;
  readonly failed: number;
  /** Milliseconds. Of several databases the slowest: percentiles do not add up. */
  readonly p50: number | null;
  readonly p95: number | null;
};

const add = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

const slowest = (numbers: readonly (number | null)[]): number | null => {
  const known = numbers.filter((one) => one !== null);
  return known.length === 0 ? null : Math.max(...known);
};

const barsOf = (all: readonly Activity[], firstBar: number, barMs: number): BarSums[] =>
  Array.from({ length: CONSOLE_CHART_BARS }, (_, i) => {
    const bar = firstBar + i;
    const rows = all.flatMap(({ bars }) => bars.filter((one) => one.bar === bar));
    const tallies = all
      .flatMap(({ tallies: some }) => some)
      .filter(({ atMs }) => Math.floor(atMs / barMs) === bar)
      .map(({ detail }) => sumOf(Object.values(parseTally(detail).answers)));
    return {
      startMs: bar * barMs,
      created: add(rows.map(({ effects }) => effects)),
      refused: add(rows.map(({ refusals }) => refusals)),
      replayed: add(tallies.map(({ replayed }) => replayed)),
      conflicts: add(tallies.map(({ conflicts }) => conflicts)),
      failed: add([...rows.map(({ failed }) => failed), ...tallies.map(({ failed }) => failed)]),
      p50: slowest(rows.map(({ p50 }) => p50)),
      p95: slowest(rows.map(({ p95 }) => p95)),
    };
  });

const labelOf = (ms: number, range: Range): string => {
  const iso = new Date(ms).toISOString();
  return range === "7d" ? iso.slice(5, 16).replace("T", " ") : iso.slice(11, 16);
};

const Figure: FC<{
  name: string;
  value: number;
  href: string;
  isBadAbove?: number;
  unchecked?: boolean;
  must?: string;
}> = ({ name, value, href, isBadAbove, unchecked = false, must }) => (
  <li class={isBadAbove !== undefined && value > isBadAbove ? "bad" : ""}>
    <A href={href}>
      <span class="value">{unchecked && value === 0 ? "–" : count(value)}</span>
      <span class="name">{name}</span>
      {must !== undefined && <span class="must">{must}</span>}
    </A>
  </li>
);
