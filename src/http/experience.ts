/** What the Worker itself meets is told to the isolate's advisor; nothing waits for that. */
import type { Failure } from "../advisor/failure.ts";
import { advisor } from "../objects/advice.ts";
import type { HttpContext } from "./context.ts";

/**
 * @param failure undefined: it went well
 * @param partial what goes well is observed elsewhere
 */
export const met = (
  c: HttpContext,
  group: string,
  startedAtMs: number,
  failure: Failure | undefined,
  partial = false,
): void => {
  const tenant = c.get("latchkey.tenant");
  if (tenant === undefined) return;
  const atMs = Date.now();
  advisor.observe(tenant, group, { atMs, durationMs: atMs - startedAtMs, failure, partial });
  tellLater(c, tenant);
};

/** In the background, where it is time to. */
export const tellLater = (c: HttpContext, tenant: string): void => {
  const told = advisor.exchange(tenant, c.env.ADVISOR);
  if (told !== undefined) c.executionCtx.waitUntil(told);
};
