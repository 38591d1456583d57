/**
 * What came of one try, as ordered early returns: pure, and the only place that judges an answer. Headers before
 * problem codes before statuses: what the server says of this very answer outweighs what a table says of its kind.
 */
import { IDEMPOTENCY_EXPIRES, IDEMPOTENT_REPLAYED, SHOULD_RETRY } from "../contract/headers.ts";
import { isProblemCode, PROBLEMS } from "../contract/problems.ts";

/** What decides, of an answer. */
export type Marks = {
  readonly status: number;
  /** Of a problem document; null if the answer is none. */
  readonly code: string | null;
  /** Until when it is replayed; null if it does not say that it is stored. Milliseconds since the epoch. */
  readonly expiresAtMs: number | null;
  readonly replayed: boolean;
  /** Accepted (RFC 7240, `respond-async`), and not carried out yet. */
  readonly accepted: boolean;
  readonly shouldRetry: boolean | null;
  /** The server's advice when to come back, milliseconds from now. */
  readonly afterMs: number | null;
};

export type Verdict =
  /** Final for this key, good or bad. */
  | { readonly is: "final" }
  /** Nothing ran, and the key is free for a corrected request. */
  | { readonly is: "free" }
  /** Sending again cannot help until somebody acts: a new token, a resolution. The intent waits. */
  | { readonly is: "blocked" }
  /** The same request is to be sent again. */
  | { readonly is: "retry"; readonly afterMs: number | null };

const FINAL: Verdict = { is: "final" };
const FREE: Verdict = { is: "free" };
const BLOCKED: Verdict = { is: "blocked" };

/** Where a key is sent, the same request is safe after these, and may fare better. 409: another try is in flight. */
const WORTH_RETRYING: ReadonlySet<number> = new Set([408, 409, 423, 425, 429, 500, 502, 503, 504]);

export const judge = (marks: Marks): Verdict => {
  const { status } = marks;
  const problem =
    marks.code !== null && isProblemCode(marks.code) ? PROBLEMS[marks.code] : undefined;
  // Followed, a redirected POST becomes a GET, and credentials reach another place. 0: a browser does not show it.
  if (status === 0 || (status >= 300 && status < 400)) return BLOCKED;
  if (marks.expiresAtMs !== null) return FINAL;
  if (marks.accepted) return { is: "retry", afterMs: marks.afterMs };
  if (status >= 200 && status < 300) return FINAL;
  if (status === 401 || status === 403 || marks.code === "outcome-uncertain") return BLOCKED;
  if (marks.shouldRetry ?? problem?.shouldRetry ?? WORTH_RETRYING.has(status)) {
    return { is: "retry", afterMs: marks.afterMs };
  }
  if (problem !== undefined && isFree(problem.status)) return FREE;
  return FINAL;
};

/** Refused for what the request is, before anything was looked up: Latchkey stores none of these without saying so. */
const isFree = (status: number): boolean =>
  status === 400 || status === 404 || status === 405 || status === 413 || status === 415;

/** @param nowMs to turn dates into durations */
export const marksOf = (
  status: number,
  headers: Headers,
  problem: Readonly<Record<string, unknown>>,
  nowMs: number,
): Marks => ({
  status,
  code: typeof problem["code"] === "string" ? problem["code"] : null,
  expiresAtMs: timeOf(headers.get(IDEMPOTENCY_EXPIRES)),
  replayed: headers.get(IDEMPOTENT_REPLAYED) === "true",
  accepted: status === 202 && /\brespond-async\b/i.test(headers.get("Preference-Applied") ?? ""),
  shouldRetry: shouldRetryOf(headers),
  afterMs: adviceOf(problem["retry"]) ?? retryAfterOf(headers.get("Retry-After"), nowMs),
});

const shouldRetryOf = (headers: Headers): boolean | null => {
  const said = SHOULD_RETRY.map((name) => headers.get(name)).find((value) => value !== null);
  return said === "true" ? true : said === "false" ? false : null;
};

/** The problem's own figure is exact; `Retry-After` is rounded up to seconds. */
const adviceOf = (retry: unknown): number | null => {
  if (typeof retry !== "object" || retry === null || !("afterMs" in retry)) return null;
  const { afterMs } = retry;
  return typeof afterMs === "number" && afterMs >= 0 && Number.isFinite(afterMs) ? afterMs : null;
};

/** Seconds, or a date (RFC 9110 section 10.2.3). */
const retryAfterOf = (header: string | null, nowMs: number): number | null => {
  if (header === null) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const atMs = timeOf(header);
  return atMs === null ? null : Math.max(0, atMs - nowMs);
};

const timeOf = (date: string | null): number | null => {
  const ms = date === null ? Number.NaN : Date.parse(date);
  return Number.isNaN(ms) ? null : ms;
};
