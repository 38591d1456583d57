/**
 * Which headers go on, which come back, and which are kept with an answer.
 *
 * To the upstream: everything but what belongs to one connection (RFC 9110 section 7.6.1, and what `Connection` names),
 * what is ours, and what a caller could forge about itself. `Connection` cannot take away what the key's meaning is made
 * of: the key itself, the content's type and encoding, the credential.
 *
 * Back: an answer under a key has the same headers for its first caller and for every replay: all but a deny-list, or
 * just those that the route names. A cookie is on the list. Kept, it would hand one caller's session to whoever repeats
 * the request; given to the first caller only, a retry would not be the same answer. A route that logs people in is no
 * payment: `protect: false`.
 */
import { IDEMPOTENCY_KEY } from "../contract/headers.ts";
import type { HeaderPairs } from "./exchange.ts";

/** Ours alone. Everything that begins so is, too. */
const OWN_PREFIX = "latchkey-";
/** Carries a token for us, where the upstream's own credential travels in `Authorization`. */
export const LATCHKEY_AUTHORIZATION = "Latchkey-Authorization";
/** `false` on the answer to a request that may change something and was not protected. */
export const LATCHKEY_PROTECTED = "Latchkey-Protected";

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What is made anew for the next connection. */
const REMADE = new Set(["host", "content-length", "expect"]);

/** Said by the proxy that the caller reached, not by the caller; set anew below. */
const FORWARDED =
  /^(forwarded|via|x-forwarded-.+|x-real-ip|true-client-ip|cf-.+|cdn-loop|x-original-.+|x-rewrite-url)$/;

/** Where the caller came from, as far as it is known. */
export type Arrival = {
  /** The caller's address, as Cloudflare tells it. */
  readonly address: string | null;
  readonly protocol: "http" | "https";
  readonly host: string;
};

type Headed = Iterable<readonly [name: string, value: string]>;

/**
 * What a request that passes through carries on; lower-case names.
 * @param always lower-case names that `Connection` cannot take away
 */
export const forwardedHeaders = (
  headers: Headed,
  arrival: Arrival,
  always: readonly string[] = [],
): (readonly [string, string])[] => {
  const pairs = lowerCased(headers);
  const named = namedByConnection(pairs);
  const kept = pairs.filter(
    ([name]) =>
      !HOP_BY_HOP.has(name) &&
      !REMADE.has(name) &&
      !FORWARDED.test(name) &&
      !name.startsWith(OWN_PREFIX) &&
      (!named.has(name) || always.includes(name)),
  );
  return [
    ...kept,
    ...(arrival.address === null ? [] : [["x-forwarded-for", arrival.address] as const]),
    ["x-forwarded-host", arrival.host],
    ["x-forwarded-proto", arrival.protocol],
  ];
};

/**
 * What a protected request carries on. One answer is kept for every retry, so it is asked for in no content coding: the
 * next try may come from a client that knows none. The part of `Prefer` that is for us is taken out.
 * @param upstreamKey the key as the upstream is told
 * @param credential lower-case name of the header that says who calls
 */
export const sentHeaders = (
  headers: Headed,
  arrival: Arrival,
  upstreamKey: string,
  credential: string,
): HeaderPairs => [
  ...forwardedHeaders(headers, arrival, ["content-type", "content-encoding", credential])
    .map(([name, value]) => [name, name === "prefer" ? othersPreferences(value) : value] as const)
    .filter(
      ([name, value]) =>
        name !== "accept-encoding" &&
        name !== IDEMPOTENCY_KEY.toLowerCase() &&
        // Its answer, a part or "not modified", would be kept for callers who did not ask so.
        name !== "range" &&
        (name !== "prefer" || value !== ""),
    ),
  ["accept-encoding", "identity"],
  [IDEMPOTENCY_KEY.toLowerCase(), upstreamKey],
];

const othersPreferences = (prefer: string): string =>
  prefer
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "" && !/^(wait\s*=|respond-async\b)/i.test(one))
    .join(", ");

/** What an answer that passes through brings back: all but what belongs to the connection. */
export const returnedHeaders = (headers: Headed): HeaderPairs => {
  const pairs = lowerCased(headers);
  const named = namedByConnection(pairs);
  return pairs.filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name));
};

/** Never kept, whatever a route names: of one connection, of one caller, of one moment, or ours to say. */
const NEVER_KEPT =
  /^(set-cookie2?|clear-site-data|www-authenticate|authentication-info|date|age|content-length|content-encoding|cache-control|access-control-.+|stripe-should-retry|x-should-retry|idempotent-replayed|idempotency-expires|idempotency-key|latchkey-.+)$/;

/** Kept only where a route names it: of one try, not of the answer. */
const OF_ONE_TRY =
  /^(x-request-id|request-id|x-correlation-id|x-amzn-requestid|x-amzn-trace-id|x-amz-cf-.+|x-trace-id|traceresponse|traceparent|tracestate|server-timing|x-runtime|x-response-time|cf-.+|via|x-cache.*|x-served-by|x-timer|expires|pragma|vary|retry-after|ratelimit.*|x-ratelimit-.+|x-rate-limit-.+|alt-svc|nel|report-to|reporting-endpoints|expect-ct)$/;

export const isNeverKept = (name: string): boolean => HOP_BY_HOP.has(name) || NEVER_KEPT.test(name);

/**
 * What is kept with an answer, and goes to its first caller, too; lower-case names. Lines of one name arrive joined by a
 * comma, which means the same (RFC 9110 section 5.3); cookies alone do not, and they are not kept.
 *
 * A coding that the runtime undoes while it reads is gone from the bytes and so is its header; of any other the bytes
 * stand as they came, and so does the header.
 * @param keepHeaders lower-case names to keep instead of all but the deny-list; null: the default
 */
export const keptHeaders = (
  headers: Headed,
  keepHeaders: readonly string[] | null,
): HeaderPairs => {
  const pairs = lowerCased(headers);
  const named = namedByConnection(pairs);
  return pairs.filter(([name, value]) => {
    if (name === "content-encoding") return !DECODED_CODINGS.has(value);
    if (isNeverKept(name) || named.has(name)) return false;
    if (ALWAYS_KEPT.has(name)) return true;
    return keepHeaders === null ? !OF_ONE_TRY.test(name) : keepHeaders.includes(name);
  });
};

/** Without these the bytes cannot be read, or what was made not be found. */
const ALWAYS_KEPT = new Set(["content-type", "content-language", "location"]);

/** What workerd decodes by itself: written so, and in no other case. */
const DECODED_CODINGS = new Set(["", "identity", "gzip", "br"]);

const namedByConnection = (pairs: HeaderPairs): ReadonlySet<string> =>
  new Set(
    pairs
      .filter(([name]) => name === "connection")
      .flatMap(([, value]) => value.split(","))
      .map((name) => name.trim().toLowerCase()),
  );

const lowerCased = (headers: Headed): (readonly [string, string])[] =>
  [...headers].map(([name, value]) => [name.toLowerCase(), value] as const);
