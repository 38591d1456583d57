/** Policies by name: as data they can be handed to another thread. */
import type { MakePolicy } from "../world.ts";
import { advised, type Without } from "./advised.ts";
import { aws } from "./aws.ts";
import { type Fixed, fixed } from "./fixed.ts";

export type Contender =
  | { readonly kind: "advised"; readonly without: readonly Without[] }
  | { readonly kind: "aws"; readonly mode: "standard" | "adaptive" }
  | { readonly kind: "fixed"; readonly policy: Fixed };

export const policyOf = (contender: Contender): MakePolicy => {
  switch (contender.kind) {
    case "advised":
      return advised(...contender.without);
    case "aws":
      return aws(contender.mode);
    case "fixed":
      return fixed(contender.policy);
  }
};
