/** GET /v1/idempotency-keys/{key}: what became of a key. Reads only, and never the body. */
import { parseIdempotencyKey } from "../idempotency/key.ts";
import type { KeyStatus } from "../objects/key-call.ts";
import { keyObjectNamed, objectFor } from "../objects/routing.ts";
import { retryAfterSeconds } from "../contract/problems.ts";
import { admit } from "./access.ts";
import type { HttpContext } from "./context.ts";
import { callObject } from "../objects/object-call.ts";
import { problemResponse } from "./problem-response.ts";

export const keyStatusRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["read"]);
  if (!admitted.ok) return admitted.failure;
  const key = parseIdempotencyKey(c.req.param("key"), c.get("latchkey.keyLengthMin"));
  if (!key.ok) return problemResponse(c, key.failure.code, key.failure);
  const { tenant } = admitted.value;
  const object = objectFor(tenant, key.value, c.get("latchkey.settings").KEY_OBJECTS);
  // An object that does not answer is as little known of as a database that does not.
  const status = await callObject(keyObjectNamed(c.env, object), (stub) =>
    stub.lookUp(tenant, key.value),
  ).catch(() => "unavailable" as const);
  if (status === "unavailable") return problemResponse(c, "temporarily-unavailable");
  const retryAfter: Record<string, string> =
    status.afterMs === undefined
      ? {}
      : { "Retry-After": String(retryAfterSeconds(status.afterMs)) };
  return c.json(toKeyView(key.value, status), 200, { "Cache-Control": "no-store", ...retryAfter });
};

export const toKeyView = (key: string, status: KeyStatus) => ({
  key,
  state: status.state,
  operation: status.operation ?? null,
  attempts: status.attempts ?? null,
  outcome: status.outcome ?? null,
  link: status.link ?? null,
  createdAt: status.createdAtMs === undefined ? null : new Date(status.createdAtMs).toISOString(),
  expiresAt:
    status.expiresAtS === undefined ? null : new Date(status.expiresAtS * 1000).toISOString(),
});
