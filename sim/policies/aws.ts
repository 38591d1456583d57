/**
 * The retry modes of the AWS SDK for JavaScript, by their own code. It waits on timers and reads clocks, so those of
 * this process are lent to the simulation while it runs.
 */
import { AdaptiveRetryStrategy, StandardRetryStrategy } from "@smithy/core/retry";
import type { Failure } from "../../src/advisor/failure.ts";
import type { Attempt, Call, MakePolicy, World } from "../world.ts";

/** The modes' own default. */
const ATTEMPTS = 3;

export const aws =
  (mode: "standard" | "adaptive"): MakePolicy =>
  (random, world) => {
    const giveBack = lendTime(world, random);
    const strategy =
      mode === "standard"
        ? new StandardRetryStrategy(ATTEMPTS)
        : new AdaptiveRetryStrategy(() => Promise.resolve(ATTEMPTS));
    const drive = async (call: Call): Promise<void> => {
      let token = (await strategy.acquireInitialRetryToken("")) as Token;
      for (;;) {
        const { failure } = await new Promise<Attempt>((resolve) => {
          world.send(call, resolve);
        });
        if (failure === undefined) {
          strategy.recordSuccess(token);
          world.finish(call, true);
          return;
        }
        try {
          token = (await strategy.refreshRetryTokenForRetry(token, {
            errorType: typeOf(failure),
          })) as Token;
        } catch {
          // No token: it gives up.
          world.finish(call, false);
          return;
        }
      }
    };
    return {
      begin: (call) => void drive(call),
      settle: async () => {
        for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
      },
      stop: giveBack,
    };
  };

/** Both modes make tokens of this kind; only one says so. */
type Token = Parameters<StandardRetryStrategy["recordSuccess"]>[0];

/** Awaits of the SDK between two waits: no chain of them is longer, and a turn too many costs nothing. */
const TURNS = 16;

/** As the SDK classifies answers. */
const typeOf = ({ status }: Failure): "THROTTLING" | "TRANSIENT" | "CLIENT_ERROR" => {
  if (status === 429) return "THROTTLING";
  return [0, 500, 502, 503, 504].includes(status) ? "TRANSIENT" : "CLIENT_ERROR";
};

const lendTime = (world: World, random: () => number): (() => void) => {
  const real = { setTimeout: globalThis.setTimeout, now: Date.now, random: Math.random };
  // An SDK that reads zero for "now" thinks that it was never set.
  const startMs = 1_800_000_000_000;
  Date.now = () => startMs + world.nowMs;
  Math.random = random;
  const later = (run: () => void, ms = 0): number => {
    world.events.after(ms, run);
    return 0;
  };
  globalThis.setTimeout = later as unknown as typeof globalThis.setTimeout;
  return () => {
    globalThis.setTimeout = real.setTimeout;
    Date.now = real.now;
    Math.random = real.random;
  };
};
