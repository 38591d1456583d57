/** Who asks, as the audit log keeps it: tenants' callers by a hash, operators by name. */
import type { AuditActor } from "../journal/audit-log.ts";
import { callerHash } from "../kernel/hash.ts";
import type { Caller } from "./authentication.ts";
import type { HttpContext } from "./context.ts";

/** A tenant's caller: a subject may be a person. Empty if the host does not say who it is. */
export const actorOf = (c: HttpContext, { who }: Caller): AuditActor => ({
  actor: who === undefined ? "" : callerHash(who.issuer, who.subject),
  requestId: c.get("latchkey.requestId"),
});

/** An operator reaches across tenants, and so is named. */
export const operatorOf = (c: HttpContext, { who }: Caller): AuditActor => ({
  actor: who === undefined ? "" : `${who.issuer}/${who.subject}`,
  requestId: c.get("latchkey.requestId"),
});
