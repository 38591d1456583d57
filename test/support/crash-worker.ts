/**
 * The Worker as it is deployed, with a hook at its crash points. Built with `CRASH_POINTS=true`.
 *
 * At the armed point it tells the controller and then waits for ever: what comes after that point does not
 * happen, and the controller's SIGKILL ends the wait. Everything else in the process runs on.
 */
import { env } from "cloudflare:workers";
import { keyObjectFor } from "../../src/objects/key-object.ts";
import { operations } from "../../src/operations/registry.ts";
import { KeyObject as DeployedKeyObject } from "../../src/worker.ts";

export * from "../../src/worker.ts";
export { default } from "../../src/worker.ts";

/** Bindings of the rig, beside those of the Worker. */
const rig = env as {
  readonly CRASH_CONTROLLER?: string;
  readonly CRASH_POINT?: string;
  /** The how-manieth time that the point is reached. */
  readonly CRASH_COUNTDOWN?: string;
  /** Lets keys expire within a run, and objects sweep them as often as this. */
  readonly CRASH_KEY_LIFETIME_SECONDS?: string;
  readonly CRASH_SWEEP_SECONDS?: string;
  /** And be forgotten. */
  readonly CRASH_TOMBSTONE_SECONDS?: string;
  /** Between the tries of an exchange: the production's pauses are longer than a run. */
  readonly CRASH_PAUSE_MS?: string;
};

let countdown = Number(rig.CRASH_COUNTDOWN ?? 1);

globalThis.latchkeyCrashPoint = async (point) => {
  if (point !== rig.CRASH_POINT || rig.CRASH_CONTROLLER === undefined) return;
  countdown -= 1;
  if (countdown !== 0) return;
  await fetch(rig.CRASH_CONTROLLER, { method: "POST", body: point });
  await new Promise<never>(() => {});
};

const keyLifetimeSeconds = Number(rig.CRASH_KEY_LIFETIME_SECONDS ?? 0);
const sweepIntervalMs = Number(rig.CRASH_SWEEP_SECONDS ?? 0) * 1_000;

const pauseMs = Number(rig.CRASH_PAUSE_MS ?? 0);

/** The deployed class, unless keys are to expire, or tries to follow each other as fast as kills do. */
export const KeyObject =
  pauseMs > 0
    ? keyObjectFor(operations, {
        exchanges: (real) => ({ ...real, pauseBefore: () => pauseMs * (0.5 + Math.random()) }),
      })
    : keyLifetimeSeconds === 0
      ? DeployedKeyObject
      : keyObjectFor(
          operations.map((operation) => ({
            ...operation,
            keyLifetimeSeconds,
            tombstoneSeconds: Number(rig.CRASH_TOMBSTONE_SECONDS ?? operation.tombstoneSeconds),
          })),
          { sweepIntervalMs },
        );
