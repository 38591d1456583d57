/**
 * A multipart body (RFC 2046 section 5.1) as its parts. Strict: what is not plainly a list of parts is not read at all,
 * so that two bodies that differ in more than the boundary never read as one.
 */
import { GATEWAY_MULTIPART_PARTS_MAX } from "../kernel/limits.ts";

export type Part = {
  /** Of `Content-Disposition: form-data; name="…"`; undefined if the part has none. */
  readonly name: string | undefined;
  /** As sent but for the case of the names; sorted. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
};

export type Multipart = readonly Part[];

/** @param boundary of the Content-Type, unquoted */
export const parseMultipart = (body: Uint8Array, boundary: string): Multipart | undefined => {
  // RFC 2046: at most 70 characters of these, and no space at the end.
  if (!/^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/.test(boundary)) return undefined;
  // One character for each byte, so that positions are those of the bytes, whatever a part holds.
  const text = latin1(body);
  const opening = `--${boundary}\r\n`;
  const between = `\r\n--${boundary}`;
  const parts: Part[] = [];
  if (!text.startsWith(opening)) return undefined;
  for (let at = opening.length; ;) {
    const end = text.indexOf(between, at);
    if (end < 0 || parts.length === GATEWAY_MULTIPART_PARTS_MAX) return undefined;
    const part = parsePart(text, body, at, end);
    if (part === undefined) return undefined;
    parts.push(part);
    at = end + between.length;
    if (text.startsWith("--", at)) {
      // An epilogue says something that no part does.
      return ["", "\r\n"].includes(text.slice(at + 2)) ? parts : undefined;
    }
    if (!text.startsWith("\r\n", at)) return undefined;
    at += 2;
  }
};

const parsePart = (text: string, body: Uint8Array, from: number, end: number): Part | undefined => {
  // A part without headers begins with the empty line itself.
  const bare = text.startsWith("\r\n", from);
  const headEnd = bare ? from : text.indexOf("\r\n\r\n", from);
  const bodyStart = bare ? from + 2 : headEnd + 4;
  if (headEnd < 0 || bodyStart > end) return undefined;
  const lines = bare ? [] : text.slice(from, headEnd).split("\r\n");
  const headers: (readonly [string, string])[] = [];
  for (const line of lines) {
    // The value begins with no blank: else each of them could be its first, and a line that is none cost their square.
    const found = /^([!#$%&'*+.^`|~\w-]+):[ \t]*([^ \t\r\n].*)?$/.exec(line);
    if (found === null) return undefined;
    headers.push([(found[1] ?? "").toLowerCase(), found[2] ?? ""]);
  }
  const disposition = headers.find(([name]) => name === "content-disposition")?.[1] ?? "";
  return {
    name: /;\s*name="([^"]*)"/i.exec(disposition)?.[1],
    headers: headers.toSorted(([a, x], [b, y]) => compare(a, b) || compare(x, y)),
    body: body.subarray(bodyStart, end),
  };
};

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const CHUNK = 32 * 1024;

const latin1 = (bytes: Uint8Array): string => {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    pieces.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK)));
  }
  return pieces.join("");
};
