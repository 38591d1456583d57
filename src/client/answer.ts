/** An answer as the caller gets it, fresh from the server or from the store, with the marks that it came with. */
import { decodeContent } from "./content.ts";
import type { StoredAnswer } from "./intent.ts";

export type Answer<Body = unknown> = {
  readonly key: string;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed, if it is JSON; else the text, or the bytes of what is no text. */
  readonly body: Body;
  /** The server has marked it as the answer of an earlier try. */
  readonly replayed: boolean;
  /** Until when the server replays it, if it said so. */
  readonly expiresAt: Date | null;
  /** Nothing was sent: the answer was in the store. */
  readonly fromStore: boolean;
  /** How often this call has sent the request. */
  readonly attempts: number;
};

export const toAnswer = (
  key: string,
  stored: StoredAnswer,
  { fromStore, attempts }: { readonly fromStore: boolean; readonly attempts: number },
): Answer => ({
  key,
  status: stored.status,
  headers: stored.headers,
  body: bodyOf(stored),
  replayed: stored.replayed,
  expiresAt: stored.expiresAtMs === null ? null : new Date(stored.expiresAtMs),
  fromStore,
  attempts,
});

/** The members of a problem document (RFC 9457); none of anything else. */
export const problemOf = (answer: Pick<StoredAnswer, "headers" | "content">) => {
  const body = bodyOf(answer);
  return isProblemType(answer.headers["content-type"]) && isMembers(body) ? body : {};
};

const bodyOf = ({ headers, content }: Pick<StoredAnswer, "headers" | "content">): unknown => {
  const decoded = decodeContent(content);
  if (typeof decoded !== "string" || !isJson(headers["content-type"])) return decoded;
  try {
    return JSON.parse(decoded);
  } catch {
    return decoded;
  }
};

const isJson = (type = ""): boolean => /^application\/([\w.-]+\+)?json\b/i.test(type);

const isProblemType = (type = ""): boolean => /^application\/problem\+json\b/i.test(type);

const isMembers = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
