/**
 * Clients that do business through crashes, and do everything a client can do wrong with a key: send twice at
 * once, hang up, come back late. Each repeats a request under its key until it hears a stored outcome. They know
 * nothing of the server but the contract, and write down what they send and hear.
 */
import { Agent, request } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { mint } from "../../scripts/mint.ts";
import {
  type Answer,
  type History,
  isExpired,
  isOutcome,
  type Operation,
} from "./crash-history.ts";
import type { Random } from "./crash-random.ts";
import { TOKEN_SECRET } from "./crash-server.ts";

/** Tenants use the same keys: what one does must never be seen by the other. */
const TENANTS = ["north", "south"] as const;
const CLIENTS_PER_TENANT = 4;
/** Above the server's own budget for a request (5 s), so that it is the server who gives up. */
const REQUEST_TIMEOUT_MS = 8_000;
/** How many keys are asked for once more at the end, at most, and how long that may take. */
const ASKED_AGAIN_MAX = 2_000;
const ASK_AGAIN_MS = 20_000;

const FUNDS_MINOR = 1_000_000;
const CURRENCIES = ["EUR", "USD"] as const;

export type Setup = {
  /** Where the server is now; undefined while it is dead. */
  readonly target: { readonly url: URL | undefined };
  readonly history: History;
  readonly random: Random;
  /** Of each of the two tenants; 4 unless said. */
  readonly clientsPerTenant?: number;
  /** Who does business in a tenant; buyers and sellers unless said. */
  readonly clientOf?: (random: Random, tenant: Tenant, name: string) => Client;
  /** Where our own routes are; at the root unless said. */
  readonly home?: string;
  /** What the tokens grant beside the usual. */
  readonly moreScopes?: string;
};

type Order = { readonly id: string; cancelled: boolean };

type Payment = { readonly id: string; readonly amountMinor: number; refunds: number };

/** What the clients of a tenant know of it. */
export class Tenant {
  readonly name: string;
  readonly token: string;
  readonly accounts: { readonly id: string; readonly currency: string }[] = [];
  readonly payments: Payment[] = [];
  readonly orders: Order[] = [];

  constructor(name: string, token: string) {
    this.name = name;
    this.token = token;
  }
}

export class Clients {
  readonly #setup: Setup;
  readonly #random: Random;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #operations: { readonly tenant: Tenant; readonly operation: Operation }[] = [];
  #working: Promise<unknown> = Promise.resolve();
  readonly #late = new Set<Promise<unknown>>();
  #sends = 0;
  #draining = false;
  /** When clients stop repeating; the run is over then. */
  #giveUpAtMs = Number.POSITIVE_INFINITY;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.#random = setup.random.fork("network");
  }

  /** How many operations were begun. */
  get begun(): number {
    return this.#operations.length;
  }

  /** How many requests were sent. */
  get sends(): number {
    return this.#sends;
  }

  /** Begins, and goes on until `finish`. */
  start(): void {
    this.#working = Promise.all(TENANTS.map((name) => this.#runTenant(name)));
    // Awaited in the end, which may be long after it has failed.
    this.#working.catch(() => undefined);
  }

  /**
   * Begins nothing new, and sees everything begun through.
   * @param giveUpAtMs when what is not final by then is left alone
   */
  async finish(giveUpAtMs: number): Promise<void> {
    this.#draining = true;
    this.#giveUpAtMs = giveUpAtMs;
    await this.#working;
    await Promise.all(this.#late);
  }

  /** Repeats what was done, every key or a sample, once more. */
  async askAgain(): Promise<void> {
    this.#giveUpAtMs = Math.max(this.#giveUpAtMs, Date.now() + ASK_AGAIN_MS);
    const again = [...this.#operations];
    while (again.length > ASKED_AGAIN_MAX) again.splice(this.#random.int(0, again.length - 1), 1);
    await Promise.all(
      Array.from({ length: TENANTS.length * this.#clientsPerTenant }, async () => {
        for (let next = again.pop(); next !== undefined; next = again.pop()) {
          await this.#untilOutcome(next.tenant, next.operation);
        }
      }),
    );
  }

  /** Whatever is under way: no request is made any more when it resolves. */
  async stop(): Promise<void> {
    this.#draining = true;
    this.#giveUpAtMs = 0;
    this.#agent.destroy();
    await Promise.allSettled([this.#working, ...this.#late]);
  }

  get #clientsPerTenant(): number {
    return this.#setup.clientsPerTenant ?? CLIENTS_PER_TENANT;
  }

  async #runTenant(name: string): Promise<void> {
    const token = await mint({
      secret: TOKEN_SECRET,
      tenant: name,
      subject: "crash-client",
      scope:
        `payments:write orders:write stock:write ledger:fund read ${this.#setup.moreScopes ?? ""}`.trim(),
      ttlSeconds: 24 * 60 * 60,
    });
    const tenant = new Tenant(name, token);
    const clientOf = this.#setup.clientOf ?? ((...given) => new Client(...given));
    const first = clientOf(this.#setup.random.fork(`${name}/setup`), tenant, "setup");
    const all = (operations: readonly Operation[]) =>
      Promise.all(operations.map((operation) => this.#perform(tenant, operation)));
    await all(first.opening());
    await all(first.funding());
    await Promise.all(
      Array.from({ length: this.#clientsPerTenant }, async (_, i) => {
        const random = this.#setup.random.fork(`${name}/${i}`);
        const client = clientOf(random, tenant, String(i));
        while (!this.#draining) {
          await Promise.all(
            client.next().map(async (operation) => {
              const answer = await this.#perform(tenant, operation);
              if (answer !== undefined) client.learn(operation, answer);
            }),
          );
          await sleep(random.int(2, 30));
        }
      }),
    );
  }

  /** Once, or several times at the same moment; and now and then again, long after. */
  async #perform(tenant: Tenant, operation: Operation): Promise<Answer | undefined> {
    this.#setup.history.write({ kind: "operation", ...operation });
    this.#operations.push({ tenant, operation });
    const copies = this.#random.chance(0.15) ? this.#random.int(2, 4) : 1;
    const answers = await Promise.all(
      Array.from({ length: copies }, () => this.#untilOutcome(tenant, operation)),
    );
    if (this.#random.chance(0.2)) {
      const late = sleep(this.#random.int(20, 1_000)).then(() =>
        this.#untilOutcome(tenant, operation),
      );
      this.#late.add(late);
      void late.finally(() => this.#late.delete(late));
    }
    return answers.find((answer) => answer !== undefined);
  }

  /** Repeats a request until it has its stored outcome, or has lost the right to one. */
  async #untilOutcome(tenant: Tenant, operation: Operation): Promise<Answer | undefined> {
    while (Date.now() < this.#giveUpAtMs) {
      const { url } = this.#setup.target;
      if (url !== undefined) {
        const answer = await this.#send(url, tenant, operation);
        if (answer !== undefined) {
          if (isOutcome(answer)) return answer;
          // Whatever else is not to be repeated is no outcome either: the checker finds the key unfinished.
          if (isExpired(answer) || !isTransient(answer.status)) return undefined;
        }
      }
      await sleep(this.#random.int(10, 60));
    }
    return undefined;
  }

  #preference(): { readonly Prefer?: string } {
    const draw = this.#random.next();
    if (draw < 0.2) return { Prefer: "wait=5" };
    return draw < 0.3 ? { Prefer: "respond-async" } : {};
  }

  /** One request; undefined if there was no answer. */
  async #send(url: URL, tenant: Tenant, operation: Operation): Promise<Answer | undefined> {
    const { key, method, path } = operation;
    this.#sends += 1;
    const line = { tenant: tenant.name, key, send: this.#sends };
    const body = JSON.stringify(operation.body);
    const isOwn = operation.name !== "call";
    const sent = request({
      agent: this.#agent,
      host: url.hostname,
      port: url.port,
      method,
      path: isOwn ? `${this.#setup.home ?? ""}${path}` : path,
      timeout: REQUEST_TIMEOUT_MS,
      headers: {
        // Through the gateway, `Authorization` is the upstream's.
        [isOwn ? "Authorization" : "Latchkey-Authorization"]: `Bearer ${tenant.token}`,
        "Content-Type": "application/json",
        "Content-Length": Buffer.byteLength(body),
        "Idempotency-Key": this.#random.chance(0.5) ? key : `"${key}"`,
        ...this.#preference(),
      },
    });
    const hangsUp = this.#random.chance(0.08);
    const hangUpAfterMs = this.#random.int(0, 12);
    this.#setup.history.write({ kind: "request", ...line });
    try {
      const answer = await new Promise<Answer>((resolve, reject) => {
        sent.once("error", reject);
        sent.once("timeout", () => sent.destroy(new Error("timed out")));
        sent.once("response", (response) => {
          buffer(response).then(
            (bytes) =>
              resolve({
                status: response.statusCode ?? 0,
                headers: plain(response.headers),
                body: bytes.toString("latin1"),
              }),
            reject,
          );
        });
        sent.end(body, () => {
          // A reset, not an orderly end: the server sees its client vanish.
          if (hangsUp) setTimeout(() => sent.socket?.resetAndDestroy(), hangUpAfterMs);
        });
      });
      this.#setup.history.write({ kind: "answer", ...line, ...answer });
      return answer;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#setup.history.write({ kind: "no-answer", ...line, reason });
      return undefined;
    }
  }
}

const isTransient = (status: number): boolean =>
  status === 202 || status === 423 || status === 429 || status >= 500;

/** Hop-by-hop headers and the date are the server's, not the answer's. */
const plain = (headers: NodeJS.Dict<string | string[]>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !["date", "connection", "keep-alive", "transfer-encoding"].includes(name))
      .map(([name, value]) => [name, String(value)]),
  );

/** What one client wants, one operation after another. */
export class Client {
  readonly #random: Random;
  readonly #tenant: Tenant;
  readonly #name: string;
  #count = 0;

  constructor(random: Random, tenant: Tenant, name: string) {
    this.#random = random;
    this.#tenant = tenant;
    this.#name = name;
  }

  opening(): Operation[] {
    const accounts = CURRENCIES.flatMap((currency) =>
      ["a", "b", "c"].map((id) => ({ id: `${id}-${currency.toLowerCase()}`, currency })),
    );
    this.#tenant.accounts.push(...accounts);
    return [
      ...accounts.map((account) => this.operation("account", "POST", "/v1/accounts", account)),
      this.#product("mug", 1_000),
      this.#product("cup", 1_000),
      this.#product("last-units", 5),
    ];
  }

  funding(): Operation[] {
    return this.#tenant.accounts.map(({ id, currency }) =>
      this.#payment(`system:${currency}`, id, currency, FUNDS_MINOR),
    );
  }

  /** What to do at once; mostly one thing. */
  next(): Operation[] {
    const draw = this.#random.next();
    if (draw < 0.4) return [this.#anyPayment()];
    if (draw < 0.56) return this.#refunds();
    if (draw < 0.66) return [this.#order()];
    if (draw < 0.72) return this.#cancellations();
    if (draw < 0.86) return [this.#stock("mug", this.#random.pick([-3, -2, -1, 1, 2, 3]))];
    if (draw < 0.94) return [this.#account()];
    if (draw < 0.965)
      return [this.#product(`p-${this.#name}-${this.#count}`, this.#random.int(0, 9))];
    if (draw < 0.98) return [this.#stock("last-units", -1)];
    return [this.#toBeRefused()];
  }

  learn(operation: Operation, answer: Answer): void {
    if (answer.status !== 201) return;
    if (operation.name === "order") {
      const { id } = JSON.parse(answer.body) as { id: string };
      this.#tenant.orders.push({ id, cancelled: false });
    }
    if (operation.name !== "payment") return;
    const { id, amountMinor } = JSON.parse(answer.body) as { id: string; amountMinor: number };
    if (amountMinor !== FUNDS_MINOR) this.#tenant.payments.push({ id, amountMinor, refunds: 0 });
  }

  protected operation(
    name: Operation["name"],
    method: Operation["method"],
    path: string,
    body: Operation["body"],
  ): Operation {
    this.#count += 1;
    const key = `crash-client-${this.#name}-${this.#count}`;
    return { tenant: this.#tenant.name, key, name, method, path, body };
  }

  #anyPayment(): Operation {
    const { id: source, currency } = this.#random.pick(this.#tenant.accounts);
    const others = this.#tenant.accounts.filter((a) => a.currency === currency && a.id !== source);
    const amountMinor = this.#random.int(4, 400);
    return this.#payment(source, this.#random.pick(others).id, currency, amountMinor);
  }

  #payment(source: string, destination: string, currency: string, amountMinor: number): Operation {
    const body = { source, destination, currency, amountMinor };
    return this.operation("payment", "POST", "/v1/payments", body);
  }

  /** A quarter, or all that is left, or both at once so that one finds its facts changed; or too much. */
  #refunds(): Operation[] {
    const payment = this.#tenant.payments.findLast(({ refunds }) => refunds < 2);
    if (payment === undefined) return [this.#anyPayment()];
    const quarter = { amountMinor: Math.floor(payment.amountMinor / 4) };
    const draw = this.#random.next();
    if (draw < 0.06) return [this.#refundOf(payment, { amountMinor: payment.amountMinor + 1 })];
    if (draw < 0.16) return [this.#refundOf(payment, quarter), this.#refundOf(payment, {})];
    return [this.#refundOf(payment, draw < 0.4 ? {} : quarter)];
  }

  #refundOf(payment: Payment, body: Operation["body"]): Operation {
    payment.refunds += 1;
    return this.operation("refund", "POST", `/v1/payments/${payment.id}/refunds`, body);
  }

  /** Of one to three products, and now and then of the last units. */
  #order(): Operation {
    const accounts = this.#tenant.accounts.filter(({ currency }) => currency === "EUR");
    const { id: buyer } = this.#random.pick(accounts);
    const { id: merchant } = this.#random.pick(accounts.filter(({ id }) => id !== buyer));
    const skus = ["mug", "cup", "last-units"].slice(0, this.#random.chance(0.1) ? 3 : 2);
    const first = this.#random.int(0, skus.length - 1);
    const lines = skus.slice(first).map((sku) => ({ sku, quantity: this.#random.int(1, 3) }));
    const body = { buyer, merchant, currency: "EUR", lines };
    return this.operation("order", "POST", "/v1/orders", body);
  }

  /** Once, or under two keys at once, of which one is refused. */
  #cancellations(): Operation[] {
    const order = this.#tenant.orders.findLast(({ cancelled }) => !cancelled);
    if (order === undefined) return [this.#order()];
    order.cancelled = true;
    const keys = this.#random.chance(0.2) ? 2 : 1;
    return Array.from({ length: keys }, () =>
      this.operation("cancellation", "PATCH", `/v1/orders/${order.id}`, { state: "cancelled" }),
    );
  }

  /** Under an id of the client's choice, or of the server's. */
  #account(): Operation {
    const currency = this.#random.pick(CURRENCIES);
    return this.operation("account", "POST", "/v1/accounts", {
      currency,
      ...(this.#random.chance(0.5) ? { id: `n-${this.#name}-${this.#count}` } : {}),
    });
  }

  #product(sku: string, quantity: number): Operation {
    const body = { sku, name: `Product ${sku}`, priceMinor: 100, currency: "EUR", quantity };
    return this.operation("product", "POST", "/v1/products", body);
  }

  #stock(sku: string, delta: number): Operation {
    return this.operation("stock", "PATCH", `/v1/products/${sku}/stock`, { delta });
  }

  #toBeRefused(): Operation {
    const { id, currency } = this.#random.pick(this.#tenant.accounts);
    const wishes = [
      () => this.#payment(id, `system:${currency}`, currency, 1_000 * FUNDS_MINOR),
      () => this.#payment(id, "nobody", currency, 1),
      () => this.#stock("mug", -1_000_000),
      () => this.operation("account", "POST", "/v1/accounts", { id, currency }),
    ];
    return this.#random.pick(wishes)();
  }
}
