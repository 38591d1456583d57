/** JSON in a text, as settings hold it. What it holds is for the schema behind it to judge. */
import { z } from "zod";

export const jsonText = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: "custom", message: "is not JSON" });
    return z.NEVER;
  }
});
