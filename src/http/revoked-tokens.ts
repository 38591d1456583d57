/**
 * PUT /v1/ops/revoked-tokens/{jti}: revokes a token everywhere within ten seconds. Repeating it changes nothing, so it
 * needs no key.
 */
import { z } from "zod";
import { wholeSeconds } from "../kernel/clock.ts";
import { ISSUER_LENGTH_MAX, SEND_TIMEOUT_MS, TOKEN_ID_LENGTH_MAX } from "../kernel/limits.ts";
import { withTimeout } from "../kernel/timeout.ts";
import { type AuditNote, writeAuditNote } from "../journal/audit-log.ts";
import { admit } from "./access.ts";
import { operatorOf } from "./actor.ts";
import type { HttpContext } from "./context.ts";
import { readJson } from "./input.ts";
import { problemResponse } from "./problem-response.ts";
import { revocations } from "./revocation.ts";

export const revocationInput = z.strictObject({
  issuer: z.string().min(1).max(ISSUER_LENGTH_MAX),
  expiresAt: z.iso.datetime().meta({ description: "When the token expires by itself" }),
});

const jtiSchema = z.string().min(1).max(TOKEN_ID_LENGTH_MAX);

export const revokeTokenRoute = async (c: HttpContext): Promise<Response> => {
  const admitted = await admit(c, ["ops:act"]);
  if (!admitted.ok) return admitted.failure;
  const body = await readJson(c);
  if (!body.ok) return body.failure;
  const input = revocationInput.safeParse(body.value);
  const jti = jtiSchema.safeParse(c.req.param("jti"));
  if (!input.success || !jti.success) {
    return problemResponse(c, "request-invalid", { detail: "Send issuer and expiresAt." });
  }
  const expiresAtS = Math.ceil(Date.parse(input.data.expiresAt) / 1000);
  if (expiresAtS <= wholeSeconds(Date.now())) {
    return problemResponse(c, "request-invalid", {
      detail: "expiresAt has passed: the token is refused without being revoked.",
    });
  }
  const token = { issuer: input.data.issuer, jti: jti.data, expiresAtS };
  const note: AuditNote = {
    ...operatorOf(c, admitted.value),
    atMs: Date.now(),
    tenant: "",
    kind: "action",
    operation: "ops.revoke-token",
    detail: { issuer: token.issuer, jti: token.jti },
  };
  // Noted first. A database that is away is no reason to let the token pass: then it is revoked, and asked for again.
  const isNoted = await withTimeout(writeAuditNote(c.env.DB, note), SEND_TIMEOUT_MS).then(
    () => true,
    () => false,
  );
  try {
    const kept = await withTimeout(revocations(c.env).revoke(token), SEND_TIMEOUT_MS);
    if (!kept) {
      return problemResponse(c, "temporarily-unavailable", {
        detail: "The list of revocations is full.",
      });
    }
  } catch {
    // It may be revoked or not: to repeat is safe.
    return problemResponse(c, "temporarily-unavailable");
  }
  if (!isNoted) {
    return problemResponse(c, "temporarily-unavailable", {
      detail: "The token is revoked. The audit log could not be written: send it again.",
    });
  }
  return new Response(null, { status: 204, headers: { "Cache-Control": "no-store" } });
};
