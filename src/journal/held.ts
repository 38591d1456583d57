/** What an operation's external step goes on with: in the journal it stands where the answer will be. */
import type { Plan } from "../kernel/plan.ts";

export const heldText = ({ held }: Plan): string | null =>
  held === undefined ? null : JSON.stringify(held);
