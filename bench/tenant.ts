/** One tenant of the server that is measured: its token, its requests, and what it needs to have before. */
import { randomUUID } from "node:crypto";
import { SignJWT } from "jose";
import type { Counters } from "./counters.ts";
import { Connection, requestText } from "./load.ts";
import { TOKEN_SECRET } from "./server.ts";

const SCOPES = "accounts:write payments:write ledger:fund stock:write orders:write read";

/** What an account is funded with: no run spends it. */
const FUNDS_MINOR = 1_000_000_000;

export class Tenant {
  readonly #token: string;
  readonly #connection: Connection;
  #keys = 0;

  private constructor(token: string, connection: Connection) {
    this.#token = token;
    this.#connection = connection;
  }

  static async open(name: string, port: number): Promise<Tenant> {
    const token = await new SignJWT({ tenant: name, scope: SCOPES })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer("latchkey")
      .setSubject(name)
      .setJti(randomUUID())
      .setExpirationTime("6h")
      .sign(new TextEncoder().encode(TOKEN_SECRET));
    return new Tenant(token, await Connection.open(port));
  }

  freshKey(): string {
    return `bench-key-${(this.#keys++).toString().padStart(12, "0")}`;
  }

  /** A keyed request as text. */
  post(
    path: string,
    key: string,
    body: unknown,
    more: Readonly<Record<string, string>> = {},
  ): string {
    return requestText(
      "POST",
      path,
      {
        Authorization: `Bearer ${this.#token}`,
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        ...more,
      },
      JSON.stringify(body),
    );
  }

  /** Sends a request that prepares a measurement; returns the body. */
  async must(request: string): Promise<string> {
    const { status, body } = await this.#connection.send(request);
    if (status >= 300) throw new Error(`Preparation failed: ${status} ${body}`);
    return body;
  }

  /** An account of its own currency, with more on it than a run spends. */
  async openAccount(id: string): Promise<void> {
    const currency = "EUR";
    await this.must(this.post("/v1/accounts", this.freshKey(), { id, currency }));
    await this.must(
      this.post("/v1/payments", this.freshKey(), {
        source: "system:EUR",
        destination: id,
        amountMinor: FUNDS_MINOR,
        currency,
      }),
    );
  }

  close(): void {
    this.#connection.close();
  }
}

/** What was counted so far. */
export const readCounters = async (port: number): Promise<Counters> =>
  (await askBench(port, "/bench/counters", {})) as Counters;

/** Asks the benchmark's own routes. */
export const askBench = async (port: number, path: string, body: unknown): Promise<unknown> => {
  const connection = await Connection.open(port);
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await connection.send(requestText("POST", path, headers, JSON.stringify(body)));
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body) as unknown;
  } finally {
    connection.close();
  }
};

/** Long enough that an object which was asked for nothing more has written its copies. */
export const copiesWritten = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 400);
  });
