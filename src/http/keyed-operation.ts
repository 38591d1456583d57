/**
 * One keyed request, from the wire to the key object and back. The order of checks is the contract's: 401, 403,
 * 429, 415, 413, key, JSON syntax; then the object judges the key's state, and only for a free key the schema.
 */
import {
  IDEMPOTENCY_EXPIRES,
  IDEMPOTENCY_KEY,
  IDEMPOTENT_REPLAYED,
  httpDate,
} from "../contract/headers.ts";
import { PROBLEMS } from "../contract/problems.ts";
import { parseTraceparent } from "../contract/trace-context.ts";
import {
  FINGERPRINT_VERSION,
  type Fingerprinted,
  fingerprint,
} from "../idempotency/fingerprint.ts";
import { parseIdempotencyKey } from "../idempotency/key.ts";
import { crashPoint } from "../kernel/crash-point.ts";
import { systemRandomness, timeOrderedId } from "../kernel/ids.ts";
import { type Json, parseJson } from "../kernel/json.ts";
import { fail, type Result } from "../kernel/result.ts";
import type { KeyCall, KeyReply } from "../objects/key-call.ts";
import type { KeyObjectMethods } from "../objects/key-object.ts";
import { keyObjectNamed, objectFor } from "../objects/routing.ts";
import type { Operation } from "../operations/define-operation.ts";
import { admit, checkRevocation, forbidden } from "./access.ts";
import { actorOf } from "./actor.ts";
import { type HttpContext, originOf, paramsOf, queryOf } from "./context.ts";
import { checkMediaType, decodeText, readBytes } from "./json-body.ts";
import { isOverNewKeyLimit, RATE_PERIOD_MS } from "./new-key-limit.ts";
import { callObject } from "../objects/object-call.ts";
import { OWN_GROUP } from "../objects/advice.ts";
import { met } from "./experience.ts";
import { brokenCallCode, openReply } from "./open-reply.ts";
import { prefersAsync, waitMsOf } from "./prefer.ts";
import { problemResponse, shouldRetryHeaders } from "./problem-response.ts";

/** How the object is asked; benchmarks ask something else. */
type Ask = (stub: KeyObjectMethods, call: KeyCall) => Promise<KeyReply>;

const submit: Ask = (stub, call) => stub.submit(call);

export const keyedOperation =
  (operation: Operation, ask: Ask = submit) =>
  async (c: HttpContext): Promise<Response> => {
    const admitted = await admit(c, [operation.scope]);
    if (!admitted.ok) return admitted.failure;
    const { tenant, scopes } = admitted.value;

    const keyHeader = c.req.header(IDEMPOTENCY_KEY);
    if (await isOverNewKeyLimit(c.env.NEW_KEYS, tenant, keyHeader)) {
      return problemResponse(c, "rate-limited", { afterMs: RATE_PERIOD_MS });
    }
    const media = checkMediaType(c.req.raw.headers);
    if (!media.ok) return problemResponse(c, media.failure.code, media.failure);
    const bytes = await readBytes(c.req.raw);
    if (!bytes.ok) return problemResponse(c, bytes.failure.code, bytes.failure);

    // Where a key is optional and none was sent, the request gets one of its own: one path for all.
    const key =
      keyHeader === undefined && !operation.keyRequired
        ? parseIdempotencyKey(timeOrderedId(Date.now(), systemRandomness))
        : parseIdempotencyKey(keyHeader);
    if (!key.ok) return problemResponse(c, key.failure.code, key.failure);

    const body = parseBody(bytes.value);
    if (!body.ok) return problemResponse(c, "request-invalid", { detail: body.failure });
    const missing = operation.moreScopes(body.value).find((scope) => !scopes.has(scope));
    if (missing !== undefined) return forbidden(c, missing);

    const request: Fingerprinted = {
      operation: operation.name,
      params: paramsOf(c, operation.path),
      query: queryOf(c),
      body: body.value,
    };
    const object = objectFor(tenant, key.value, c.get("latchkey.settings").KEY_OBJECTS);
    const print = fingerprint(request);
    if (print === undefined) throw new Error("The current fingerprint version is not computable.");
    const prefer = c.req.header("Prefer");
    const startedAtMs = Date.now();
    let reply: KeyReply;
    try {
      reply = await callObject(keyObjectNamed(c.env, object), (stub) =>
        ask(stub, {
          tenant,
          key: key.value,
          object,
          request,
          fingerprint: print,
          fingerprintVersion: FINGERPRINT_VERSION,
          ...actorOf(c, admitted.value),
          origin: originOf(c),
          waitMs: waitMsOf(prefer),
          detached: prefersAsync(prefer),
          traceparent: parseTraceparent(c.req.header("traceparent"))?.traceparent,
        }),
      );
    } catch (error) {
      const code = brokenCallCode(c, error);
      met(c, OWN_GROUP, startedAtMs, { status: PROBLEMS[code].status, code }, true);
      return openReply(c, key.value, { kind: "problem", code });
    }
    // A token may have been revoked while the request was held.
    const revoked = await checkRevocation(c, admitted.value);
    if (revoked !== undefined) return revoked;
    if (CRASH_POINTS) c.executionCtx.waitUntil(crashPoint("answer-sent"));
    return toResponse(c, key.value, reply);
  };

const parseBody = (bytes: Uint8Array): Result<Json, string> => {
  const text = decodeText(bytes);
  return text.ok ? parseJson(text.value) : fail(text.failure.detail);
};

const toResponse = (c: HttpContext, key: string, reply: KeyReply): Response => {
  if (reply.kind !== "outcome") return openReply(c, key, reply);
  const { status, headers, body } = reply.response;
  return new Response(body, {
    status,
    headers: {
      ...headers,
      "Cache-Control": "no-store",
      [IDEMPOTENCY_EXPIRES]: httpDate(reply.expiresAtS),
      ...(reply.replayed ? { [IDEMPOTENT_REPLAYED]: "true" } : {}),
      ...(status >= 300 ? shouldRetryHeaders(false) : {}),
    },
  });
};
