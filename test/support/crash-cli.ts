/**
 * The long form of the crash tests:
 *
 *   npm run crash -- [--gateway] --kills 500 --seed 7 [--mode 1|per-key|changing] [--record]
 *
 * Kills a server that often, at labelled points and at any moment, while clients go on. The last line is the
 * result as JSON; the exit code is 0 only if nothing was lost, doubled, told differently or left open. With `--gateway` the
 * business is with upstreams that fail by seed, and payouts.
 */
import { parseArgs } from "node:util";
import { record } from "../../scripts/record.ts";
import { Complaint, main } from "../../scripts/tool.ts";
import { Random } from "./crash-random.ts";
import { type CrashPlan, type KillAt, type Mode, runCrashes, shortened } from "./crash-run.ts";
import { type GatewayPlan, runGatewayCrashes } from "./crash-gateway-run.ts";
import { buildCrashWorker } from "./crash-server.ts";
import { UPSTREAM_KINDS } from "./crash-upstream.ts";

const MODES: readonly Mode[] = ["1", "per-key", "changing"];
/** Long enough for a retry through several kills, short enough that objects sweep in a long run. */
const KEY_LIFETIME_SECONDS = 45;
/** Most points are passed many times a second; a recovery may find nothing to recover. */
const REACH_WITHIN_MS = 5_000;
/** So many kills take longer than that: keys have expired, and there is something to sweep. */
const KILLS_BEFORE_SWEEPS = 60;

await main(async () => {
  const { kills, seed, mode, isRecorded, isGateway } = options();
  if (isGateway) return gateway(kills, seed, mode, isRecorded);
  console.log(`seed ${seed}, ${kills} kills, KEY_OBJECTS ${mode}`);
  const plan: CrashPlan = {
    seed,
    mode,
    kills: planOf(seed, kills),
    reachWithinMs: REACH_WITHIN_MS,
    expiry: {
      keyLifetimeSeconds: KEY_LIFETIME_SECONDS,
      // A few objects are swept every other second; thousands, one for each key, when the key expires.
      sweepSeconds: mode === "1" ? 2 : KEY_LIFETIME_SECONDS,
    },
  };
  const { result, violations } = await runCrashes(await buildCrashWorker(), plan, {
    afterKill: (done) => {
      if (done % 25 === 0) console.log(`${done} kills`);
    },
  });
  for (const violation of shortened(violations)) console.log(violation);
  console.log(JSON.stringify(result));
  if (isRecorded) {
    const command = `npm run crash -- --kills ${kills} --seed ${seed} --mode ${mode}`;
    record(`crash-${mode}`, command, result);
  }
  if (violations.length > 0) process.exitCode = 1;
});

/** The processor of payouts is another kind for each of three seeds in a row. */
async function gateway(kills: number, seed: number, mode: Mode, isRecorded: boolean) {
  const processor = UPSTREAM_KINDS[seed % UPSTREAM_KINDS.length] ?? "honours";
  const plan: GatewayPlan = {
    seed,
    mode,
    kills: gatewayPlanOf(seed, kills),
    reachWithinMs: REACH_WITHIN_MS,
    processor,
  };
  const { result, violations } = await runGatewayCrashes(await buildCrashWorker(), plan, (done) => {
    if (done % 25 === 0) console.log(`${done} kills`);
  });
  for (const violation of shortened(violations)) console.log(violation);
  console.log(JSON.stringify(result));
  if (isRecorded) {
    const command = `npm run crash -- --gateway --kills ${kills} --seed ${seed} --mode ${mode}`;
    record(`crash-gateway-${mode}`, command, result);
  }
  if (violations.length > 0) process.exitCode = 1;
}

function options(): {
  kills: number;
  seed: number;
  mode: Mode;
  isRecorded: boolean;
  isGateway: boolean;
} {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "500" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      mode: { type: "string", default: "1" },
      record: { type: "boolean", default: false },
      gateway: { type: "boolean", default: false },
    },
  });
  const mode = MODES.find((known) => known === values.mode);
  const kills = Number(values.kills);
  const seed = Number(values.seed);
  if (mode === undefined || !Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
    throw new Complaint(
      `npm run crash -- [--gateway] [--kills NUMBER] [--seed NUMBER] [--mode ${MODES.join("|")}] [--record]`,
    );
  }
  return { kills, seed, mode, isRecorded: values.record, isGateway: values.gateway };
}

/** Every point that a call or a payout passes, and any moment. */
function gatewayPlanOf(seed: number, kills: number): KillAt[] {
  const random = new Random(`${seed}/plan`);
  const points: readonly KillAt[] = [
    "exchange-claimed",
    "exchange-intent",
    "exchange-sent",
    "exchange-answered",
    "exchange-stored",
    "exchange-final",
    "batch-sent",
    "batch-committed",
    "answer-sent",
    "alarm",
    "any-moment",
    "any-moment",
  ];
  return Array.from({ length: kills }, () => random.pick(points));
}

/** A recovery needs an outcome that nobody was told: it follows a kill that leaves one. */
function planOf(seed: number, kills: number): KillAt[] {
  const random = new Random(`${seed}/plan`);
  const plan: KillAt[] = [];
  while (plan.length < kills) {
    plan.push(
      ...random.pick<readonly KillAt[]>([
        ["queued"],
        ["before-claim"],
        ["batch-sent", "batch-sent"],
        ["batch-committed", "recovery"],
        ["batch-committed", "recovery", "recovery"],
        ["copy-written"],
        ["answer-sent"],
        ["async-accepted"],
        ["any-moment"],
        ["any-moment"],
        ...(plan.length < KILLS_BEFORE_SWEEPS ? [] : [["sweep" as const], ["alarm" as const]]),
      ]),
    );
  }
  return plan.slice(0, kills);
}
