/**
 * Advice in a sentence for people. A text model words it where one is bound and answers in time; else a template does.
 * It comes after the decision and has no part in it: the model is told what was decided, and what it says is only shown.
 */
import type { Advice } from "../advisor/advice.ts";
import type { TextModel } from "../env.ts";
import { EXPLANATION_LENGTH_MAX, EXPLANATION_TIMEOUT_MS } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";

export type Explanation = { readonly text: string; readonly by: "model" | "template" };

const MODEL = "@cf/meta/llama-3.1-8b-instruct-fp8";

const SYSTEM =
  "You word a decision about retrying an HTTP request for the person who waits. One plain English sentence. Add no facts and no advice of your own.";

export const explain = async (
  advice: Advice,
  model: TextModel | undefined,
): Promise<Explanation> => {
  if (model === undefined) return { text: templateOf(advice), by: "template" };
  // Nothing that a caller wrote goes in: classes and figures only.
  const { retry, use, afterMs, successProbability, policy } = advice;
  const facts = { retry, use, afterMs, successProbability, class: advice.class, policy };
  try {
    const asked = model.run(MODEL, {
      messages: [
        { role: "system", content: SYSTEM },
        { role: "user", content: JSON.stringify(facts) },
      ],
      max_tokens: 80,
    });
    const text = textOf(await withTimeout(asked, EXPLANATION_TIMEOUT_MS));
    if (text !== "") return { text, by: "model" };
  } catch {
    // Too late, or away.
  }
  return { text: templateOf(advice), by: "template" };
};

const textOf = (answer: unknown): string => {
  const said: unknown =
    typeof answer === "object" && answer !== null ? Reflect.get(answer, "response") : undefined;
  return typeof said === "string" ? said.trim().slice(0, EXPLANATION_LENGTH_MAX) : "";
};

const templateOf = ({ retry, use, afterMs, successProbability, reason }: Advice): string => {
  if (retry) {
    return `Send the same request again with the same key in ${Math.max(1, Math.round(afterMs / 1_000))} s; it then succeeds in about ${Math.round(successProbability * 100)} of 100 cases. ${reason}`;
  }
  switch (use) {
    case "same-key":
      return `Another try is not worth its price now; it would be safe under the same key. ${reason}`;
    case "new-key":
      return `Do not send it again under this key. ${reason}`;
    case "never":
      return `Do not send it again. ${reason}`;
  }
};
