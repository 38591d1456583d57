/**
 * Fault 26: a revoked token is refused within ten seconds, also where an answer was held meanwhile. The list is kept by
 * the real object; the Worker's clock is the test's.
 */
import { applyD1Migrations, createExecutionContext, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SignJWT } from "jose";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createApp, createGateway } from "../../src/app.ts";
import type { Bindings } from "../../src/env.ts";
import { isRevoked, revocations } from "../../src/http/revocation.ts";
import {
  REVOCATIONS_AGE_MS_MAX,
  REVOCATIONS_MAX,
  REVOCATIONS_REFRESH_MS,
} from "../../src/kernel/limits.ts";
import { REVOCATIONS_NAME } from "../../src/objects/revocation-call.ts";
import { operations, queries } from "../../src/operations/registry.ts";
import type { ExchangeCall } from "../../src/objects/exchange-call.ts";
import type { KeyCall } from "../../src/objects/key-call.ts";
import type { KeyObjectMethods } from "../../src/objects/key-object.ts";
import { until } from "../support/faulty-database.ts";
import { balanceOf, openBooks } from "./support/books.ts";

/** Far enough apart that no list of one test is young enough for the next. */
const HOUR_MS = 60 * 60 * 1000;

let nowMs = Date.now();

beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));

beforeEach(() => {
  nowMs += HOUR_MS;
});

const inList = <Value>(work: (storage: SqlStorage) => Value): Promise<Value> =>
  runInDurableObject(env.REVOCATIONS.getByName(REVOCATIONS_NAME), (_instance, { storage }) =>
    work(storage.sql),
  );

/** The object breaks, as on a disk that fails, until the returned function is called. */
const breakList = async (): Promise<() => Promise<void>> => {
  await inList((storage) => void storage.exec("ALTER TABLE revoked RENAME TO away"));
  return () => inList((storage) => void storage.exec("ALTER TABLE away RENAME TO revoked"));
};

const newToken = () => ({ issuer: "latchkey", jti: crypto.randomUUID() });

const revoke = async (token: { issuer: string; jti: string }, lastsS = 3_600): Promise<boolean> =>
  revocations(env).revoke({ ...token, expiresAtS: Math.floor(Date.now() / 1000) + lastsS });

describe("the list of revoked tokens", () => {
  /** Asks as the Worker does, and lets a refresh in the background end. */
  const ask = async (token: { issuer: string; jti: string }, atMs: number) => {
    const later: Promise<unknown>[] = [];
    const revoked = await isRevoked(env, token, atMs, (work) => later.push(work));
    await Promise.all(later);
    return { revoked, refreshes: later.length };
  };

  it("26: is at most ten seconds old, whoever asks", async () => {
    const token = newToken();
    expect(await ask(token, nowMs)).toEqual({ revoked: false, refreshes: 0 });
    expect(await revoke(token)).toBe(true);
    // Still the list of before; from its half-life on it is asked for anew, behind the answer.
    expect(await ask(token, nowMs + REVOCATIONS_REFRESH_MS - 1)).toEqual({
      revoked: false,
      refreshes: 0,
    });
    expect(await ask(token, nowMs + REVOCATIONS_REFRESH_MS)).toEqual({
      revoked: false,
      refreshes: 1,
    });
    expect(await ask(token, nowMs + REVOCATIONS_REFRESH_MS)).toEqual({
      revoked: true,
      refreshes: 0,
    });
  });

  it("26: that nobody asked for in between is waited for when it is ten seconds old", async () => {
    const token = newToken();
    await ask(token, nowMs);
    await revoke(token);
    expect(await ask(token, nowMs + REVOCATIONS_AGE_MS_MAX)).toEqual({
      revoked: true,
      refreshes: 0,
    });
  });

  it("26: is no younger for a clock that was set back: a list from the future is waited for like an old one", async () => {
    const token = newToken();
    await ask(token, nowMs);
    await revoke(token);
    expect(await ask(token, nowMs - REVOCATIONS_AGE_MS_MAX)).toEqual({
      revoked: true,
      refreshes: 0,
    });
  });

  it("26: that cannot be refreshed serves for its ten seconds, then says nothing, and then goes on", async () => {
    const good = newToken();
    const bad = newToken();
    await revoke(bad);
    await ask(good, nowMs);
    const mend = await breakList();
    try {
      const last = nowMs + REVOCATIONS_AGE_MS_MAX - 1;
      expect(await ask(good, last)).toEqual({ revoked: false, refreshes: 1 });
      expect(await ask(bad, last)).toEqual({ revoked: true, refreshes: 1 });
      expect((await ask(good, last + 1)).revoked).toBe("unknown");
      expect((await ask(bad, last + 1)).revoked).toBe("unknown");
    } finally {
      await mend();
    }
    expect((await ask(good, nowMs + REVOCATIONS_AGE_MS_MAX)).revoked).toBe(false);
    expect((await ask(bad, nowMs + REVOCATIONS_AGE_MS_MAX)).revoked).toBe(true);
  });

  it("names a token by issuer and id together", async () => {
    const token = newToken();
    await revoke(token);
    const { jti } = token;
    const others = [
      { issuer: "another", jti },
      { issuer: "latchkey", jti: `${jti}x` },
      { issuer: `latchkey${jti.slice(0, 1)}`, jti: jti.slice(1) },
      { issuer: "", jti: `latchkey${jti}` },
    ];
    for (const other of others) expect((await ask(other, nowMs)).revoked).toBe(false);
    expect((await ask(token, nowMs)).revoked).toBe(true);
  });

  it("is asked once by many who come at once with a list of middle age", async () => {
    const token = newToken();
    await ask(token, nowMs);
    let refreshes = 0;
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        isRevoked(env, token, nowMs + REVOCATIONS_REFRESH_MS, () => {
          refreshes += 1;
        }),
      ),
    );
    expect(new Set(answers)).toEqual(new Set([false]));
    expect(refreshes).toBe(1);
  });
});

describe("the object that keeps it", () => {
  it("takes a revocation again and keeps the later end", async () => {
    const token = newToken();
    for (const lastsS of [600, 60]) expect(await revoke(token, lastsS)).toBe(true);
    const kept = (await revocations(env).list()).filter(({ jti }) => jti === token.jti);
    expect(kept).toHaveLength(1);
    expect(kept[0]?.expiresAtS).toBeGreaterThan(Date.now() / 1000 + 500);
  });

  it("forgets a token that has expired by itself", async () => {
    const token = newToken();
    await revoke(token, -1);
    expect((await revocations(env).list()).map(({ jti }) => jti)).not.toContain(token.jti);
    await revoke(newToken());
    const rows = await inList((storage) =>
      storage.exec("SELECT jti FROM revoked WHERE jti = ?", token.jti).toArray(),
    );
    expect(rows).toEqual([]);
  });

  it("keeps what text it is given as it is", async () => {
    const token = { issuer: "'); DROP TABLE revoked; --", jti: "\u0000\"'😀" };
    await revoke(token);
    expect(await revocations(env).list()).toContainEqual(expect.objectContaining(token));
  });

  it("survives its own end", async () => {
    const token = newToken();
    await revoke(token);
    const stub = env.REVOCATIONS.getByName(REVOCATIONS_NAME);
    await runInDurableObject(stub, (_instance, state) => {
      try {
        state.abort("ended by the test");
      } catch {
        // It throws where it is called, too.
      }
    }).catch(() => undefined);
    expect((await revocations(env).list()).map(({ jti }) => jti)).toContain(token.jti);
  });

  it(`refuses a new one when ${REVOCATIONS_MAX} are living, and still takes those that it has`, async () => {
    const token = newToken();
    await revoke(token);
    await inList((storage) => {
      storage.exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO revoked SELECT 'filler', i, 9999999999 FROM n",
        REVOCATIONS_MAX,
      );
      storage.exec(
        "DELETE FROM revoked WHERE issuer <> 'filler' AND jti <> ? OR issuer = 'filler' AND jti = '1'",
        token.jti,
      );
    });
    expect(await revoke(newToken())).toBe(false);
    expect(await revoke(token, 7_200)).toBe(true);
    await inList((storage) => void storage.exec("DELETE FROM revoked WHERE issuer = 'filler'"));
    expect(await revoke(newToken())).toBe(true);
  });
});

describe("a request", () => {
  const app = createApp({ operations, queries });

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: nowMs });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  const passMs = (ms: number): void => {
    vi.setSystemTime(Date.now() + ms);
  };

  const mint = async (
    tenant: string,
    scope = "payments:write read",
  ): Promise<{ text: string; jti: string }> => {
    const jti = crypto.randomUUID();
    const text = await new SignJWT({ tenant, scope })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer(env.TOKEN_ISSUER)
      .setSubject("test")
      .setJti(jti)
      .setExpirationTime(Math.floor(Date.now() / 1000) + 3_600)
      .sign(new TextEncoder().encode(env.TOKEN_SECRET));
    return { text, jti };
  };

  const send = async (
    method: string,
    path: string,
    token: string,
    body?: object,
    { key, bindings = env }: { readonly key?: string; readonly bindings?: Bindings } = {},
  ): Promise<Response> =>
    app.fetch(
      new Request(`https://latchkey.test${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          prefer: "wait=20",
          ...(key === undefined ? {} : { "idempotency-key": key }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      bindings,
      createExecutionContext(),
    );

  /** The real objects, whose answers stay on their way until they are released. */
  const holdAnswers = () => {
    const state = { arrived: false, released: false };
    const getByName = (name: string) => {
      // The namespace is bound to our own class; the binding's type cannot say so.
      const stub = env.KEY_OBJECT.getByName(name) as unknown as KeyObjectMethods;
      const held = async <Reply>(reply: Promise<Reply>): Promise<Reply> => {
        const told = await reply;
        state.arrived = true;
        await until(() => state.released);
        return told;
      };
      return {
        submit: (call: KeyCall) => held(stub.submit(call)),
        exchange: (call: ExchangeCall) => held(stub.exchange(call)),
      };
    };
    return {
      namespace: { getByName } as unknown as DurableObjectNamespace,
      arrived: async () => until(() => state.arrived),
      release: () => {
        state.released = true;
      },
    };
  };

  const PAYMENT = { source: "alice", destination: "bob", amountMinor: 10, currency: "EUR" };

  const pay = async (token: string, key: string, bindings?: Bindings): Promise<Response> =>
    send("POST", "/v1/payments", token, PAYMENT, {
      key,
      ...(bindings === undefined ? {} : { bindings }),
    });

  const revokeByRoute = async (jti: string, change: object = {}): Promise<Response> => {
    const operator = await mint("operations", "ops:act");
    return send("PUT", `/v1/ops/revoked-tokens/${jti}`, operator.text, {
      issuer: env.TOKEN_ISSUER,
      expiresAt: new Date(Date.now() + HOUR_MS).toISOString(),
      ...change,
    });
  };

  it("26: with a token that was revoked ten seconds ago gets 401 and no replay; another token does", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const [revoked, other] = [await mint(tenant), await mint(tenant)];
    const key = crypto.randomUUID();
    const first = await pay(revoked.text, key);
    expect(first.status).toBe(201);
    expect((await revokeByRoute(revoked.jti)).status).toBe(204);

    passMs(REVOCATIONS_AGE_MS_MAX);
    const retry = await pay(revoked.text, key);

    expect(retry.status).toBe(401);
    expect(retry.headers.get("Idempotent-Replayed")).toBeNull();
    expect(retry.headers.get("WWW-Authenticate")).toContain("invalid_token");
    expect(await retry.json()).toMatchObject({
      code: "unauthenticated",
      detail: "The token was revoked.",
    });
    expect((await send("GET", "/v1/payments", revoked.text)).status).toBe(401);
    const replay = await pay(other.text, key);
    expect(replay.headers.get("Idempotent-Replayed")).toBe("true");
    expect(await replay.text()).toBe(await first.text());
    expect(await balanceOf(tenant, "bob")).toBe(10);
  });

  it("26: whose list cannot be refreshed gets 503, which is no judgement of the token, and does nothing", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const token = await mint(tenant);
    const key = crypto.randomUUID();
    await pay(token.text, key);
    passMs(REVOCATIONS_AGE_MS_MAX);
    const mend = await breakList();
    try {
      for (const answer of [
        await pay(token.text, key),
        await pay(token.text, crypto.randomUUID()),
        await send("GET", "/v1/payments", token.text),
      ]) {
        expect(answer.status).toBe(503);
        expect(answer.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
        expect(answer.headers.get("X-Should-Retry")).toBe("true");
        expect(await answer.json()).toMatchObject({
          code: "temporarily-unavailable",
          retry: { use: "same-key" },
        });
      }
    } finally {
      await mend();
    }
    expect((await pay(token.text, key)).headers.get("Idempotent-Replayed")).toBe("true");
    expect(await balanceOf(tenant, "bob")).toBe(10);
  });

  it("26: whose token is revoked while its answer is held gets 401, and the effect stands", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const [revoked, other] = [await mint(tenant), await mint(tenant)];
    const key = crypto.randomUUID();
    const held = holdAnswers();
    const answer = pay(revoked.text, key, { ...env, KEY_OBJECT: held.namespace });
    await held.arrived();
    expect((await revokeByRoute(revoked.jti)).status).toBe(204);
    passMs(REVOCATIONS_AGE_MS_MAX);
    held.release();

    const late = await answer;
    expect(late.status).toBe(401);
    expect(late.headers.get("Idempotency-Expires")).toBeNull();
    expect((await pay(other.text, key)).headers.get("Idempotent-Replayed")).toBe("true");
    expect(await balanceOf(tenant, "bob")).toBe(10);
  });

  it("26: to the gateway, whose token is revoked while its answer is held, gets 401; another token of the tenant the replay", async () => {
    const gateway = createGateway({ operations, queries });
    const tenant = `t-${crypto.randomUUID().slice(0, 8)}`;
    const scope = "gateway:call";
    const [revoked, other] = [await mint(tenant, scope), await mint(tenant, scope)];
    const held = holdAnswers();
    const routes = [{ path: "/**", upstream: "service:UPSTREAM", auth: "jwt" }];
    const bindings = { ...env, GATEWAY_ROUTES: JSON.stringify(routes) };
    const call = async (token: string, more: Partial<Bindings> = {}): Promise<Response> =>
      gateway.fetch(
        new Request("https://latchkey.test/charges", {
          method: "POST",
          headers: { "latchkey-authorization": `Bearer ${token}`, "idempotency-key": "1" },
        }),
        { ...bindings, ...more },
        createExecutionContext(),
      );
    const answer = call(revoked.text, { KEY_OBJECT: held.namespace });
    await held.arrived();
    expect((await revokeByRoute(revoked.jti)).status).toBe(204);
    passMs(REVOCATIONS_AGE_MS_MAX);
    held.release();

    const late = await answer;
    expect(late.status).toBe(401);
    expect(late.headers.get("Idempotency-Expires")).toBeNull();
    expect((await call(revoked.text)).status).toBe(401);
    const replay = await call(other.text);
    expect(replay.status).toBe(200);
    expect(replay.headers.get("Idempotent-Replayed")).toBe("true");
    await replay.text();
  });

  it("26: whose answer is held while the list breaks gets 503, and the retry gets the answer", async () => {
    const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
    const token = await mint(tenant);
    const key = crypto.randomUUID();
    const held = holdAnswers();
    const answer = pay(token.text, key, { ...env, KEY_OBJECT: held.namespace });
    await held.arrived();
    passMs(REVOCATIONS_AGE_MS_MAX);
    const mend = await breakList();
    held.release();
    try {
      expect((await answer).status).toBe(503);
    } finally {
      await mend();
    }
    const retry = await pay(token.text, key);
    expect(retry.status).toBe(201);
    expect(retry.headers.get("Idempotent-Replayed")).toBe("true");
  });
});
