/** What a client tells while it works, for progress bars and logs. Never a body, never a credential. */
import type { NoOutcomeReason } from "./errors.ts";

export type ClientEvent = { readonly key: string } & (
  | { readonly type: "stored" }
  | { readonly type: "sending"; readonly attempt: number; readonly probe: boolean }
  /** The try has no outcome. `status` 0: no answer came. */
  | {
      readonly type: "failed";
      readonly attempt: number;
      readonly status: number;
      readonly code: string | null;
    }
  | { readonly type: "waiting"; readonly untilMs: number; readonly advised: boolean }
  /** The retry budget of the origin is used up: the retry stands in line. */
  | { readonly type: "in-line" }
  | { readonly type: "outcome"; readonly status: number; readonly replayed: boolean }
  | { readonly type: "no-outcome"; readonly reason: NoOutcomeReason }
  /** The answer is known, and could not be kept. The next one who asks is told by the server. */
  | { readonly type: "not-kept"; readonly error: unknown }
);
