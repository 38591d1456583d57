/**
 * A request to the API behind the gateway. GET, HEAD and OPTIONS pass through. Everything else may change something: with
 * a key it is an exchange that the key object carries out once; without one it is refused, unless its route lets it pass.
 *
 * The order of checks is the contract's: 404, 405, 401, 403, 429, 413, key; then the object judges the key's state. What
 * the content is nobody asks: forms, parts, bytes and nothing at all are sent as they came.
 */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  httpDate,
} from "../contract/headers.ts";
import { EXCHANGE_FINGERPRINT_VERSION, printExchange } from "../gateway/content-fingerprint.ts";
import { sentHeaders } from "../gateway/headers.ts";
import { hasEmptySegments, isTrickPath } from "../gateway/path-pattern.ts";
import { type Route, routeFor } from "../gateway/route-policy.ts";
import { parseIdempotencyKey } from "../idempotency/key.ts";
import { GATEWAY_BODY_BYTES_MAX, GATEWAY_KEY_LENGTH_MIN } from "../kernel/limits.ts";
import type { ExchangeReply } from "../objects/exchange-call.ts";
import { callObject } from "../objects/object-call.ts";
import { keyObjectNamed, objectFor } from "../objects/routing.ts";
import { checkRevocation } from "./access.ts";
import { type HttpContext, originOf, targetOf } from "./context.ts";
import { actorOf } from "./actor.ts";
import { admitToRoute } from "./gateway-caller.ts";
import { readBytes } from "./json-body.ts";
import { brokenCallCode, openReply } from "./open-reply.ts";
import { isOverNewKeyLimit, RATE_PERIOD_MS } from "./new-key-limit.ts";
import { arrivalOf, passThrough } from "./pass-through.ts";
import { prefersAsync, waitMsOf } from "./prefer.ts";
import { problemResponse, shouldRetryHeaders } from "./problem-response.ts";
import { gatewayOf } from "./settings.ts";

const READS = ["GET", "HEAD", "OPTIONS"];
const KEY_REQUIRED = ["POST", "PATCH"];
const KEY_OPTIONAL = ["PUT", "DELETE"];
const ALLOW = [...READS, ...KEY_REQUIRED, ...KEY_OPTIONAL].join(", ");

export const gatewayRoute = async (c: HttpContext): Promise<Response> => {
  const { method } = c.req.raw;
  const target = targetOf(c);
  const [path = ""] = target.split("?", 1);
  const route = routeFor(gatewayOf(c.env), method, path);
  if (route === null) return problemResponse(c, "not-found");
  const isRead = READS.includes(method);
  if (isTrickPath(path) || (!isRead && hasEmptySegments(path))) {
    return problemResponse(c, "not-found", { detail: "The path has empty or dot segments." });
  }
  if (isRead) return passThrough(c, route.policy, target, false);
  const keyRequired = KEY_REQUIRED.includes(method);
  if (!keyRequired && !KEY_OPTIONAL.includes(method)) {
    // What is not known to be safe is not sent as if it were.
    return problemResponse(c, "method-not-allowed", { headers: { Allow: ALLOW } });
  }
  if (!route.protect) return passThrough(c, route.policy, target, true);
  return exchange(c, route, target, keyRequired);
};

const exchange = async (
  c: HttpContext,
  { auth, missingKey, waitMs, policy }: Route,
  target: string,
  keyRequired: boolean,
): Promise<Response> => {
  const keyHeader = c.req.header(IDEMPOTENCY_KEY);
  const passes = keyHeader === undefined && (!keyRequired || missingKey === "pass");
  // Nobody's key: who may ask is the upstream's to say, as with a read.
  if (passes && auth.kind === "passthrough") return passThrough(c, policy, target, true);
  const admitted = await admitToRoute(c, auth);
  if (!admitted.ok) return admitted.failure;
  const { tenant, counter, credential, upstreamKey, caller } = admitted.value;
  if (passes) return passThrough(c, policy, target, true);
  if (await isOverNewKeyLimit(c.env.NEW_KEYS, tenant, keyHeader, counter)) {
    return problemResponse(c, "rate-limited", { afterMs: RATE_PERIOD_MS });
  }
  const bytes = await readBytes(c.req.raw, GATEWAY_BODY_BYTES_MAX);
  if (!bytes.ok) return problemResponse(c, bytes.failure.code, bytes.failure);
  const key = parseIdempotencyKey(keyHeader, GATEWAY_KEY_LENGTH_MIN);
  if (!key.ok) return problemResponse(c, key.failure.code, key.failure);

  const settings = c.get("latchkey.settings");
  const request = {
    method: c.req.raw.method,
    target,
    headers: sentHeaders(c.req.raw.headers, arrivalOf(c), upstreamKey(key.value), credential),
    body: bytes.value,
  };
  const { fingerprint, members } = printExchange(request, settings.FINGERPRINT_SECRET);
  const object = objectFor(tenant, key.value, settings.KEY_OBJECTS);
  const prefer = c.req.header("Prefer");
  let reply: ExchangeReply;
  try {
    reply = await callObject(keyObjectNamed(c.env, object), (stub) =>
      stub.exchange({
        tenant,
        key: key.value,
        object,
        policy,
        request,
        fingerprint,
        fingerprintVersion: EXCHANGE_FINGERPRINT_VERSION,
        members,
        ...(caller === null
          ? { actor: "", requestId: c.get("latchkey.requestId") }
          : actorOf(c, caller)),
        origin: originOf(c),
        waitMs: waitMsOf(prefer, waitMs),
        detached: prefersAsync(prefer),
      }),
    );
  } catch (error) {
    return openReply(c, key.value, { kind: "problem", code: brokenCallCode(c, error) });
  }
  // A token may have been revoked while the request was held.
  const revoked = caller === null ? undefined : await checkRevocation(c, caller);
  if (revoked !== undefined) return revoked;
  return toResponse(c, key.value, reply);
};

const toResponse = (c: HttpContext, key: string, reply: ExchangeReply): Response => {
  if (reply.kind === "problem" || reply.kind === "accepted") return openReply(c, key, reply);
  const { status, body, expiresAtS } = reply;
  // None of ours is among those that are kept: see gateway/headers.ts.
  const headers: [name: string, value: string][] = [
    ...reply.headers.map(([name, value]): [string, string] => [name, value]),
    ["Cache-Control", "no-store"],
    [IDEMPOTENCY_EXPIRES, httpDate(expiresAtS)],
  ];
  if (reply.kind === "answer" && reply.replayed) headers.push([IDEMPOTENT_REPLAYED, "true"]);
  if (status >= 300) headers.push(...Object.entries(shouldRetryHeaders(false)));
  // The Fetch standard allows no body with these, not even an empty one.
  return new Response(NULL_BODY_STATUSES.has(status) ? null : body, { status, headers });
};

const NULL_BODY_STATUSES = new Set([204, 205, 304]);
