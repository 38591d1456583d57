/**
 * One key in plain sentences, the question first that support is asked: was it done, and how often? Pure: from what the
 * audit log, the journal and the books have of it.
 */
import { isProblemCode, PROBLEMS } from "../contract/problems.ts";

export type Evidence = {
  readonly operation: string;
  readonly kind: "effect" | "refusal" | "open" | "uncertain" | "not-executed";
  /** Of a refusal. */
  readonly code: string | null;
  /** Whether what the key made was found; undefined where it makes nothing that can be looked for. */
  readonly isMade: boolean | undefined;
  /** What later requests with this key were answered, counted. */
  readonly answers: Readonly<Record<string, number>>;
  /** Names of members that differed in a request with the same key. */
  readonly differing: readonly string[];
  readonly isErased: boolean;
};

const DONE: Readonly<Record<string, string>> = {
  "payments.create": "Charged once.",
  "refunds.create": "Refunded once.",
  "orders.create": "Ordered and paid once.",
  "orders.cancel": "Cancelled once.",
  "stock.adjust": "Stock changed once.",
  "accounts.create": "Account created once.",
  "products.create": "Product created once.",
};

export const storyOf = (evidence: Evidence): string =>
  [outcome(evidence), ...later(evidence)].join(" ");

const outcome = ({ kind, operation, code, isMade }: Evidence): string => {
  switch (kind) {
    case "effect":
      return isMade === false
        ? "Accepted, but what it made was not found: see the issues."
        : (DONE[operation] ?? "Done once.");
    case "refusal":
      return `Refused, and nothing changed: ${titleOf(code).toLowerCase()}.`;
    case "open":
      return "Begun, and its outcome is not known yet.";
    case "uncertain":
      return "It may have been carried out, and nobody can tell: look where it would have happened.";
    case "not-executed":
      return "Not carried out: the key is free to run.";
  }
};

const titleOf = (code: string | null): string =>
  code !== null && isProblemCode(code) ? PROBLEMS[code].title : (code ?? "no reason is kept");

const later = ({ answers, differing, isErased }: Evidence): string[] => {
  const of = (code: string): number => answers[code] ?? 0;
  const sentences: string[] = [];
  const replayed = of("replayed");
  if (replayed > 0) sentences.push(`${retries(replayed)} got the same answer.`);
  const early = of("request-in-flight");
  if (early > 0) sentences.push(`${retries(early)} came while it was still running.`);
  const reused = of("idempotency-key-reused");
  if (reused > 0) {
    const names = differing.length === 0 ? "" : `, in ${differing.join(", ")}`;
    sentences.push(
      `${number(reused)} other ${reused === 1 ? "request" : "requests"} used the same key with other content${names}: refused.`,
    );
  }
  const spent = of("idempotency-key-expired") + of("outcome-erased");
  if (spent > 0)
    sentences.push(`${retries(spent)} came after the answer was gone, and did not run.`);
  if (isErased) sentences.push("Its answer was erased on request.");
  return sentences;
};

const WORDS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];

const number = (count: number): string => WORDS[count] ?? count.toLocaleString("en");

const retries = (count: number): string => `${number(count)} ${count === 1 ? "retry" : "retries"}`;
