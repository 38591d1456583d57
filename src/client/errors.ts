/**
 * What a call rejects with. Three kinds, because three different things are to be done: the server has answered
 * (`ProblemError`: look at its code), nobody knows yet (`NoOutcomeError`: the intent is stored, `resume` goes on), or
 * nothing was sent (`StoreError`).
 */
import { isProblemCode, type KeyUse, type ProblemCode, PROBLEMS } from "../contract/problems.ts";
import type { Answer } from "./answer.ts";

/** An error of the problem table, told by the server or known without asking it. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  /** Of the table, or an operation's own; `http-STATUS` of an API that sends no problem documents. */
  readonly code: string;
  readonly status: number;
  /** What may be done with the key. */
  readonly use: KeyUse;
  readonly key: string;
  /** The problem document's members; none if the answer is no problem document. */
  readonly members: Readonly<Record<string, unknown>>;
  /** Path of what the key made, where the server tells. */
  readonly link: string | null;
  /** Undefined if the client refused by itself, and nothing was sent. */
  readonly answer: Answer | undefined;

  constructor(
    code: string,
    about: {
      readonly key: string;
      readonly detail?: string;
      readonly members?: Readonly<Record<string, unknown>>;
      readonly answer?: Answer;
    },
  ) {
    const known = isProblemCode(code) ? PROBLEMS[code] : undefined;
    const members = about.members ?? {};
    const said = members["detail"];
    super(about.detail ?? (typeof said === "string" ? said : (known?.title ?? code)));
    this.code = code;
    this.status = about.answer?.status ?? known?.status ?? 0;
    this.use = useOf(members["retry"]) ?? known?.use ?? "new-key";
    this.key = about.key;
    this.members = members;
    this.link = typeof members["link"] === "string" ? members["link"] : null;
    this.answer = about.answer;
  }
}

/** `if (isProblem(error, "insufficient-funds")) …` */
export const isProblem = <Code extends ProblemCode | (string & {})>(
  error: unknown,
  code: Code,
): error is ProblemError & { readonly code: Code } =>
  error instanceof ProblemError && error.code === code;

/** Why a call ended without an outcome. Each time the intent is stored, and only its own key is safe. */
export type NoOutcomeReason =
  /** The call's patience, or the wait that the server asked for is longer. */
  | "deadline"
  /** Your signal. */
  | "aborted"
  /** The server may forget the key before the next try: look up what it made before anything else. */
  | "key-age";

export class NoOutcomeError extends Error {
  override readonly name = "NoOutcomeError";
  readonly reason: NoOutcomeReason;
  readonly key: string;
  /** The request may have been carried out: as soon as it was sent once, nobody here can say that it was not. */
  readonly maybeDone: boolean;
  /** When a later call may try. Milliseconds since the epoch. */
  readonly notBeforeMs: number;
  /** What the last try heard, if it heard anything. */
  readonly last: ProblemError | undefined;

  constructor(
    reason: NoOutcomeReason,
    about: {
      readonly key: string;
      readonly maybeDone: boolean;
      readonly notBeforeMs: number;
      readonly last: ProblemError | undefined;
      readonly cause: unknown;
    },
  ) {
    super(`No outcome yet for the key ${about.key} (${reason}). Only the same key is safe.`, {
      cause: about.cause,
    });
    this.reason = reason;
    this.key = about.key;
    this.maybeDone = about.maybeDone;
    this.notBeforeMs = about.notBeforeMs;
    this.last = about.last;
  }
}

/** The intent could not be kept, so it was not sent. Or what the store holds under the key is no intent. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

const useOf = (retry: unknown): KeyUse | undefined => {
  if (typeof retry !== "object" || retry === null || !("use" in retry)) return undefined;
  const { use } = retry;
  return use === "same-key" || use === "new-key" || use === "never" ? use : undefined;
};
