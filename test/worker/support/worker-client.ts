/** The real Worker in front of real objects, with any routing: every version and setting may run beside another. */
import { applyD1Migrations, createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SignJWT } from "jose";
import { beforeAll, vi } from "vitest";
import { createApp } from "../../../src/app.ts";
import type { JsonObject } from "../../../src/kernel/json.ts";
import { operations, queries } from "../../../src/operations/registry.ts";

/** Sets up a file of tests that ask the Worker. */
export const useWorker = (): void => {
  // Nothing here measures: on a busy machine it takes longer, and that is no failure.
  vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
  beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));
};

export type KeyedRequest = {
  readonly method: "POST" | "PATCH";
  readonly path: string;
  readonly body: JsonObject;
  readonly key: string;
};

export type Answer = {
  readonly status: number;
  readonly body: string;
  readonly replayed: boolean;
  readonly retryAfter: string | null;
};

/** Whether the answer is a key's outcome: what every retry must get, too. */
export const isOutcome = ({ status }: Answer): boolean =>
  status < 500 && status !== 423 && status !== 202;

export class WorkerClient {
  readonly #app = createApp({ operations, queries });
  readonly #env: Cloudflare.Env;
  readonly #authorization: string;

  private constructor(keyObjects: string, authorization: string) {
    this.#env = { ...env, KEY_OBJECTS: keyObjects };
    this.#authorization = authorization;
  }

  /** @param keyObjects `KEY_OBJECTS`: a number or "per-key" */
  static async for(tenant: string, keyObjects: string): Promise<WorkerClient> {
    const token = await new SignJWT({
      tenant,
      scope: "payments:write ledger:fund stock:write read",
    })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer(env.TOKEN_ISSUER)
      .setSubject("test")
      .setJti(crypto.randomUUID())
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode(env.TOKEN_SECRET));
    return new WorkerClient(keyObjects, `Bearer ${token}`);
  }

  send(
    request: KeyedRequest,
    { waitS = 0, detached = false }: { readonly waitS?: number; readonly detached?: boolean } = {},
  ): Promise<Answer> {
    return this.#fetch(request.path, {
      method: request.method,
      headers: {
        "content-type": "application/json",
        "idempotency-key": request.key,
        ...(waitS > 0 ? { prefer: `wait=${waitS}` } : {}),
        ...(detached ? { prefer: "respond-async" } : {}),
      },
      body: JSON.stringify(request.body),
    });
  }

  /** Erases the stored answer of a key. */
  erase(key: string): Promise<Answer> {
    return this.#fetch(`/v1/idempotency-keys/${key}/body`, { method: "DELETE" });
  }

  async #fetch(path: string, init: RequestInit): Promise<Answer> {
    const request = new Request(`https://latchkey.test${path}`, init);
    request.headers.set("authorization", this.#authorization);
    const response = await this.#app.fetch(request, this.#env, createExecutionContext());
    return {
      status: response.status,
      body: await response.text(),
      replayed: response.headers.get("Idempotent-Replayed") === "true",
      retryAfter: response.headers.get("Retry-After"),
    };
  }

  /**
   * Tries again, as a client would, until the answer is the key's outcome.
   *
   * @param others collects the answers before it
   */
  async untilOutcome(request: KeyedRequest, others: Answer[] = []): Promise<Answer> {
    for (let tries = 0; tries < 100; tries++) {
      const answer = await this.send(request, { waitS: 20 });
      if (isOutcome(answer)) return answer;
      others.push(answer);
      await scheduler.wait(1);
    }
    throw new Error(`The key ${request.key} did not become final.`);
  }
}
