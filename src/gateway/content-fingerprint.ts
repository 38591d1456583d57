/**
 * Whether two requests under one key are the same request, for an API of which nothing is known but HTTP. The fingerprint
 * covers method, path, query, the type of the content, and the content as its type reads it:
 *
 * - JSON (`application/json`, `…+json`) in its RFC 8785 form: member order and white space do not matter; one with a
 *   number that a double rounds as its bytes, since its reader may know decimals;
 * - forms as their pairs: the order of different names does not matter, that of one name does, and that of names which are
 *   alike up to a `[]`: to many readers `a[][b]` belongs to the element that the pair before it began;
 * - multipart as its parts, in order, each with its headers and bytes: the boundary is new on every try;
 * - everything else, what has a `Content-Encoding`, and whatever does not parse strictly, as its bytes.
 *
 * A lenient reader would let two different requests become one. Here the worst that a doubt does is that a retry which
 * was written differently gets 422.
 *
 * Every version that a living key or tombstone may carry stays computable: add a version, never edit one. Version 1 took a
 * rounded number for the number that it was rounded to, and `a[][b]` and `a[][c]` for names like any other.
 */
import type { MemberHashes } from "../idempotency/fingerprint.ts";
import { keyedHash, sha256Of } from "../kernel/hash.ts";
import { canonicalJson, isJsonObject, type Json, parseJson, roundsNumber } from "../kernel/json.ts";
import { GATEWAY_MEMBER_NAMES_BYTES_MAX, GATEWAY_MEMBERS_MAX } from "../kernel/limits.ts";
import { utf8Bytes } from "../kernel/utf8.ts";
import type { ExchangeRequest } from "./exchange.ts";
import { type Multipart, parseMultipart } from "./multipart.ts";

export const EXCHANGE_FINGERPRINT_VERSION = 2;
type Version = 1 | typeof EXCHANGE_FINGERPRINT_VERSION;

/** SHA-256 in hex, or undefined for a version that this build does not know: 503, never a guess. */
export const exchangeFingerprint = (
  request: ExchangeRequest,
  version: number = EXCHANGE_FINGERPRINT_VERSION,
): string | undefined =>
  version === 1 || version === 2 ? fingerprintOf(readContent(request, version)) : undefined;

/** A fingerprint and the hashes that name what differs, from one reading of the content. */
export const printExchange = (
  request: ExchangeRequest,
  secret: string,
): { readonly fingerprint: string; readonly members: MemberHashes } => {
  const read = readContent(request, EXCHANGE_FINGERPRINT_VERSION);
  return { fingerprint: fingerprintOf(read), members: memberHashes(read, secret) };
};

/** What a mismatch names where no part of the content can be told from the others. */
export const BODY = "(body)";

/** A pair's value is null where the text had no "=". */
type Pair = readonly [name: string, value: string | null];

type Content =
  | { readonly kind: "json"; readonly value: Json }
  | { readonly kind: "form"; readonly pairs: readonly Pair[] }
  | { readonly kind: "multipart"; readonly parts: Multipart }
  | { readonly kind: "bytes"; readonly sha256: string };

type Read = {
  readonly version: Version;
  readonly method: string;
  readonly path: string;
  readonly query: Json;
  /** Essence of the media type, with the charset if it is not UTF-8, and the content coding; lower case. */
  readonly type: Json;
  readonly content: Content;
};

/** One canonical JSON array: unambiguous, because every part is delimited by JSON itself. */
const fingerprintOf = ({ version, method, path, query, type, content }: Read): string =>
  sha256Of(
    canonicalJson([
      `latchkey-exchange-${version}`,
      method,
      path,
      query,
      type,
      content.kind,
      contentJson(content, version),
    ]),
  );

const contentJson = (content: Content, version: Version): Json => {
  switch (content.kind) {
    case "json":
      return content.value;
    case "form":
      return sortedByName(content.pairs, version);
    case "multipart":
      return content.parts.map(({ headers, body }) => [headers, sha256Of(body)]);
    case "bytes":
      return content.sha256;
  }
};

const readContent = (
  { method, target, headers, body }: ExchangeRequest,
  version: Version,
): Read => {
  const [path = "", ...rest] = target.split("?");
  const query = rest.join("?");
  const pairs = parsePairs(query);
  const header = (wanted: string): string =>
    headers.find(([name]) => name === wanted)?.[1].trim() ?? "";
  const contentType = header("content-type");
  const encoding = header("content-encoding").toLowerCase();
  const essence = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
  const charset = parameterOf(contentType, "charset").toLowerCase();
  const plain =
    (encoding === "" || encoding === "identity") && ["", "utf-8", "utf8"].includes(charset);
  return {
    version,
    method,
    path,
    // What is no list of pairs is compared as it was sent.
    query: pairs === undefined ? query : sortedByName(pairs, version),
    type: plain ? [essence] : [essence, charset, encoding],
    content: (plain ? structured(essence, contentType, body, version) : undefined) ?? {
      kind: "bytes",
      sha256: sha256Of(body),
    },
  };
};

/** Undefined: the type is not one that is read here, or the content is not strictly of its type. */
const structured = (
  essence: string,
  contentType: string,
  body: Uint8Array,
  version: Version,
): Content | undefined => {
  if (essence === "multipart/form-data" || essence === "multipart/mixed") {
    const parts = parseMultipart(body, parameterOf(contentType, "boundary"));
    return parts === undefined ? undefined : { kind: "multipart", parts };
  }
  const isForm = essence === "application/x-www-form-urlencoded";
  if (!isForm && essence !== "application/json" && !essence.endsWith("+json")) return undefined;
  const text = strictText(body);
  if (text === undefined) return undefined;
  if (isForm) {
    const pairs = parsePairs(text);
    return pairs === undefined ? undefined : { kind: "form", pairs };
  }
  const json = parseJson(text);
  if (!json.ok || (version > 1 && roundsNumber(text))) return undefined;
  return { kind: "json", value: json.value };
};

/**
 * Keyed hashes of the parts, so that a mismatch can name the member or field and never its value: 48 bits each, as for
 * built-in operations. A body with more names than are worth keeping is one part.
 */
const memberHashes = (
  { version, method, path, query, type, content }: Read,
  secret: string,
): MemberHashes => {
  const hash = (value: Json): string => keyedHash(secret, canonicalJson(value));
  const parts = namedParts(content);
  const isFew =
    parts.length <= GATEWAY_MEMBERS_MAX &&
    utf8Bytes(parts.map(([name]) => name).join("")) <= GATEWAY_MEMBER_NAMES_BYTES_MAX;
  const named: (readonly [string, Json])[] = isFew
    ? parts
    : [[BODY, contentJson(content, version)]];
  return Object.fromEntries([
    // Nobody's secret, and a hash costs more than everything else here.
    ["(method)", method],
    ["(content type)", canonicalJson(type)],
    ["(path)", hash(path)],
    ...(query === "" || (Array.isArray(query) && query.length === 0)
      ? []
      : [["(query)", hash(query)] as const]),
    ...named.map(([name, value]) => [name, hash(value)] as const),
  ]);
};

const namedParts = (content: Content): (readonly [string, Json])[] => {
  switch (content.kind) {
    case "json":
      return isJsonObject(content.value) ? Object.entries(content.value) : [[BODY, content.value]];
    case "form":
      return [...grouped(content.pairs)];
    case "multipart":
      return [
        ...grouped(
          content.parts.map(
            ({ name, headers, body }, i) =>
              [name ?? `(part ${i + 1})`, [headers, sha256Of(body)]] as const,
          ),
        ),
      ];
    case "bytes":
      return [[BODY, content.sha256]];
  }
};

const grouped = (pairs: readonly (readonly [string, Json])[]): Map<string, Json[]> => {
  const byName = new Map<string, Json[]>();
  for (const [name, value] of pairs) {
    const values = byName.get(name);
    if (values === undefined) byName.set(name, [value]);
    else values.push(value);
  }
  return byName;
};

/** Sorted by name alone, and stably: what order the values of one name, or of one list, have is theirs. */
const sortedByName = (pairs: readonly Pair[], version: Version): Json => {
  const placed = pairs.map((pair) => {
    const [name] = pair;
    return { pair, place: version === 1 ? name : (name.split("[]", 1)[0] ?? name) };
  });
  return placed
    .toSorted((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0))
    .map(({ pair: [name, value] }) => [name, value]);
};

/**
 * `application/x-www-form-urlencoded`, strictly: undefined if an escape is not one or does not spell UTF-8, for then
 * different texts would decode to one.
 */
const parsePairs = (text: string): readonly Pair[] | undefined => {
  if (text === "") return [];
  try {
    return text.split("&").map((piece): Pair => {
      const at = piece.indexOf("=");
      return at < 0
        ? [decodePiece(piece), null]
        : [decodePiece(piece.slice(0, at)), decodePiece(piece.slice(at + 1))];
    });
  } catch {
    return undefined;
  }
};

/** Throws a URIError. */
const decodePiece = (piece: string): string => decodeURIComponent(piece.replaceAll("+", " "));

/** A parameter of a media type, unquoted; empty if it has none of that name. */
const parameterOf = (contentType: string, name: string): string => {
  const found = new RegExp(`;\\s*${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, "i").exec(
    contentType,
  );
  return found?.[1]?.replaceAll(/\\(.)/g, "$1") ?? found?.[2] ?? "";
};

/** `ignoreBOM` keeps the mark in the text, where JSON does not allow it: then the bytes count. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const strictText = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
};
