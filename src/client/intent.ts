/**
 * What was decided to be done once, as it is stored before the first try: the key, and the request to the byte. Neither
 * ever changes. What a later process needs to go on is in it; credentials are not, they are asked for at each try.
 *
 * The rest (when to try again, the answer) is comfort: if two processes overwrite each other's, or a write of it is lost,
 * the request is sent once more than needed, and the server replays.
 */
import type { Content } from "./content.ts";

export type IntentRequest = {
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  /** Names in lower case; no credentials. */
  readonly headers: Readonly<Record<string, string>>;
  readonly content: Content | null;
};

/** An answer that is final for its key. */
export type StoredAnswer = {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly content: Content;
  readonly replayed: boolean;
  /** Until when the server replays it, if it said so. Milliseconds since the epoch. */
  readonly expiresAtMs: number | null;
};

export type Intent = {
  readonly version: 1;
  readonly key: string;
  readonly request: IntentRequest;
  readonly createdAtMs: number;
  /** From here on the server may have forgotten the key, and would run it anew: it is not sent any more. */
  readonly safeUntilMs: number;
  /** Not to be tried before, whoever does it. */
  readonly notBeforeMs: number;
  readonly answer: StoredAnswer | null;
};

/** Whether one key may stand for both: anything that differs is another intent. */
export const isSameRequest = (a: IntentRequest, b: IntentRequest): boolean =>
  a.method === b.method &&
  a.url === b.url &&
  sameContent(a.content, b.content) &&
  sameHeaders(a.headers, b.headers);

const sameContent = (a: Content | null, b: Content | null): boolean => {
  if (a === null || b === null) return a === b;
  if (a.kind === "text") return b.kind === "text" && a.text === b.text;
  return b.kind === "bytes" && a.base64 === b.base64;
};

const sameHeaders = (a: IntentRequest["headers"], b: IntentRequest["headers"]): boolean => {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
  );
};

/** What a store gave back, if it is an intent: others may write there too, and files are edited. */
export const parseIntent = (stored: unknown): Intent | undefined => {
  if (!isRecord(stored) || stored["version"] !== 1) return undefined;
  const { key, request, createdAtMs, safeUntilMs, notBeforeMs, answer } = stored;
  if (typeof key !== "string" || !isRequest(request)) return undefined;
  if (!isNumber(createdAtMs) || !isNumber(safeUntilMs) || !isNumber(notBeforeMs)) return undefined;
  if (answer !== null && !isAnswer(answer)) return undefined;
  return { version: 1, key, request, createdAtMs, safeUntilMs, notBeforeMs, answer };
};

const isRequest = (value: unknown): value is IntentRequest =>
  isRecord(value) &&
  typeof value["method"] === "string" &&
  typeof value["url"] === "string" &&
  URL.canParse(value["url"]) &&
  isTexts(value["headers"]) &&
  (value["content"] === null || isContent(value["content"]));

const isAnswer = (value: unknown): value is StoredAnswer =>
  isRecord(value) &&
  isNumber(value["status"]) &&
  isTexts(value["headers"]) &&
  isContent(value["content"]) &&
  typeof value["replayed"] === "boolean" &&
  (value["expiresAtMs"] === null || isNumber(value["expiresAtMs"]));

const isContent = (value: unknown): value is Content =>
  isRecord(value) &&
  ((value["kind"] === "text" && typeof value["text"] === "string") ||
    (value["kind"] === "bytes" && typeof value["base64"] === "string"));

const isTexts = (value: unknown): value is Record<string, string> =>
  isRecord(value) && Object.values(value).every((text) => typeof text === "string");

const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
