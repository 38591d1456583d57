/**
 * Clients as they are, with their own retries, against an API that has an effect each time it is called, with the gateway
 * between: connections break on both sides of it, by seed, and every intended call has one effect and gets its object.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Stripe } from "stripe";
import { Svix } from "svix";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Fault, faultsBySeed, startUpstream } from "../../examples/upstream/upstream.ts";
import { openPage, startBrowser } from "../support/browser.ts";
import { useServers } from "../support/suite.ts";
import { newKey } from "../support/tenant.ts";

const SEED = Number(process.env["FAULT_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const SLOW = { timeout: 120_000 };

/** What an API does that is asked again: it breaks before, after, and late, also later than the question about it. */
const HARD: readonly Fault[] = [
  "drop-before",
  "reset-after",
  "fail-after",
  "too-many",
  "accept-late",
  "reset-then-accept",
  "answer-late",
];

/** The first call is carried out, and nobody hears of it, whatever the seed is: so that there is no run without. */
const faults = (...drawn: Parameters<typeof faultsBySeed>): (() => Fault | undefined) => {
  const next = faultsBySeed(...drawn);
  let calls = 0;
  return () => {
    calls += 1;
    return calls === 1 ? "reset-after" : next();
  };
};

const askable = await startUpstream({ nextFault: faults(SEED, 0.2, HARD), lateMs: 400 });
const honouring = await startUpstream({
  nextFault: faults(SEED + 1, 0.2),
  lateMs: 300,
  honoursKey: true,
});
const silent = await startUpstream({ nextFault: faults(SEED + 2, 0.35, HARD), lateMs: 300 });

const common = { timeoutMs: 2_000, waitSeconds: 20 };
const routes = {
  /** It knows no keys, but can be asked, and what it does not know it has not done. */
  askable: [
    { path: "/**", ...common, status: { path: "/keys/{key}", absenceIsFinal: true, quietMs: 500 } },
  ],
  honouring: [{ path: "/**", ...common, honoursKey: true }],
  silent: [{ path: "/**", ...common }],
};
const serverFor = useServers({
  askable: {
    vars: { UPSTREAM_ORIGIN: askable.origin, GATEWAY_ROUTES: JSON.stringify(routes.askable) },
  },
  honouring: {
    vars: { UPSTREAM_ORIGIN: honouring.origin, GATEWAY_ROUTES: JSON.stringify(routes.honouring) },
  },
  silent: {
    vars: { UPSTREAM_ORIGIN: silent.origin, GATEWAY_ROUTES: JSON.stringify(routes.silent) },
  },
});
afterAll(async () => Promise.all([askable, honouring, silent].map(async ({ stop }) => stop())));

/**
 * Between client and gateway: a connection breaks before the request, while it runs, or before its answer. The first one
 * does whatever the seed is, so that there is no run without.
 */
const startBadLine = async (origin: string, seed: number) => {
  const next = faultsBySeed(seed, 0.35, ["drop-before", "reset-after", "answer-late"]);
  let broken = 0;
  const server = createServer((incoming, outgoing) => {
    const drawn = incoming.method === "GET" ? undefined : next();
    const fault = incoming.method !== "GET" && broken === 0 ? "reset-after" : drawn;
    if (fault !== undefined) broken += 1;
    if (fault === "drop-before") return void incoming.socket.destroy();
    const { hostname, port } = new URL(origin);
    const onward = httpRequest(
      { hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers },
      (answer) => {
        if (fault === "reset-after") {
          answer.resume();
          return void incoming.socket.resetAndDestroy();
        }
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
        answer.pipe(outgoing);
      },
    );
    onward.on("error", () => incoming.socket.destroy());
    incoming.pipe(onward);
    // While it runs: the gateway goes on, and the client comes again meanwhile.
    if (fault === "answer-late") setTimeout(() => incoming.socket.resetAndDestroy(), 20);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    broken: () => broken,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
};

const CALLS = 12;
const numbers = Array.from({ length: CALLS }, (_, i) => i);

/** What each intended call has made: one effect, and the object that the client was given. */
const expectOneEach = (
  effects: readonly { readonly id: string; readonly body: string }[],
  got: readonly { readonly marker: string; readonly id: string }[],
): void => {
  for (const { marker, id } of got) {
    const made = effects.filter(({ body }) => body.includes(marker));
    expect([marker, ...made.map((effect) => effect.id)]).toEqual([marker, id]);
  }
};

describe.each([
  ["askable", askable],
  ["honouring", honouring],
] as const)("an upstream that is %s", SLOW, (name, upstream) => {
  it(`stripe, unmodified: effects are the intended calls, and each gets its object (seed ${SEED})`, async () => {
    const line = await startBadLine(serverFor(name).origin, SEED + 10);
    const stripe = new Stripe("sk_test_123", {
      host: "127.0.0.1",
      port: line.port,
      protocol: "http",
      maxNetworkRetries: 12,
      telemetry: false,
    });
    const got = await Promise.all(
      numbers.map(async (i) => {
        const marker = `stripe-${name}-${i}x`;
        const charge = await stripe.charges.create({
          amount: 100 + i,
          currency: "eur",
          description: marker,
        });
        expect(charge).toMatchObject({ object: "charge", description: marker });
        return { marker, id: charge.id };
      }),
    );
    expectOneEach(upstream.effects, got);
    expect(line.broken()).toBeGreaterThan(0);
    line.stop();
  });

  it(`svix, unmodified: effects are the intended calls, and each gets its object (seed ${SEED})`, async () => {
    const line = await startBadLine(serverFor(name).origin, SEED + 11);
    const svix = new Svix("testtoken", { serverUrl: line.origin, numRetries: 12 });
    const got = await Promise.all(
      numbers.map(async (i) => {
        const marker = `svix-${name}-${i}x`;
        const message = await svix.message.create("app_1", { eventType: marker, payload: { i } });
        expect(message.eventType).toBe(marker);
        return { marker, id: message.id };
      }),
    );
    expectOneEach(upstream.effects, got);
    expect(line.broken()).toBeGreaterThan(0);
    line.stop();
  });

  const curl = ["/usr/bin/curl", "/bin/curl", "/usr/local/bin/curl"].find((path) =>
    existsSync(path),
  );
  if (curl === undefined) console.warn("curl is not installed: its test is SKIPPED.");
  it.skipIf(curl === undefined)(
    `curl --retry: one effect, and its object (seed ${SEED})`,
    async () => {
      const line = await startBadLine(serverFor(name).origin, SEED + 12);
      const got = await Promise.all(
        numbers.slice(0, 4).map(async (i) => {
          const marker = `curl-${name}-${i}x`;
          const { stdout } = await promisify(execFile)(curl ?? "", [
            "-sS",
            "--retry",
            "12",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "--fail-with-body",
            "-H",
            "Authorization: Bearer sk_test_1",
            "-H",
            `Idempotency-Key: ${newKey()}`,
            "-d",
            `amount=${i}&description=${marker}`,
            `${line.origin}/v1/charges`,
          ]);
          // Each try that failed may have left its problem before the object.
          const id = /"id":"([^"]+)"/.exec(stdout)?.[1] ?? stdout;
          return { marker, id };
        }),
      );
      expectOneEach(upstream.effects, got);
      expect(got).toHaveLength(4);
      line.stop();
    },
  );
});

describe("an upstream that can neither be asked nor knows keys", SLOW, () => {
  it(`76, 77: stripe: never two effects of one call; what is in doubt is said to be, and stays so (seed ${SEED})`, async () => {
    const stripe = new Stripe("sk_test_123", {
      host: "127.0.0.1",
      port: Number(new URL(serverFor("silent").origin).port),
      protocol: "http",
      maxNetworkRetries: 12,
      telemetry: false,
    });
    const ends = await Promise.all(
      numbers.map(async (i) => {
        const marker = `silent-${i}x`;
        const end = await stripe.charges
          .create({ amount: 100 + i, currency: "eur", description: marker })
          // What is no charge is an error to it, and never passes for one.
          .catch((error: unknown) =>
            z.object({ statusCode: z.number(), code: z.string() }).parse(error),
          );
        return { marker, end };
      }),
    );
    // What was accepted late is there by then.
    await sleep(600);
    const made = ends.map(({ marker, end }) => ({
      end: "id" in end ? end.id : end.statusCode,
      ids: silent.effects.filter(({ body }) => body.includes(marker)).map(({ id }) => id),
    }));
    expect(ends.filter(({ end }) => !("id" in end) && end.code !== "outcome-uncertain")).toEqual(
      [],
    );
    const uncertain = made.filter(({ end }) => end === 409).length;
    expect(uncertain).toBeGreaterThan(0);
    expect(made.filter(({ ids }) => ids.length > 1)).toEqual([]);
    expect(made.filter(({ end, ids }) => end !== 409 && end !== ids[0])).toEqual([]);
    const broken = silent.calls() - silent.effects.length;
    console.info(
      `seed ${SEED}: ${uncertain} of ${CALLS} uncertain, ${broken} calls without an effect`,
    );
  });
});

describe("a browser", SLOW, () => {
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(async () => browser.close());

  it("a page's form, sent twice by fetch with one key: one effect, one answer, also as parts with a new boundary", async () => {
    const { origin } = serverFor("honouring");
    const { page, foreignRequests } = await openPage(browser, origin);
    await page.goto(`${origin}/form`);
    const sendTwice = async (
      asParts: boolean,
      key: string,
    ): Promise<{ status: number; text: string; replayed: string | null }[]> =>
      JSON.parse(
        await page.evaluate<string>(`(async () => {
          const data = new FormData(document.querySelector("form"));
          const answers = [];
          for (let i = 0; i < 12 && answers.length < 2; i++) {
            const response = await fetch("/v1/orders", {
              method: "POST",
              headers: { Authorization: "Bearer page", "Idempotency-Key": ${JSON.stringify(key)} },
              body: ${asParts ? "data" : "new URLSearchParams(data)"},
            });
            const text = await response.text();
            if (response.status === 200) {
              answers.push({ status: response.status, text, replayed: response.headers.get("Idempotent-Replayed") });
            }
          }
          return JSON.stringify(answers);
        })()`),
      ) as { status: number; text: string; replayed: string | null }[];
    for (const asParts of [false, true]) {
      const key = newKey();
      const answers = await sendTwice(asParts, key);
      expect(answers).toHaveLength(2);
      expect(answers[1]).toMatchObject({ text: answers[0]?.text, replayed: "true" });
      expect(honouring.effects.filter((effect) => effect.key === key)).toHaveLength(1);
    }
    expect(foreignRequests).toEqual([]);
  });
});
