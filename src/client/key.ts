/** The idempotency key of an intent: random and ordered by time, or computed from what identifies the intent. */
import { canonicalJson } from "./content.ts";

/** Fills an array with random bytes, like `crypto.getRandomValues`. */
export type FillRandom = (bytes: Uint8Array<ArrayBuffer>) => void;

export const systemRandomness: FillRandom = (bytes) => {
  crypto.getRandomValues(bytes);
};

/** RFC 9562 section 5.7: 48 bits of milliseconds, 74 random bits. */
export const uuidV7 = (nowMs: number, fillRandom: FillRandom): string => {
  const bytes = new Uint8Array(16);
  fillRandom(bytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(nowMs / 2 ** 32));
  view.setUint32(2, nowMs % 2 ** 32);
  view.setUint8(6, 0x70 | (view.getUint8(6) & 0x0f));
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  return hexOf(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
};

/**
 * SHA-256 of the transaction's metadata, whatever the order of its members. It has to hold what makes the intent this
 * one and no other (an order's number, and what is done with it): two equal purchases are two intents, and a hash of
 * what is bought alone would be one key for both.
 *
 * Throws a TypeError if the metadata is no JSON, or names nothing.
 */
export const keyOf = async (metadata: Readonly<Record<string, unknown>>): Promise<string> => {
  const text = canonicalJson(metadata);
  if (text === "{}") throw new TypeError("Metadata that names nothing would be one key for all.");
  return hexOf(
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
  );
};

const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
