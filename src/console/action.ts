/** The key that each form carries which acts: sent twice, it is one action. */
import { z } from "zod";
import { systemRandomness, timeOrderedId } from "../kernel/ids.ts";
import { ACTION_KEPT_MS } from "../kernel/limits.ts";

export const actionId = z.string().regex(/^act_[0-9a-hjkmnp-tv-z]{26}$/);

export const mintAction = (nowMs: number): string =>
  `act_${timeOrderedId(nowMs, systemRandomness)}`;

/** Whether its form was kept for longer than is sure to be remembered. */
export const isTooOld = (action: string, nowMs: number): boolean =>
  action < `act_${timeOrderedId(nowMs - ACTION_KEPT_MS / 2, () => undefined)}`;
