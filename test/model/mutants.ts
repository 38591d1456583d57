/**
 * The product and the rules, each with one function exchanged for a plausible mistake. A model that cannot tell them
 * from the product would show nothing.
 */
import { RULES, type Rules } from "./database.ts";
import { type Model, modelOf } from "./model.ts";
import { PRODUCT, type Product } from "./product.ts";
import type { Scenario } from "./scenarios.ts";

export type Mutant = {
  readonly name: string;
  /** The scenario that is searched. */
  readonly scenario: string;
  /** The properties of which one must break. */
  readonly breaks: readonly string[];
  readonly product?: Partial<Product>;
  readonly rules?: Partial<Rules>;
};

/** Sends again under the nonce of the first send. */
const reuseNonce: Product["sentUnder"] = (standing, fresh) =>
  PRODUCT.sentUnder(standing, standing.nonces[0] ?? fresh);

/** Counts no deliveries: a send that comes again finds its row as it was. */
const countNothing: Rules["claim"] = (found, fresh) => ({
  row: found ?? fresh,
  returned: found === undefined || found.nonce === fresh.nonce,
});

/** The model of a scenario, of the product as it is or of a mutant. */
export const mutated = (
  scenario: Scenario,
  { product, rules }: Pick<Mutant, "product" | "rules"> = {},
): Model => modelOf(scenario, { ...PRODUCT, ...product }, { ...RULES, ...rules });

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no fence: a claim overwrites what it finds",
    scenario: "mismatched",
    breaks: ["E1", "RP"],
    rules: { claim: (_found, fresh) => ({ row: fresh, returned: true }) },
  },
  {
    name: "no mismatch check: all requests look alike",
    scenario: "mismatched",
    breaks: ["whose"],
    product: { fingerprint: () => "alike" },
  },
  {
    name: "effects ask for no accepted claim",
    scenario: "mismatched",
    breaks: ["E1"],
    rules: { applies: () => true },
  },
  {
    name: "one found key is taken as proof for its whole group",
    scenario: "mismatched",
    breaks: ["E1", "RP", "whose"],
    product: {
      afterRead: (group, found, answered) => {
        const proof = found.find((row) => row !== undefined);
        return PRODUCT.afterRead(group, found, answered).map((after) =>
          after.kind === "send-again" && proof !== undefined
            ? { kind: "recorded", entry: proof, own: true }
            : after,
        );
      },
    },
  },
  {
    name: "deliveries are not counted",
    scenario: "resent",
    breaks: ["E1"],
    rules: { claim: countNothing },
  },
  {
    name: "the nonce is used again, and deliveries are not counted",
    scenario: "late",
    breaks: ["E1"],
    product: { sentUnder: reuseNonce },
    rules: { claim: countNothing },
  },
  {
    name: "absence is taken as evidence: a key is free as soon as it is not found",
    scenario: "looked-up",
    breaks: ["free"],
    product: { freeFromMs: () => 0 },
  },
  {
    name: "a run is taken for the owner of its key",
    scenario: "mismatched",
    breaks: ["whose"],
    product: {
      decideAgainstRun: (entry) =>
        entry === undefined || entry === "unavailable"
          ? { do: "mismatch" }
          : { do: "recall", entry },
    },
  },
  {
    name: "silence is forgotten: what got no answer is denied",
    scenario: "looked-up",
    breaks: ["denied"],
    product: { leftUnanswered: (standing) => standing },
  },
];

/** Mistakes that do no harm alone, where the other half of the fence covers them. */
export const COVERED: readonly (Pick<Mutant, "name" | "product" | "rules"> & {
  readonly scenarios: readonly string[];
})[] = [
  {
    name: "the nonce is used again, and the count of deliveries stands",
    product: { sentUnder: reuseNonce },
    scenarios: ["mismatched", "undone", "resent", "late", "replanned", "left"],
  },
  {
    name: "deliveries are not counted, each send has its nonce, and none is delivered twice",
    rules: { claim: countNothing },
    scenarios: ["late"],
  },
];
