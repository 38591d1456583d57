/** What must hold in every state, and of everything that is said. Each gives the sentence that is broken, or undefined. */
import type { Said } from "./model.ts";
import type { Scenario } from "./scenarios.ts";
import type { Outcome, Row, State } from "./state.ts";

export type Broken = { readonly property: string; readonly what: string };

type Property = {
  readonly name: string;
  readonly isBroken: (state: State, key: number, scenario: Scenario) => string | undefined;
};

const sameOutcome = (a: Outcome, b: Outcome): boolean =>
  a.run === b.run && a.refused === b.refused && a.client === b.client;

const outcomeOf = ({ client, run, refusal }: Row): Outcome => ({
  client,
  run,
  refused: refusal !== "none",
});

const PROPERTIES: readonly Property[] = [
  {
    name: "E1",
    isBroken: ({ effects, clients, rows }, key, { requests }) => {
      const count = effects[key] ?? 0;
      if (count > 1) return `the effect of key ${key} happened ${count} times`;
      const row = rows[key];
      if (row === undefined && count > 0) return `key ${key} has an effect and no claim`;
      if (row?.refusal === "none" && count === 0)
        return `key ${key} is accepted without its effect`;
      for (const [c, client] of clients.entries()) {
        if (client.at !== "told" || requests[c]?.key !== key) continue;
        if (client.told.kind === "outcome" && !client.told.outcome.refused && count !== 1) {
          return `${requests[c].name} was told of success; the effect happened ${count} times`;
        }
      }
      return undefined;
    },
  },
  {
    name: "refused",
    isBroken: ({ effects, clients, rows }, key, { requests }) => {
      if (effects[key] === 0) return undefined;
      const row = rows[key];
      if (row !== undefined && row.refusal !== "none")
        return `key ${key} is refused and has an effect`;
      for (const [c, client] of clients.entries()) {
        if (client.at !== "told" || requests[c]?.key !== key) continue;
        if (client.told.kind === "outcome" && client.told.outcome.refused) {
          return `${requests[c].name} was told of a refusal; the effect happened`;
        }
      }
      return undefined;
    },
  },
  {
    name: "RP",
    isBroken: ({ clients, rows, incarnations }, key, { requests }) => {
      const row = rows[key];
      let first = row === undefined ? undefined : outcomeOf(row);
      for (const [c, client] of clients.entries()) {
        if (client.at !== "told" || client.told.kind !== "outcome") continue;
        if (requests[c]?.key !== key) continue;
        const { outcome } = client.told;
        if (first !== undefined && !sameOutcome(first, outcome)) {
          return `key ${key} has the outcome of run ${first.run}${first.refused ? " (refused)" : ""}, and ${requests[c].name} was told that of run ${outcome.run}${outcome.refused ? " (refused)" : ""}`;
        }
        first ??= outcome;
      }
      for (const { copies } of incarnations) {
        const copy = copies[key];
        if (copy !== undefined && first !== undefined && !sameOutcome(first, copy)) {
          return `key ${key} has the outcome of run ${first.run}, and a copy has that of run ${copy.run}`;
        }
      }
      return undefined;
    },
  },
  {
    name: "whose",
    isBroken: ({ clients, rows }, key, { requests }) => {
      const row = rows[key];
      for (const [c, client] of clients.entries()) {
        const asked = requests[c];
        if (client.at !== "told" || asked?.key !== key) continue;
        const { told } = client;
        if (told.kind === "outcome" && requests[told.outcome.client]?.body !== asked.body) {
          return `${asked.name} was told the answer of another request`;
        }
        const isOwner = row !== undefined && requests[row.client]?.body === asked.body;
        if (told.kind === "mismatch" && isOwner) {
          return `${asked.name} owns key ${key}, and was told of a mismatch`;
        }
      }
      return undefined;
    },
  },
];

export const brokenIn = (state: State, scenario: Scenario): Broken | undefined => {
  for (let key = 0; key < scenario.keys; key++) {
    for (const { name, isBroken } of PROPERTIES) {
      const what = isBroken(state, key, scenario);
      if (what !== undefined) return { property: name, what };
    }
  }
  return undefined;
};

/** What is said must be true when it is said, and stay true. */
export const brokenBy = (said: Said, state: State, scenario: Scenario): Broken | undefined => {
  const { requests, instants, batchLifeMs } = scenario;
  const nowMs = instants[state.now] ?? 0;
  const onItsWay = state.batches.filter(
    ({ sentAt }) => nowMs < (instants[sentAt] ?? 0) + batchLifeMs,
  );
  switch (said.kind) {
    case "unavailable": {
      const may = onItsWay.some(({ sends }) => sends.some(({ run }) => run === said.run));
      const did = state.rows.some((row) => row?.run === said.run);
      if (!may && !did) return undefined;
      return {
        property: "denied",
        what: `run ${said.run} was denied, and ${did ? "did commit" : "may yet commit"}`,
      };
    }
    case "free": {
      const may = onItsWay.some(({ sends }) =>
        sends.some(({ client }) => requests[client]?.key === 0),
      );
      const did = state.rows[0] !== undefined;
      if (!may && !did) return undefined;
      return {
        property: "free",
        what: `key 0 was called free, and a batch ${did ? "has claimed it" : "may yet claim it"}`,
      };
    }
  }
};

/** A state from which nothing goes on by itself must leave nobody without a final answer. */
export const isOver = ({ clients }: State): boolean => clients.every(({ at }) => at === "told");
