/**
 * SIGKILL of the server between clients and an API that fails by seed, at each labelled point of an exchange; payouts among
 * them, whose recovery points are held, called, answered and settled. The upstreams are processes of their own, and what
 * they have written down is what is believed of calls and effects. `CRASH_SEED=7 npm run test:crash` takes that seed.
 */
import { beforeAll, expect, test } from "vitest";
import type { Build } from "../support/build.ts";
import { type GatewayPlan, runGatewayCrashes } from "../support/crash-gateway-run.ts";
import { shortened } from "../support/crash-run.ts";
import { buildCrashWorker } from "../support/crash-server.ts";

let built: Build;

beforeAll(async () => {
  built = await buildCrashWorker();
});

/** Every point here is passed within a second or two; a busy machine gets longer. */
const REACH_WITHIN_MS = 30_000;

const brokenBy = async (plan: Omit<GatewayPlan, "seed" | "reachWithinMs">): Promise<string[]> => {
  const seed = Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 1_000_000));
  const { result, violations } = await runGatewayCrashes(built, {
    seed,
    reachWithinMs: REACH_WITHIN_MS,
    ...plan,
  });
  console.log(JSON.stringify(result));
  const missed = plan.kills
    .map((kill) => (typeof kill === "string" ? kill : kill[0]))
    .filter((point) => !(point in result.points))
    .map((point) => `The point ${point} was not reached.`);
  return shortened([...violations, ...missed]).map((sentence) => `seed ${seed}: ${sentence}`);
};

test("36–39, 76, 77 SIGKILL with a call or a payout claimed, called, answered and settled: no second effect, nothing run blindly, and what is doubtful is listed", async () => {
  const kills = [
    "exchange-claimed",
    "exchange-intent",
    "exchange-sent",
    "exchange-answered",
    "exchange-stored",
    "exchange-final",
  ] as const;
  expect(await brokenBy({ mode: "1", kills, processor: "honours" })).toEqual([]);
});

test("49, 77 SIGKILL with calls and payouts outstanding, and KEY_OBJECTS is another each time: the object that called carries on", async () => {
  const kills = ["exchange-sent", "exchange-answered"] as const;
  expect(await brokenBy({ mode: "changing", kills, processor: "asks" })).toEqual([]);
});
