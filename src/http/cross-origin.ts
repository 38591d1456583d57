/** CORS (the Fetch standard) for the origins that the operator names; for none unless named. */
import { cors } from "hono/cors";
import { createMiddleware } from "hono/factory";
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  REQUEST_ID,
  SHOULD_RETRY,
} from "../contract/headers.ts";
import type { HttpEnv } from "./context.ts";

/** How long a browser may remember a preflight, seconds: what Chromium keeps at most. */
const PREFLIGHT_SECONDS = 7_200;

export const crossOrigin = createMiddleware<HttpEnv>((c, next) => {
  const { CORS_ORIGINS } = c.get("latchkey.settings");
  if (CORS_ORIGINS.length === 0) return next();
  return cors({
    origin: CORS_ORIGINS.includes("*") ? "*" : [...CORS_ORIGINS],
    allowMethods: ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"],
    allowHeaders: ["Authorization", "Content-Type", IDEMPOTENCY_KEY, "Prefer"],
    exposeHeaders: [
      IDEMPOTENT_REPLAYED,
      IDEMPOTENCY_EXPIRES,
      REQUEST_ID,
      "Retry-After",
      "Location",
      ...SHOULD_RETRY,
    ],
    maxAge: PREFLIGHT_SECONDS,
  })(c, next);
});
