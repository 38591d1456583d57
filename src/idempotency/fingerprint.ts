/**
 * The fingerprint tells whether two requests under one key are the same request. It covers the operation
 * (and with it the method), the path's parameters, the query and the body as parsed, *before* defaults:
 * member order and white space do not matter, everything else does. Strings are not normalised.
 *
 * Every version that a living key or tombstone may carry stays computable: add a version, never edit one.
 */
import { keyedHash, sha256Of } from "../kernel/hash.ts";
import { canonicalJson, isJsonObject, type Json } from "../kernel/json.ts";

export const FINGERPRINT_VERSION = 1;

/** What identifies a request, apart from tenant and key. */
export type Fingerprinted = {
  readonly operation: string;
  readonly params: Readonly<Record<string, string>>;
  /** Decoded pairs in the order sent; sorted here. */
  readonly query: readonly (readonly [string, string])[];
  readonly body: Json;
};

/** SHA-256 in hex, or undefined for a version that this build does not know: 503, never a guess. */
export const fingerprint = (
  request: Fingerprinted,
  version: number = FINGERPRINT_VERSION,
): string | undefined => (version === 1 ? fingerprintV1(request) : undefined);

/** One canonical JSON array: unambiguous, because every part is delimited by JSON itself. */
const fingerprintV1 = ({ operation, params, query, body }: Fingerprinted): string =>
  sha256Of(canonicalJson(["latchkey-fingerprint-1", operation, params, sortedPairs(query), body]));

/** Keyed hashes of the top-level parts, so that a mismatch can name the member and never the value. */
export type MemberHashes = { readonly [member: string]: string };

/** Keyed, because the values (amounts, names) are guessable. Two that hash alike would only leave a name out. */
export const memberHashes = (request: Fingerprinted, secret: string): MemberHashes => {
  const hash = (value: Json): string => keyedHash(secret, canonicalJson(value));
  const members: Record<string, string> = { "(operation)": request.operation };
  if (Object.keys(request.params).length > 0) members["(path)"] = hash(request.params);
  if (request.query.length > 0) members["(query)"] = hash(sortedPairs(request.query));
  if (isJsonObject(request.body)) {
    for (const [name, value] of Object.entries(request.body)) members[name] = hash(value);
  } else {
    members["(body)"] = hash(request.body);
  }
  return members;
};

/** Names of the parts that differ, sorted. */
export const differingMembers = (a: MemberHashes, b: MemberHashes): string[] =>
  [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((name) => a[name] !== b[name])
    .toSorted(compare);

const sortedPairs = (query: Fingerprinted["query"]): Json =>
  query.toSorted(([a, x], [b, y]) => compare(a, b) || compare(x, y));

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
