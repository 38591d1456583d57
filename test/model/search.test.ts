/**
 * Every state of every scenario, with the product's own decisions; and mistakes, each of which must be found. What
 * is modelled, and what is not, stands in README.md.
 */
import { afterAll, describe, expect, it } from "vitest";
import { type Counterexample, explore, type Search } from "./explore.ts";
import { COVERED, MUTANTS, mutated } from "./mutants.ts";
import { scenarioNamed, SCENARIOS } from "./scenarios.ts";

/** Above every scenario's number; a search that is cut short fails. */
const STATES_MAX = 2_000_000;

const searches: Search[] = [];
const lines: string[] = [];

const note = (name: string, { states, depth, seconds, counterexample }: Search): void => {
  const what = counterexample === undefined ? "" : `: ${counterexample.trace.length} steps`;
  lines.push(`${name}${what} (${states} states, depth ${depth}, ${seconds.toFixed(1)} s)`);
};

/** What a search found, as a trace to be read; empty if it found nothing. */
const foundBy = ({ counterexample }: Search): string =>
  counterexample === undefined ? "" : inWords(counterexample);

const inWords = ({ property, what, trace }: Counterexample): string =>
  [`${property}: ${what}`, ...trace.map((line, i) => `${i + 1}. ${line}`)].join("\n");

afterAll(() => {
  process.stdout.write(`${lines.join("\n")}\n`);
});

describe("the product", () => {
  it.each(SCENARIOS)("keeps every promise in every state: $name", (scenario) => {
    const search = explore(mutated(scenario), STATES_MAX);
    searches.push(search);
    note(scenario.name, search);
    expect(foundBy(search)).toBe("");
  });

  it("was searched in more than a million states", () => {
    const states = searches.reduce((sum, search) => sum + search.states, 0);
    expect(searches).toHaveLength(SCENARIOS.length);
    expect(states).toBeGreaterThan(1_000_000);
  });
});

describe("a mistake", () => {
  it.each(MUTANTS)("is found: $name", (mutant) => {
    const search = explore(mutated(scenarioNamed(mutant.scenario), mutant), STATES_MAX);
    note(mutant.name, search);
    const { counterexample } = search;
    expect(foundBy(search)).not.toBe("");
    expect(mutant.breaks).toContain(counterexample?.property);
    expect(counterexample?.trace.length).toBeGreaterThan(1);
  });

  it.each(COVERED)("does no harm: $name", (mutant) => {
    for (const scenario of mutant.scenarios.map(scenarioNamed)) {
      const search = explore(mutated(scenario, mutant), STATES_MAX);
      note(`${mutant.name}, ${scenario.name}`, search);
      expect(foundBy(search)).toBe("");
    }
  });
});
