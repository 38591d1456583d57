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
import { LATCHKEY_PROTECTED } from "../gateway/headers.ts";
import type { HttpContext, HttpEnv } from "./context.ts";

const OWN_HEADERS = ["Authorization", "Content-Type", IDEMPOTENCY_KEY, "Prefer"];

/** How long a browser may remember a preflight, seconds: what Chromium keeps at most. */
const PREFLIGHT_SECONDS = 7_200;

export const crossOrigin = createMiddleware<HttpEnv>((c, next) => {
  const { CORS_ORIGINS } = c.get("latchkey.settings");
  // An OPTIONS that is no preflight asks whoever is behind, as any request does.
  const isPlain = c.req.method === "OPTIONS" && !isPreflight(c);
  if (CORS_ORIGINS.length === 0 || isPlain) return next();
  const isGateway = c.get("latchkey.home") !== undefined;
  return cors({
    origin: CORS_ORIGINS.includes("*") ? "*" : [...CORS_ORIGINS],
    allowMethods: ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"],
    // What the API behind the gateway takes is not known here: an origin that may call may send what it likes.
    allowHeaders: isGateway ? [] : OWN_HEADERS,
    exposeHeaders: [
      IDEMPOTENT_REPLAYED,
      IDEMPOTENCY_EXPIRES,
      REQUEST_ID,
      "Retry-After",
      "Location",
      ...SHOULD_RETRY,
      ...(isGateway ? [LATCHKEY_PROTECTED] : []),
    ],
    maxAge: PREFLIGHT_SECONDS,
  })(c, next);
});

const isPreflight = ({ req }: HttpContext): boolean =>
  req.header("Origin") !== undefined && req.header("Access-Control-Request-Method") !== undefined;
