/**
 * `npm run demo`: a hundred payments over a network that loses answers. First against an endpoint without idempotency,
 * then against Latchkey, with the same plain retries; then through an outage, with plain retries and with the client SDK.
 * Charges are counted in the database, requests on the wire. `--seed N` makes the losses again.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, styleText } from "node:util";
import { createClient } from "../src/client/client.ts";
import { build } from "../test/support/build.ts";
import { type Fault, type FaultyProxy, startFaultyProxy } from "../test/support/faulty-proxy.ts";
import { type Server, startServer } from "../test/support/server.ts";
import { openTenant, PAYMENT, type Tenant } from "../test/support/tenant.ts";
import type { Random } from "../test/support/crash-random.ts";
import { Complaint, main } from "./tool.ts";

const PAYMENTS = 100;
/** Payments under way at a time. */
const PARALLEL = 10;
/** Of a hundred requests, so many are carried out and their answer is lost; and so many never arrive. */
const LOST_ANSWERS = 0.1;
const LOST_REQUESTS = 0.05;
/** From the moment that a third of the payments are made. */
const OUTAGE_MS = 4_000;
/** A plain client's pause between tries, the same for every try: what is written most often. */
const PLAIN_PAUSE_MS = 100;

type Act = {
  readonly title: string;
  readonly pay: (proxy: FaultyProxy, tenant: Tenant) => () => Promise<void>;
  readonly outage: boolean;
};

const { values } = parseArgs({ options: { seed: { type: "string" } } });
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));

/** `styleText` leaves colours out where NO_COLOR says so, and where nobody would see them. */
const paint = (style: "green" | "red" | "yellow" | "bold" | "dim", text: string): string =>
  styleText(style, text, { stream: process.stdout });

/** Sends until a 2xx comes. The key is the same for every try, if there is one. */
const plain =
  (path: string, keyed: boolean) =>
  ({ origin }: FaultyProxy, { token }: Tenant) =>
  async (): Promise<void> => {
    const headers = {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      ...(keyed ? { "Idempotency-Key": randomUUID() } : {}),
    };
    for (;;) {
      try {
        const answer = await fetch(origin + path, {
          method: "POST",
          headers,
          body: JSON.stringify(PAYMENT),
        });
        await answer.arrayBuffer();
        if (answer.ok) return;
      } catch {
        // Did it happen? A client without a key cannot know.
      }
      await sleep(PLAIN_PAUSE_MS);
    }
  };

/** One client for all, as a program has one: its retry budget is what an outage meets. */
const withSdk = (proxy: FaultyProxy, { token }: Tenant) => {
  const client = createClient({ credentials: () => ({ Authorization: `Bearer ${token}` }) });
  return async (): Promise<void> => {
    await client.request(`${proxy.origin}/v1/payments`, { body: PAYMENT });
  };
};

const ACTS: readonly Act[] = [
  {
    title: "no idempotency, plain retries",
    pay: plain("/bench/naive/payments", false),
    outage: false,
  },
  { title: "Latchkey, plain retries", pay: plain("/v1/payments", true), outage: false },
  {
    title: "Latchkey, plain retries, an outage",
    pay: plain("/v1/payments", true),
    outage: true,
  },
  { title: "Latchkey, client SDK, an outage", pay: withSdk, outage: true },
];

type Outcome = {
  readonly title: string;
  readonly charges: number;
  readonly requests: number;
  readonly seconds: number;
};

const perform = async (server: Server, act: Act): Promise<Outcome> => {
  const tenant = await openTenant(server);
  const proxy = await startFaultyProxy(server.origin, seed);
  let done = 0;
  let downUntilMs: number | undefined;
  const fate = (random: Random): Fault | undefined => {
    const drawn = random.next();
    if (act.outage && done >= PAYMENTS / 3) downUntilMs ??= Date.now() + OUTAGE_MS;
    if (downUntilMs !== undefined && Date.now() < downUntilMs) return "unavailable";
    if (drawn < LOST_ANSWERS) return "lose-answer";
    return drawn < LOST_ANSWERS + LOST_REQUESTS ? "lose-request" : undefined;
  };
  proxy.behave(fate);
  const startedMs = Date.now();
  try {
    const pay = act.pay(proxy, tenant);
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < PAYMENTS) {
        next += 1;
        await pay();
        done += 1;
        showProgress(act.title, done);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  } finally {
    await proxy.stop();
  }
  const [row] = await server.sql(
    "SELECT count(*) AS charges FROM transfers WHERE tenant = ? AND source = 'alice'",
    tenant.name,
  );
  return {
    title: act.title,
    charges: Number(row?.["charges"]),
    requests: Object.values(proxy.counts).reduce((sum, count) => sum + count, 0),
    seconds: (Date.now() - startedMs) / 1000,
  };
};

const showProgress = (title: string, done: number): void => {
  if (!process.stdout.isTTY) return;
  const width = 30;
  const filled = Math.round((done / PAYMENTS) * width);
  const bar = paint("green", "█".repeat(filled)) + paint("dim", "░".repeat(width - filled));
  process.stdout.write(`\r${bar} ${done}/${PAYMENTS} ${title}\u001B[K`);
};

const lineOf = ({ title, charges, requests, seconds }: Outcome): string => {
  const right = charges === PAYMENTS;
  const judged = right
    ? paint("green", `${charges} charges`)
    : paint("red", `${charges} charges, ${charges - PAYMENTS} too many`);
  return `${title.padEnd(36)} ${judged}, ${paint("yellow", `${requests - PAYMENTS} retries`)}, ${seconds.toFixed(1)} s`;
};

await main(async () => {
  console.log(
    `${paint("bold", `${PAYMENTS} payments`)} over a network that loses ${LOST_ANSWERS * 100} of 100 answers and ${LOST_REQUESTS * 100} of 100 requests; an outage lasts ${OUTAGE_MS / 1000} s. Seed ${seed}.\n`,
  );
  const server = await startServer({
    build: await build({ entry: "bench/worker.ts" }),
    newKeysPerMinute: "unlimited",
  });
  try {
    const outcomes: Outcome[] = [];
    for (const act of ACTS) {
      const outcome = await perform(server, act);
      outcomes.push(outcome);
      if (process.stdout.isTTY) process.stdout.write("\r\u001B[K");
      console.log(lineOf(outcome));
    }
    const wrong = outcomes.slice(1).filter(({ charges }) => charges !== PAYMENTS);
    if (wrong.length > 0)
      throw new Complaint("Latchkey charged another number of times than asked.");
  } finally {
    await server.stop();
  }
});
