/**
 * Whether a token was revoked, by a list that is at most ten seconds old. A list that cannot be refreshed by then
 * answers nothing: the request gets 503, neither passes nor is refused.
 */
import type { Bindings } from "../env.ts";
import {
  REVOCATIONS_AGE_MS_MAX,
  REVOCATIONS_REFRESH_MS,
  SEND_TIMEOUT_MS,
} from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { REVOCATIONS_NAME, type RevocationMethods } from "../objects/revocation-call.ts";
import type { Token } from "./authentication.ts";

type Snapshot = { readonly tokens: ReadonlySet<string>; readonly takenAtMs: number };

/** One for each namespace: in production, one for the isolate. */
const snapshots = new WeakMap<DurableObjectNamespace, Snapshot>();

/** Where a refresh is under way: others need not ask too. */
const refreshing = new WeakSet<DurableObjectNamespace>();

export const revocations = (env: Bindings): RevocationMethods =>
  namespaceIn(env).getByName(REVOCATIONS_NAME) as unknown as RevocationMethods;

/** A Worker that checks tokens serves nothing without it, see settings.ts. */
const namespaceIn = ({ REVOCATIONS }: Bindings): DurableObjectNamespace => {
  if (REVOCATIONS === undefined) throw new Error("The binding REVOCATIONS is missing.");
  return REVOCATIONS;
};

/** @param later keeps a refresh alive after the answer */
export const isRevoked = async (
  env: Bindings,
  { issuer, jti }: Token,
  nowMs: number,
  later: (work: Promise<unknown>) => void,
): Promise<boolean | "unknown"> => {
  const namespace = namespaceIn(env);
  let snapshot = snapshots.get(namespace);
  // A clock that was set back makes a list from the future: as little worth as one that is too old.
  const ageMs =
    snapshot === undefined ? Number.POSITIVE_INFINITY : Math.abs(nowMs - snapshot.takenAtMs);
  if (ageMs >= REVOCATIONS_REFRESH_MS) {
    // Still young enough to judge by: refreshed in the background, once.
    if (ageMs >= REVOCATIONS_AGE_MS_MAX) snapshot = await refresh(env, nowMs);
    else if (!refreshing.has(namespace)) later(refresh(env, nowMs));
  }
  return snapshot === undefined ? "unknown" : snapshot.tokens.has(nameOf(issuer, jti));
};

/** Undefined if the list could not be had. Its age counts from before it was asked for. */
const refresh = async (env: Bindings, nowMs: number): Promise<Snapshot | undefined> => {
  const namespace = namespaceIn(env);
  refreshing.add(namespace);
  try {
    const revoked = await withTimeout(revocations(env).list(), SEND_TIMEOUT_MS);
    const tokens = new Set(revoked.map(({ issuer, jti }) => nameOf(issuer, jti)));
    const snapshot = { tokens, takenAtMs: nowMs };
    snapshots.set(namespace, snapshot);
    return snapshot;
  } catch {
    return undefined;
  } finally {
    refreshing.delete(namespace);
  }
};

const nameOf = (issuer: string, jti: string): string => `${issuer.length}:${issuer}${jti}`;
