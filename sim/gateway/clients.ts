/** Ways to retry, each as a program would do it: one that knows no advice, one that obeys `Retry-After`, and the client SDK. */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "../../src/client/client.ts";
import type { Random } from "../random.ts";

/** What came of one request. */
export type Ended = {
  readonly succeeded: boolean;
  /** Tries after the first that brought no outcome. */
  readonly failedRetries: number;
};

export type Patience = { readonly patienceMs: number };

/** Sends one request under a key until it has an outcome or is given up. */
export type Client = (url: string, key: string) => Promise<Ended>;

/** Of all clients of a run together: a program has one, and it keeps a budget. */
export type MakeClient = (random: Random, patience: Patience) => Client;

/** As most libraries have it: 200 ms, doubled up to 20 s, of which any part is waited (full jitter). */
const RETRIES = 5;
const BASE_MS = 200;
const CAP_MS = 20_000;

export const exponential: MakeClient = (random, { patienceMs }) =>
  plain(patienceMs, (failures) =>
    failures > RETRIES ? undefined : random() * Math.min(CAP_MS, BASE_MS * 2 ** (failures - 1)),
  );

/** Comes back when it is told to, and a little later, so that not all do at once. Whoever is told nothing waits a second. */
export const obedient: MakeClient = (random, { patienceMs }) =>
  plain(patienceMs, (_failures, advisedMs) => (advisedMs ?? 1_000) * (1 + 0.1 * random()));

/** @param pauseMs undefined: no more */
const plain =
  (
    patienceMs: number,
    pauseMs: (failures: number, advisedMs: number | undefined) => number | undefined,
  ): Client =>
  async (url, key) => {
    const endsMs = performance.now() + patienceMs;
    let failures = 0;
    for (;;) {
      const { isOutcome, advisedMs } = await attempt(url, key);
      if (isOutcome) return { succeeded: true, failedRetries: Math.max(0, failures - 1) };
      failures += 1;
      const pause = pauseMs(failures, advisedMs);
      if (pause === undefined || performance.now() + pause > endsMs) {
        return { succeeded: false, failedRetries: failures - 1 };
      }
      await sleep(pause);
    }
  };

const attempt = async (
  url: string,
  key: string,
): Promise<{ readonly isOutcome: boolean; readonly advisedMs: number | undefined }> => {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: BODY,
    });
    await answer.arrayBuffer();
    const seconds = answer.headers.get("Retry-After");
    return {
      isOutcome: answer.ok,
      advisedMs: seconds === null ? undefined : Number(seconds) * 1_000,
    };
  } catch {
    return { isOutcome: false, advisedMs: undefined };
  }
};

const BODY = '{"amountMinor":1250}';

export const withSdk: MakeClient = (random, { patienceMs }) => {
  const failed = new Map<string, number>();
  const client = createClient({
    giveUpAfterMs: patienceMs,
    random,
    onEvent: (event) => {
      if (event.type === "failed" && event.attempt > 1) {
        failed.set(event.key, (failed.get(event.key) ?? 0) + 1);
      }
    },
  });
  return async (url, key) => {
    const succeeded = await client.request(url, { key, body: { amountMinor: 1250 } }).then(
      () => true,
      () => false,
    );
    return { succeeded, failedRetries: failed.get(key) ?? 0 };
  };
};
