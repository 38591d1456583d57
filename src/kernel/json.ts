/**
 * Strict JSON. Two bodies that differ must never be read as one, so whatever a lenient parser would
 * collapse is refused: duplicate member names, integers that a double cannot hold, `-0`, lone
 * surrogates (I-JSON, RFC 7493 sections 2.1 to 2.3). `__proto__` is refused because no honest
 * request has it. The canonical form is RFC 8785.
 */
import { JSON_DEPTH_MAX } from "./limits.ts";
import { fail, type Result, succeed } from "./result.ts";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [member: string]: Json };

/** Parses strictly; the failure is a sentence for the caller. */
export const parseJson = (text: string): Result<Json, string> => {
  let value: Json;
  try {
    // What JSON.parse returns is Json by definition; the library types it `any`.
    value = JSON.parse(text) as Json;
  } catch {
    return fail("The body is not valid JSON.");
  }
  const flaw = findFlaw(text);
  return flaw === undefined ? succeed(value) : fail(flaw);
};

/**
 * RFC 8785 form: no white space, members sorted by UTF-16 code units, ECMAScript numbers and strings.
 * Give it what `parseJson` accepted: bounded depth, no lone surrogates, finite numbers.
 */
export const canonicalJson = (value: Json): string => {
  if (isJsonArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.keys(value)
      .toSorted(byCodeUnits)
      .map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name] ?? null)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
};

export const isJsonObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !isJsonArray(value);

const isJsonArray = (value: Json): value is readonly Json[] => Array.isArray(value);

/** RFC 8785 section 3.2.3: code units, not code points and not a locale. */
const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const token = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*|[{}[\],:]/g;

/** Walks the tokens of text that JSON.parse has accepted: strings, numbers and punctuation suffice. */
const findFlaw = (text: string): string | undefined => {
  // One frame per open container: the names seen in an object, or null for an array.
  const open: (Set<string> | null)[] = [];
  let nameExpected = false;
  for (const [piece] of text.matchAll(token)) {
    const names = open.at(-1);
    switch (piece) {
      case "{":
      case "[":
        if (open.length === JSON_DEPTH_MAX) {
          return `The body is nested deeper than ${JSON_DEPTH_MAX} levels.`;
        }
        open.push(piece === "{" ? new Set() : null);
        nameExpected = piece === "{";
        break;
      case "}":
      case "]":
        open.pop();
        nameExpected = false;
        break;
      case ",":
        nameExpected = names instanceof Set;
        break;
      case ":":
        nameExpected = false;
        break;
      default: {
        const flaw =
          piece[0] !== '"'
            ? numberFlaw(piece)
            : names instanceof Set && nameExpected
              ? nameFlaw(piece, names)
              : stringFlaw(piece);
        if (flaw !== undefined) return flaw;
      }
    }
  }
  return undefined;
};

const numberFlaw = (piece: string): string | undefined => {
  const value = Number(piece);
  if (Object.is(value, -0)) return "The number -0 is not accepted: write 0.";
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return "A number is beyond 2^53 - 1 and would lose precision.";
  }
  if (Number.isInteger(value) && !isWhole(piece)) {
    return "A number has a fraction that is too fine to be kept.";
  }
  return undefined;
};

/** Whether the decimal, exactly as it is written, is a whole number. */
const isWhole = (piece: string): boolean => decimalOf(piece).power >= 0;

/** Without sixteen digits, or an exponent, a double keeps a number as it is written. */
const MAY_BE_INEXACT = /\d[\d.]{15}|\d[eE]/;

/** Whether a double rounds a number of the text, so that another one would read the same; of text that `parseJson` took. */
export const roundsNumber = (text: string): boolean =>
  MAY_BE_INEXACT.test(text) &&
  [...text.matchAll(token)].some(([piece]) => /^[-0-9]/.test(piece) && isRounded(piece));

/** A double keeps the sign. */
const isRounded = (piece: string): boolean => {
  const written = decimalOf(piece);
  const kept = decimalOf(String(Number(piece)));
  return written.digits !== kept.digits || written.power !== kept.power;
};

/** Without its sign: the digits from the first to the last that is not 0, and their power of ten; none of 0. */
const decimalOf = (piece: string): { readonly digits: string; readonly power: number } => {
  const [mantissa = "", exponent = "0"] = piece.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  // A pattern would look for the end of the zeros again from each one that others follow.
  let end = digits.length;
  while (digits[end - 1] === "0") end -= 1;
  if (end === 0) return { digits: "", power: 0 };
  return {
    digits: digits.slice(0, end),
    power: Number(exponent) - fraction.length + (digits.length - end),
  };
};

const nameFlaw = (piece: string, names: Set<string>): string | undefined => {
  const name = unquote(piece);
  if (names.has(name)) return "The body has two members of one name.";
  if (name === "__proto__") return "The member __proto__ is not accepted.";
  names.add(name);
  return stringFlaw(piece);
};

const stringFlaw = (piece: string): string | undefined =>
  unquote(piece).isWellFormed() ? undefined : "A string has half of a surrogate pair.";

const unquote = (piece: string): string =>
  piece.includes("\\") ? String(JSON.parse(piece)) : piece.slice(1, -1);
