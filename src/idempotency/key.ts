/**
 * The idempotency key as the client sends it: the structured-field string `"k…"` of
 * draft-ietf-httpapi-idempotency-key-header-07 section 2.1 (RFC 9651 section 3.3.3), or bare `k…` as
 * every client sends it. Both are one key. Everything doubtful is refused: two header lines arrive joined
 * by a comma, and a byte outside ASCII arrives as U+FFFD, so that different keys would become one.
 */
import type { ProblemCode } from "../contract/problems.ts";
import { KEY_LENGTH_MAX, KEY_LENGTH_MIN } from "../kernel/limits.ts";
import { fail, type Result, succeed } from "../kernel/result.ts";

/** Printable ASCII without space `"` `,` `;` `\`. */
const ALLOWED = /^[!#-+\--:<-[\]-~]+$/;

export type KeyFailure = {
  readonly code: Extract<ProblemCode, "idempotency-key-missing" | "idempotency-key-invalid">;
  readonly detail: string;
};

/**
 * @param header the header's value, or undefined or null if the request has none
 * @param lengthMin the gateway takes shorter ones, for the keys of the API behind it are what they are
 */
export const parseIdempotencyKey = (
  header: string | null | undefined,
  lengthMin: number = KEY_LENGTH_MIN,
): Result<string, KeyFailure> => {
  // HTTP has stripped the white space around it (RFC 9110 section 5.5): any that is left belongs to the value.
  const text = header ?? "";
  if (text.trim() === "") {
    return fail({ code: "idempotency-key-missing", detail: "Send an Idempotency-Key header." });
  }
  const key =
    text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
  if (key.length < lengthMin || key.length > KEY_LENGTH_MAX) {
    return invalid(
      `The key has ${key.length} characters; ${lengthMin} to ${KEY_LENGTH_MAX} are accepted.`,
    );
  }
  // In the path of a key's status, here and at an upstream, they would name another resource, encoded or not.
  if (key === "." || key === "..") return invalid("The key may not be . or ..");
  if (!ALLOWED.test(key)) {
    return invalid(
      'The key may hold printable ASCII without space, ", comma, semicolon or backslash, and the header may be sent once.',
    );
  }
  return succeed(key);
};

const invalid = (detail: string) => fail({ code: "idempotency-key-invalid", detail } as const);
