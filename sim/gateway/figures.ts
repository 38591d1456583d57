/**
 * What the experiment comes to: flat keys beside those of the simulation in docs/sim.json, and a section of
 * docs/simulation.md, which the simulation leaves as it is when it writes the rest.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/tool.ts";
import type { Result } from "./experiment.ts";

export type Way = "exponential" | "learned" | "sdk";

/** Sums over all seeds. */
export type Sums = Readonly<Record<Way, Result>>;

export const summed = (results: readonly Result[]): Result =>
  results.reduce((sum, one) => ({
    requests: sum.requests + one.requests,
    succeeded: sum.succeeded + one.succeeded,
    failedRetries: sum.failedRetries + one.failedRetries,
    effects: sum.effects + one.effects,
    upstreamFailed: sum.upstreamFailed + one.upstreamFailed,
  }));

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

export const successOf = ({ succeeded, requests }: Result): number =>
  rounded((100 * succeeded) / requests, 2);

export const per100 = (count: number, { requests }: Result): number =>
  rounded((100 * count) / requests, 2);

/** Of the failed retries of one, the part that the other does without. */
export const cutOf = (one: Result, other: Result): number =>
  rounded(1 - other.failedRetries / one.failedRetries, 3);

export const figuresOf = ({ exponential, learned, sdk }: Sums) => ({
  gateway_success_exponential: successOf(exponential),
  gateway_success_learned: successOf(learned),
  gateway_success_sdk: successOf(sdk),
  gateway_failed_retries_exponential_per_100: per100(exponential.failedRetries, exponential),
  gateway_failed_retries_learned_per_100: per100(learned.failedRetries, learned),
  gateway_failed_retries_sdk_per_100: per100(sdk.failedRetries, sdk),
  gateway_failed_retries_cut: cutOf(exponential, learned),
  gateway_failed_retries_cut_sdk: cutOf(exponential, sdk),
});

const FIGURES = join(root, "docs/sim.json");
const REPORT = join(root, "docs/simulation.md");
const OURS = "gateway_";

type Flat = Readonly<Record<string, number>>;

const readFigures = (): Flat =>
  existsSync(FIGURES) ? (JSON.parse(readFileSync(FIGURES, "utf8")) as Flat) : {};

/** The simulation's figures, and of the experiment those that stand in docs/sim.json. */
export const withGatewayFigures = (simulated: Flat): Flat => ({
  ...simulated,
  ...Object.fromEntries(Object.entries(readFigures()).filter(([name]) => name.startsWith(OURS))),
});

const SECTION = /^## The same behind the real gateway\n[^]*?(?=^## )/m;
/** The section stands before this one. */
const LAST = /^## To repeat it$/m;

/** The simulation's report, and in it the section that stands in docs/simulation.md. */
export const withGatewaySection = (report: string): string => {
  const kept = existsSync(REPORT) ? SECTION.exec(readFileSync(REPORT, "utf8"))?.[0] : undefined;
  return kept === undefined ? report : placed(report, kept);
};

const placed = (report: string, section: string): string =>
  report.replace(SECTION, "").replace(LAST, () => `${section}## To repeat it`);

/** Writes both files anew, with nothing of the simulation lost. */
export const keep = (sums: Sums, text: string): void => {
  const others = Object.entries(readFigures()).filter(([name]) => !name.startsWith(OURS));
  const figures = { ...Object.fromEntries(others), ...figuresOf(sums) };
  writeFileSync(FIGURES, `${JSON.stringify(figures, null, 2)}\n`);
  writeFileSync(REPORT, placed(readFileSync(REPORT, "utf8"), text));
};
