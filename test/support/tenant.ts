/** One tenant's client: what an honest caller sends, with every part open to be changed by a test. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Statement } from "./companion.ts";
import type { RawRequest } from "./raw-http.ts";
import type { Server } from "./server.ts";
import { tokenFor } from "./token.ts";

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The members of a JSON object; none if the body is something else. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Whether it says that it is a replay. */
  readonly replayed: boolean;
};

export type Sending = {
  /** A new one unless said; null sends none. */
  readonly key?: string | null;
  /** Over the usual headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the tenant's own; null sends no credentials. */
  readonly token?: string | null;
};

/** A body to be serialised, or text that is sent as it is. */
export type Body = string | Readonly<Record<string, unknown>>;

export type Tenant = {
  readonly name: string;
  readonly token: string;
  readonly get: (path: string, sending?: Sending) => Promise<Answer>;
  readonly post: (path: string, body: Body, sending?: Sending) => Promise<Answer>;
  readonly patch: (path: string, body: Body, sending?: Sending) => Promise<Answer>;
  readonly delete: (path: string, sending?: Sending) => Promise<Answer>;
  /** POST /v1/payments: 250 cents from alice to bob, unless said. */
  readonly pay: (change?: Readonly<Record<string, unknown>>, sending?: Sending) => Promise<Answer>;
  /** The headers of a keyed request, for a raw one. */
  readonly rawHeaders: (key: string) => RawRequest["headers"];
};

export const newKey = (): string => `key-${randomUUID()}`;

export const newTenantName = (): string => `t-${randomUUID().slice(0, 13)}`;

export const PAYMENT = { source: "alice", destination: "bob", amountMinor: 250, currency: "EUR" };

/** What alice has in the beginning. */
export const FUNDS_MINOR = 100_000;

/** A tenant of which the server has never heard. */
export const newTenant = async (server: Server, name = newTenantName()): Promise<Tenant> => {
  const token = await tokenFor(name);
  const send = async (
    method: string,
    path: string,
    body: Body | undefined,
    sending: Sending = {},
  ): Promise<Answer> => {
    const headers = new Headers();
    const bearer = sending.token === undefined ? token : sending.token;
    if (bearer !== null) headers.set("Authorization", `Bearer ${bearer}`);
    if (body !== undefined) {
      headers.set("Content-Type", "application/json");
      const key = sending.key === undefined ? newKey() : sending.key;
      if (key !== null) headers.set("Idempotency-Key", key);
    }
    for (const [header, value] of Object.entries(sending.headers ?? {})) headers.set(header, value);
    const response = await fetch(server.origin + path, {
      method,
      headers,
      redirect: "manual",
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    return answerOf(response.status, response.headers, await response.text());
  };
  return {
    name,
    token,
    get: async (path, sending) => send("GET", path, undefined, sending),
    post: async (path, body, sending) => send("POST", path, body, sending),
    patch: async (path, body, sending) => send("PATCH", path, body, sending),
    delete: async (path, sending) => send("DELETE", path, undefined, sending),
    pay: async (change, sending) =>
      send("POST", "/v1/payments", { ...PAYMENT, ...change }, sending),
    rawHeaders: (key) => [
      ["Authorization", `Bearer ${token}`],
      ["Content-Type", "application/json"],
      ["Idempotency-Key", key],
    ],
  };
};

/** A new tenant with the accounts alice, who is funded, and bob, who is not. Made by SQL, in one commit. */
export const openTenant = async (server: Server, name?: string): Promise<Tenant> => {
  const tenant = await newTenant(server, name);
  const account = (id: string, overdraftLimit: number | null): Statement => [
    "INSERT INTO accounts (tenant, id, currency, overdraft_limit, created_at_ms) VALUES (?, ?, 'EUR', ?, 0)",
    tenant.name,
    id,
    overdraftLimit,
  ];
  await server.sqlBatch([
    account("system:EUR", null),
    account("alice", 0),
    account("bob", 0),
    [
      "INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms) VALUES (?, 'pay_00000000000000000000000000', 'system:EUR', 'alice', 'EUR', ?, 'seed', 0)",
      tenant.name,
      FUNDS_MINOR,
    ],
  ]);
  return tenant;
};

export const answerOf = (status: number, headers: Headers, text: string): Answer => ({
  status,
  headers,
  text,
  body: membersOf(text),
  replayed: headers.get("Idempotent-Replayed") === "true",
});

/** A text member of an answer's body; throws if it is none. */
export const textOf = (answer: Answer, member: string): string =>
  z.string({ error: `${member} in ${answer.text}` }).parse(answer.body[member]);

const membersOf = (text: string): Readonly<Record<string, unknown>> => {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch {
    return {};
  }
};
