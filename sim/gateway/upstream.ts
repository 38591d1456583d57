/** The API behind: it carries a key out once, and fails when its troubles say so. Beside them, now and then, by chance. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { randomOf } from "../random.ts";
import { type Span, troubleAt } from "./faults.ts";

export type FaultyUpstream = {
  readonly origin: string;
  /** From now on the troubles have their time. */
  readonly begin: () => void;
  /** Keys that were carried out. */
  readonly effects: ReadonlySet<string>;
  readonly counts: { readonly calls: number; readonly failed: number };
  readonly stop: () => Promise<void>;
};

const USUAL_MS = 20;
/** Longer than the gateway waits. */
const SLOW_MS = 3_000;
/** Taken while it is throttled, a second; a little more at once. */
const THROTTLED_PER_SECOND = 3;
const THROTTLED_BURST = 3;
/** Of all calls outside of any trouble so many get a 503. */
const BLIPS = 0.02;

export const startFaultyUpstream = async (
  seed: number,
  spans: readonly Span[],
): Promise<FaultyUpstream> => {
  const random = randomOf(seed + 1);
  const effects = new Set<string>();
  const counts = { calls: 0, failed: 0 };
  let startedMs: number | undefined;
  let tokens = THROTTLED_BURST;
  let tokensAtMs = 0;

  const isThrottled = (nowMs: number): boolean => {
    tokens = Math.min(
      THROTTLED_BURST,
      tokens + ((nowMs - tokensAtMs) / 1_000) * THROTTLED_PER_SECOND,
    );
    tokensAtMs = nowMs;
    if (tokens < 1) return true;
    tokens -= 1;
    return false;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    counts.calls += 1;
    const nowMs = startedMs === undefined ? 0 : performance.now() - startedMs;
    const trouble = startedMs === undefined ? undefined : troubleAt(spans, nowMs);
    const fail = (status: number): void => {
      counts.failed += 1;
      response.writeHead(status, { "content-type": "application/json" }).end('{"error":"no"}');
    };
    if (trouble === "reset") {
      counts.failed += 1;
      request.socket.resetAndDestroy();
      return;
    }
    request.resume();
    if (trouble === "unavailable") return fail(503);
    if (trouble === "throttled" && isThrottled(nowMs)) return fail(429);
    if (trouble === undefined && random() < BLIPS) return fail(503);
    const key = request.headers["idempotency-key"];
    effects.add(typeof key === "string" ? key : "");
    await sleep(trouble === "slow" ? SLOW_MS : USUAL_MS);
    if (trouble === "slow") counts.failed += 1;
    if (response.destroyed) return;
    response.writeHead(200, { "content-type": "application/json" }).end('{"paid":true}');
  };

  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    begin: () => (startedMs = performance.now()),
    effects,
    counts,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
