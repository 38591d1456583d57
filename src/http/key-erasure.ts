/**
 * DELETE /v1/idempotency-keys/{key}/body: erases the stored answer. The key stays used: it answers 410 and never runs
 * again. Repeating it changes nothing, so it needs no key of its own.
 */
import { parseIdempotencyKey } from "../idempotency/key.ts";
import type { Erasure } from "../objects/key-call.ts";
import { keyObjectNamed, objectFor } from "../objects/routing.ts";
import { admit } from "./access.ts";
import { actorOf } from "./actor.ts";
import type { HttpContext } from "./context.ts";
import { callObject } from "../objects/object-call.ts";
import { problemResponse } from "./problem-response.ts";

export const keyErasureRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["payments:write"]);
  if (!admitted.ok) return admitted.failure;
  const key = parseIdempotencyKey(c.req.param("key"), c.get("latchkey.keyLengthMin"));
  if (!key.ok) return problemResponse(c, key.failure.code, key.failure);
  const { tenant } = admitted.value;
  const object = objectFor(tenant, key.value, c.get("latchkey.settings").KEY_OBJECTS);
  let erasure: Erasure;
  try {
    erasure = await callObject(keyObjectNamed(c.env, object), (stub) =>
      stub.erase(tenant, key.value, actorOf(c, admitted.value)),
    );
    // Keys may have been spread over objects anew since the claim.
    if (erasure.kind === "erased" && erasure.object !== object) {
      const { record, forgetAtS } = erasure;
      await callObject(keyObjectNamed(c.env, erasure.object), (stub) =>
        stub.eraseCopy(tenant, key.value, record, forgetAtS),
      );
    }
  } catch {
    // An object that does not answer may have erased or not: to repeat is safe.
    erasure = { kind: "unavailable" };
  }
  switch (erasure.kind) {
    case "unknown-key":
      return problemResponse(c, "not-found");
    case "unknown-yet":
      return problemResponse(c, "temporarily-unavailable", {
        detail: "Whether this key was used is not known yet: an earlier request may still arrive.",
        afterMs: erasure.afterMs,
      });
    case "in-flight":
      return problemResponse(c, "request-in-flight");
    case "unavailable":
      return problemResponse(c, "temporarily-unavailable");
    case "erased":
      return new Response(null, { status: 204, headers: { "Cache-Control": "no-store" } });
  }
};
