/**
 * An exchange: one protected call to an upstream. These are its plain data: what is to be sent, and how it is to be
 * called and judged. Both are stored together before the call, so that a heal after a deployment sends what was
 * accepted, by the policy it was accepted under.
 */

/** Where an exchange goes, and nowhere else: redirects are not followed. */
export type Upstream =
  | { readonly kind: "origin"; readonly origin: string }
  | { readonly kind: "service"; readonly binding: string };

/** How one route is called and judged. */
export type ExchangePolicy = {
  /** Name of the route: for the log, the key's status and advice. */
  readonly route: string;
  readonly upstream: Upstream;
  /** From the call to the last byte that is stored, milliseconds. */
  readonly timeoutMs: number;
  readonly keyLifetimeSeconds: number;
  readonly tombstoneSeconds: number;
  /** The statuses that are an outcome. Null: 2xx, 3xx, and 4xx but 408, 425 and 429. */
  readonly finalStatuses: readonly number[] | null;
  /** Whether the upstream itself runs a key once: then a doubtful call is sent again with the same key. */
  readonly honoursKey: boolean;
  /** Where to ask what became of a key; `{key}` in the path stands for it. Null: it cannot be asked. */
  readonly status: {
    readonly path: string;
    /** Whether "not found" proves, after the call's time-out and the quiet period, that the call was not executed. */
    readonly absenceIsFinal: boolean;
    readonly quietMs: number;
  } | null;
  readonly heal: { readonly attemptsMax: number; readonly elapsedMsMax: number };
  /** Lower-case names of response headers that are kept besides or instead of the default rule; null: the default. */
  readonly keepHeaders: readonly string[] | null;
  /** Told when the key is final; the secret is the value of the variable of that name. */
  readonly webhook: { readonly url: string; readonly secretName: string } | null;
};

export type ExchangeRequest = {
  readonly method: string;
  /** Path and query as sent: `/v1/charges?x=1`. */
  readonly target: string;
  /** Ready to be sent: hop-by-hop headers and our own credentials are gone, the key is in. In order, lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
};

/** In order; a name may come more than once. */
export type HeaderPairs = readonly (readonly [name: string, value: string])[];
