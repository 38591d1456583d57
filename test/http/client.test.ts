/** The client SDK against the real Worker, over a network that fails and in processes that die. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { type ClientOptions, createClient } from "../../src/client/client.ts";
import { isProblem, NoOutcomeError, StoreError } from "../../src/client/errors.ts";
import type { ClientEvent } from "../../src/client/events.ts";
import { fileStore } from "../../src/client/file-store.ts";
import { type Intent, parseIntent } from "../../src/client/intent.ts";
import { type IntentStore, memoryStore } from "../../src/client/store.ts";
import { balanceOf } from "../support/books.ts";
import { Random } from "../support/crash-random.ts";
import { type Fault, faultsWith, startFaultyProxy } from "../support/faulty-proxy.ts";
import type { Server } from "../support/server.ts";
import { useServers } from "../support/suite.ts";
import { FUNDS_MINOR, newKey, openTenant, PAYMENT, type Tenant } from "../support/tenant.ts";

const serverFor = useServers({ usual: { newKeysPerMinute: "unlimited" } });

const seed = Number(process.env["CLIENT_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** What is sent here; that a client is typed by the definitions is seen in test/unit/client/types.test.ts. */
type Routes = {
  readonly "POST /v1/payments": {
    readonly params: Readonly<Record<string, never>>;
    readonly body: typeof PAYMENT;
    readonly answer: { readonly id: string; readonly amountMinor: number };
  };
};

const clientOf = (tenant: Tenant, baseUrl: string, options: Partial<ClientOptions> = {}) =>
  createClient<Routes>({
    baseUrl,
    credentials: () => ({ authorization: `Bearer ${tenant.token}` }),
    ...options,
  });

const proxyTo = async (server: Server) => {
  const proxy = await startFaultyProxy(server.origin, seed);
  onTestFinished(proxy.stop);
  return proxy;
};

/** The next requests meet these, one each; then all is well. */
const inTurn = (...faults: Fault[]) => {
  const left = [...faults];
  return () => left.shift();
};

/** Waits are shorter than those that `random` would draw. */
const hasty = { random: () => 0.001 };

/** In order. */
const keysOfTransfers = async (server: Server, { name }: Tenant): Promise<string[]> =>
  (await server.sql("SELECT key FROM transfers WHERE tenant = ? AND source = 'alice'", name))
    .map((row) => String(row["key"]))
    .toSorted();

const intentsIn = async (store: IntentStore): Promise<Intent[]> =>
  (await store.all()).flatMap((stored) => parseIntent(stored) ?? []);

const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-client-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

describe("the client SDK", () => {
  it(`over a network that loses, cuts, delays and resets: effects = intents, and each is told its own (seed ${seed})`, async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(faultsWith(0.4));
    const store = memoryStore();
    const client = clientOf(tenant, proxy.origin, { store, random: () => Math.random() / 50 });
    const keys = Array.from({ length: 30 }, newKey);
    const answers = await Promise.all(
      keys.map(async (key, i) =>
        client.send("POST /v1/payments", { key, body: { ...PAYMENT, amountMinor: i + 1 } }),
      ),
    );
    expect(answers.map(({ key, body }) => [key, body.amountMinor])).toEqual(
      keys.map((key, i) => [key, i + 1]),
    );
    expect(await keysOfTransfers(server, tenant)).toEqual(keys.toSorted());
    expect(await balanceOf(server, tenant, "alice")).toBe(FUNDS_MINOR - (30 * 31) / 2);
    expect(await client.pending()).toEqual([]);
  });

  it(`killed at random moments and resumed from its files: effects = intents (seed ${seed})`, async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(faultsWith(0.3));
    const folder = newFolder();
    const random = new Random(seed);
    const payments = `${proxy.origin}/v1/payments`;
    const args = [payments, tenant.token, folder, JSON.stringify(PAYMENT)];
    for (let life = 0; life < 6; life++) {
      // The first one has begun something, however slow it is; the others may not come to it.
      const after = life === 0 ? "stored" : "started";
      await runClient(["400", ...args], { after, ms: random.int(0, 250) });
    }
    proxy.behave(() => undefined);
    await runClient(["0", ...args]);
    const intents = await intentsIn(fileStore(folder));
    expect(intents.length).toBeGreaterThan(0);
    expect(intents.map(({ answer }) => answer?.status)).toEqual(intents.map(() => 201));
    expect(await keysOfTransfers(server, tenant)).toEqual(intents.map(({ key }) => key).toSorted());
    const paid = intents.length * PAYMENT.amountMinor;
    expect(await balanceOf(server, tenant, "alice")).toBe(FUNDS_MINOR - paid);
  });

  it("two clients that resume one store at once: effects = intents, and neither hammers", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(() => "lose-answer");
    const store = fileStore(newFolder());
    const first = clientOf(tenant, proxy.origin, { store, giveUpAfterMs: 300 });
    await Promise.allSettled(
      Array.from({ length: 30 }, async () => first.send("POST /v1/payments", { body: PAYMENT })),
    );
    const keys = (await first.pending()).map(({ key }) => key);
    expect(keys).toHaveLength(30);
    proxy.behave(() => undefined);
    const passedBefore = proxy.counts.passed;
    const tabs = [0, 1].map((tab) => {
      const random = new Random(seed).fork(`tab ${tab}`);
      return clientOf(tenant, proxy.origin, { store, random: () => random.next() });
    });
    const results = await Promise.all(tabs.map(async (tab) => tab.resume()));
    for (const resumed of results) {
      expect(resumed.every((one) => "answer" in one && one.answer.status === 201)).toBe(true);
    }
    // Sixty would be both of them for each; they meet a few times. (With ten intents they can meet at every one.)
    expect(proxy.counts.passed - passedBefore).toBeLessThan(60);
    expect(await keysOfTransfers(server, tenant)).toEqual(keys.toSorted());
  });

  it("keeps the intent before it sends: what cannot be stored is not sent", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const store: IntentStore = {
      ...memoryStore(),
      add: () => Promise.reject(new Error("The disk is full.")),
    };
    const client = clientOf(tenant, server.origin, { store });
    await expect(client.send("POST /v1/payments", { body: PAYMENT })).rejects.toThrow(StoreError);
    expect(await keysOfTransfers(server, tenant)).toEqual([]);
  });

  it("gives the outcome although it could not be kept, and the next one who asks gets the replay", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const store: IntentStore = {
      ...memoryStore(),
      put: () => Promise.reject(new Error("The disk is full.")),
    };
    const events: ClientEvent[] = [];
    const client = clientOf(tenant, server.origin, {
      store,
      onEvent: (event) => events.push(event),
    });
    const sending = { key: newKey(), body: PAYMENT };
    const once = await client.send("POST /v1/payments", sending);
    const again = await client.send("POST /v1/payments", sending);
    expect([once.replayed, again.replayed, again.fromStore]).toEqual([false, true, false]);
    expect(again.body).toEqual(once.body);
    expect(events.some(({ type }) => type === "not-kept")).toBe(true);
  });

  it("sends an intent once however often it is asked for: from the call under way, then from the store", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    const client = clientOf(tenant, proxy.origin);
    const sending = { metadata: { order: "1042", act: "pay" }, body: PAYMENT };
    const together = await Promise.all(
      [1, 2, 3].map(async () => client.send("POST /v1/payments", sending)),
    );
    const later = await client.send("POST /v1/payments", sending);
    expect(new Set([...together, later].map(({ body }) => body.id)).size).toBe(1);
    expect(later).toMatchObject({ fromStore: true, attempts: 0, replayed: false });
    expect(later.expiresAt?.getTime()).toBeGreaterThan(Date.now());
    expect(proxy.counts.passed).toBe(1);
  });

  it("refuses another body under a known key, before anything is sent", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    const client = clientOf(tenant, proxy.origin);
    const key = newKey();
    const send = async (amountMinor: number) =>
      client.send("POST /v1/payments", { key, body: { ...PAYMENT, amountMinor } });
    const running = send(1);
    await expect(send(2)).rejects.toMatchObject({
      code: "idempotency-key-reused",
      answer: undefined,
    });
    await running;
    await expect(send(2)).rejects.toMatchObject({
      code: "idempotency-key-reused",
      answer: undefined,
    });
    expect(proxy.counts.passed).toBe(1);
  });

  it("does not send an expired key again, nor one that the server may have forgotten", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    const day = 24 * 60 * 60 * 1000;
    let ahead = 0;
    const client = clientOf(tenant, proxy.origin, {
      now: () => Date.now() + ahead,
    });
    const sending = { key: newKey(), body: PAYMENT };
    const { headers } = await client.send("POST /v1/payments", sending);
    ahead = day + 1_000;
    await expect(client.send("POST /v1/payments", sending)).rejects.toMatchObject({
      code: "idempotency-key-expired",
      link: headers["location"],
    });
    proxy.behave(() => "lose-request");
    const lost = { key: newKey(), body: PAYMENT, giveUpAfterMs: 100 };
    await expect(client.send("POST /v1/payments", lost)).rejects.toMatchObject({
      reason: "deadline",
    });
    proxy.behave(() => undefined);
    ahead = 40 * day;
    await expect(client.send("POST /v1/payments", lost)).rejects.toMatchObject({
      reason: "key-age",
      maybeDone: true,
    });
    expect(proxy.counts.passed).toBe(1);
  });

  it("a refusal is an outcome: a typed error, stored, and not asked for again", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    const client = clientOf(tenant, proxy.origin);
    const sending = { key: newKey(), body: { ...PAYMENT, amountMinor: FUNDS_MINOR + 1 } };
    for (const fromStore of [false, true]) {
      const error: unknown = await client
        .send("POST /v1/payments", sending)
        .catch((e: unknown) => e);
      expect(isProblem(error, "insufficient-funds")).toBe(true);
      expect(error).toMatchObject({ status: 402, use: "new-key", answer: { fromStore } });
    }
    expect(proxy.counts.passed).toBe(1);
  });

  it("an invalid request leaves the key free for the corrected one", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const client = clientOf(tenant, server.origin);
    const key = newKey();
    const wrong = client.send("POST /v1/payments", { key, body: { ...PAYMENT, amountMinor: -1 } });
    await expect(wrong).rejects.toMatchObject({ code: "request-invalid", use: "same-key" });
    const right = await client.send("POST /v1/payments", { key, body: PAYMENT });
    expect(right.status).toBe(201);
  });

  it("without a good token the intent waits, and goes on with the next one", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    let token = "none";
    const client = clientOf(tenant, server.origin, {
      credentials: () => ({ authorization: `Bearer ${token}` }),
    });
    await expect(client.send("POST /v1/payments", { body: PAYMENT })).rejects.toMatchObject({
      code: "unauthenticated",
    });
    expect(await client.pending()).toHaveLength(1);
    token = tenant.token;
    expect(await client.resume()).toMatchObject([{ answer: { status: 201 } }]);
    expect(await keysOfTransfers(server, tenant)).toHaveLength(1);
  });

  it("retries with one key and one body, tells its progress, and marks the replay", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(inTurn("lose-answer", "cut-answer", "unavailable"));
    const events: ClientEvent[] = [];
    const client = clientOf(tenant, proxy.origin, {
      ...hasty,
      onEvent: (event) => events.push(event),
    });
    const answer = await client.send("POST /v1/payments", { body: PAYMENT });
    await sleep(0);
    expect(answer).toMatchObject({ replayed: true, attempts: 4, status: 201 });
    expect(events.map(({ type }) => type)).toEqual([
      "stored",
      ...Array.from({ length: 3 }, () => ["sending", "failed", "waiting"]).flat(),
      "sending",
      "outcome",
    ]);
    expect(await keysOfTransfers(server, tenant)).toEqual([answer.key]);
  });

  it("waits as the server advises while its database is away, and the intent outlives a caller who leaves", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const unlock = server.lockDatabase();
    onTestFinished(unlock);
    const leaving = new AbortController();
    const advised: boolean[] = [];
    const client = clientOf(tenant, server.origin, {
      onEvent: (event) => {
        if (event.type !== "waiting") return;
        advised.push(event.advised);
        leaving.abort();
      },
    });
    const left: unknown = await client
      .send("POST /v1/payments", { body: PAYMENT, signal: leaving.signal })
      .catch((error: unknown) => error);
    expect(left).toBeInstanceOf(NoOutcomeError);
    expect(left).toMatchObject({ reason: "aborted", maybeDone: true, last: { status: 503 } });
    expect(advised).toEqual([true]);
    unlock();
    expect(await client.resume()).toMatchObject([{ answer: { status: 201 } }]);
    expect(await keysOfTransfers(server, tenant)).toHaveLength(1);
  });

  it("during an outage retries no more than its budget, then with one probe at a time, and all get through after it", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(() => "unavailable");
    const client = clientOf(tenant, proxy.origin, { random: () => 0.1 });
    const all = Promise.all(
      Array.from({ length: 40 }, async () => client.send("POST /v1/payments", { body: PAYMENT })),
    );
    await sleep(1_500);
    // First tries, the tokens, and probes half a second and more apart; forty clients of their own would send hundreds.
    expect(proxy.counts.unavailable).toBeLessThanOrEqual(40 + 10 + 6);
    proxy.behave(() => undefined);
    await all;
    expect(await keysOfTransfers(server, tenant)).toHaveLength(40);
  });

  it("serves any API with bodies of any kind, and neither follows a redirect nor stores credentials", async () => {
    const server = serverFor("usual");
    const tenant = await openTenant(server);
    const proxy = await proxyTo(server);
    proxy.behave(inTurn("lose-answer"));
    const store = memoryStore();
    const client = createClient({
      ...hasty,
      store,
      credentials: (url) =>
        url.startsWith(proxy.origin) ? { authorization: `Bearer ${tenant.token}` } : {},
    });
    const answer = await client.request(`${proxy.origin}/v1/payments`, {
      body: JSON.stringify(PAYMENT),
      headers: { "Content-Type": "application/json" },
    });
    expect(answer).toMatchObject({ status: 201, replayed: true });
    expect(JSON.stringify(await store.all())).not.toContain(tenant.token);
    await expect(client.request(`${proxy.origin}/`, { method: "GET" })).rejects.toMatchObject({
      status: 302,
    });
    await expect(
      client.request(proxy.origin, { headers: { Authorization: "Bearer x" } }),
    ).rejects.toThrow(TypeError);
  });
});

/** Runs the client to its end, or kills it that long after it has said so. */
const runClient = async (
  args: readonly string[],
  kill?: { readonly after: "started" | "stored"; readonly ms: number },
): Promise<void> => {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("../support/client-process.ts", import.meta.url)), ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = new Promise<number | null>((resolve) => {
    child.once("close", (code) => resolve(code));
  });
  try {
    if (kill !== undefined) {
      let said = "";
      const hasSaid = new Promise<void>((resolve) => {
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
          said += text;
          if (said.includes(kill.after)) resolve();
        });
      });
      await Promise.race([hasSaid, ended]);
      await sleep(kill.ms);
      child.kill("SIGKILL");
    } else {
      child.stdout.resume();
    }
    const code = await ended;
    if (kill === undefined && code !== 0) throw new Error(`The client failed:\n${errors}`);
  } finally {
    child.kill("SIGKILL");
  }
};
