/**
 * The processor of an operation's external step: where it is, how it is called and judged, and by which credential. Three
 * vars, named after it: `X_ORIGIN` (an origin, or `service:` and a binding; empty: there is none), `X_POLICY` (JSON, with
 * the members of a gateway's route that say how it is called and judged) and the secret `X_TOKEN` (a bearer token; may be
 * missing). Every mistake is named, and nothing is served with it.
 */
import { z } from "zod";
import { jsonText } from "../kernel/json-text.ts";
import { policyMembers, policyOf, textOf, upstreamOf } from "./route-policy.ts";
import type { ExchangePolicy } from "./exchange.ts";

export type Processor = {
  /** What is the operation's is missing. */
  readonly terms: Omit<ExchangePolicy, "route" | "keyLifetimeSeconds" | "tombstoneSeconds">;
  /** Sent as `Authorization: Bearer`; null: nothing is. */
  readonly token: string | null;
};

const { timeoutMs, finalStatuses, honoursKey, status, heal } = policyMembers;
const policySchema = z.strictObject({ timeoutMs, finalStatuses, honoursKey, status, heal });

/**
 * Null if there is none. Throws an Error that names every setting that is wrong, and never the value of the secret.
 * @param keyLifetimeSeconds of the operation's keys: what is healed for longer would be forgotten, and run again
 */
export const parseProcessor = (
  env: object,
  name: string,
  keyLifetimeSeconds: number,
): Processor | null => {
  const origin = textOf(env, `${name}_ORIGIN`);
  if (origin === "") return null;
  const faults: string[] = [];
  const upstream = upstreamOf(origin, env);
  if (typeof upstream === "string") faults.push(`${name}_ORIGIN ${upstream}`);
  const parsed = policyText.safeParse(textOf(env, `${name}_POLICY`) || "{}");
  if (!parsed.success) {
    faults.push(
      ...parsed.error.issues.map(
        ({ path, message }) => `${[`${name}_POLICY`, ...path].join(".")} ${message}`,
      ),
    );
  } else {
    const { heal: bounds, status: asked, timeoutMs: limitMs } = parsed.data;
    const longestS = bounds.elapsedSecondsMax + (limitMs + (asked?.quietMs ?? 0)) / 1000;
    if (longestS > keyLifetimeSeconds) {
      faults.push(`${name}_POLICY heals for longer than the key lives`);
    }
  }
  if (faults.length > 0 || !parsed.success || typeof upstream === "string") {
    throw new Error(`Configuration: ${faults.join("; ")}.`);
  }
  return {
    terms: { ...policyOf(parsed.data), upstream, keepHeaders: null, webhook: null },
    token: textOf(env, `${name}_TOKEN`) || null,
  };
};

const policyText = jsonText.pipe(policySchema);
