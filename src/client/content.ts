/**
 * Bodies as they are kept: text, or bytes as base64. What is sent a second time is what was stored, byte for byte. What
 * cannot be stored (a stream, a form with files) is refused, for it could not be sent again.
 */

export type Content =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "bytes"; readonly base64: string };

/** A JSON value, text, bytes, or a URL-encoded form. */
export type RequestBody = unknown;

export type Encoded = { readonly content: Content | null; readonly type: string | null };

/** Throws a TypeError for what cannot be stored. */
export const encodeBody = (body: RequestBody): Encoded => {
  if (body === undefined) return { content: null, type: null };
  if (typeof body === "string") return { content: textOf(body), type: "text/plain;charset=UTF-8" };
  if (body instanceof Uint8Array) {
    return { content: bytesOf(body), type: "application/octet-stream" };
  }
  if (body instanceof URLSearchParams) {
    return {
      content: textOf(body.toString()),
      type: "application/x-www-form-urlencoded;charset=UTF-8",
    };
  }
  return { content: textOf(canonicalJson(body)), type: "application/json" };
};

/** Bytes as text where they are text, so that a stored answer can be read. */
export const encodeBytes = (bytes: Uint8Array): Content => {
  try {
    return textOf(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return bytesOf(bytes);
  }
};

export const decodeContent = (content: Content): string | Uint8Array<ArrayBuffer> => {
  if (content.kind === "text") return content.text;
  const binary = atob(content.base64);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
};

/** Whatever the order of members, one text (in the manner of RFC 8785), so that two equal bodies are one request. */
export const canonicalJson = (value: unknown): string => {
  const text = canonical(value, new Set());
  if (text === undefined) throw new TypeError("The body is no JSON value.");
  return text;
};

/** @param open the objects that hold this one: one of them again would never end */
const canonical = (value: unknown, open: ReadonlySet<object>): string | undefined => {
  if (typeof value === "number" && !Number.isFinite(value)) {
    // JSON.stringify would send null, and nobody means that.
    throw new TypeError(`The body holds ${value}, which JSON cannot say.`);
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (open.has(value)) throw new TypeError("The body holds itself.");
  const within = new Set([...open, value]);
  if (Array.isArray(value)) {
    return `[${value.map((item) => canonical(item, within) ?? "null").join(",")}]`;
  }
  // A date, or what else says itself how it is written.
  if (hasToJson(value)) return canonical(value.toJSON(), within);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError("The body must be JSON, text, a Uint8Array or URLSearchParams.");
  }
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, member]) => {
      const text = canonical(member, within);
      return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
    });
  return `{${members.join(",")}}`;
};

const hasToJson = (value: object): value is { readonly toJSON: () => unknown } =>
  "toJSON" in value && typeof value.toJSON === "function";

const textOf = (text: string): Content => ({ kind: "text", text });

const bytesOf = (bytes: Uint8Array): Content => {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return { kind: "bytes", base64: btoa(binary) };
};
