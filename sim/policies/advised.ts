/** The advisor as a client would use it: asked before each attempt, told how each went. Parts can be taken away. */
import { admit, advise, type Question } from "../../src/advisor/advice.ts";
import { emptyCalibration } from "../../src/advisor/calibration.ts";
import type { Failure } from "../../src/advisor/failure.ts";
import { type Group, newGroup } from "../../src/advisor/group.ts";
import { observe, type Prediction } from "../../src/advisor/observation.ts";
import { fullTokens } from "../../src/advisor/tokens.ts";
import type { Call, MakePolicy, World } from "../world.ts";

export type Without = "health" | "admission" | "tokens" | "calibration" | "classes";

type Past = {
  failure: Failure;
  atMs: number;
  ageMs: number;
  retries: number;
  advised: Prediction | undefined;
};

export const advised =
  (...without: readonly Without[]): MakePolicy =>
  (random) => {
    let group: Group = newGroup(0);
    const lacks = new Set(without);
    /** What an ablation takes away is put back to how it began, again and again. */
    const ablate = (nowMs: number): void => {
      if (without.length === 0) return;
      const fresh = newGroup(nowMs);
      group = {
        ...group,
        ...(lacks.has("health") ? { health: fresh.health, admission: fresh.admission } : {}),
        ...(lacks.has("admission") ? { admission: fresh.admission } : {}),
        ...(lacks.has("tokens") ? { tokens: fullTokens() } : {}),
        ...(lacks.has("calibration") ? { calibration: emptyCalibration() } : {}),
      };
    };
    const seenAs = (failure: Failure): Failure =>
      lacks.has("classes") ? { status: 503, code: "" } : failure;

    const attempt = (
      call: Call,
      world: World,
      past: Past | undefined,
      isNew: boolean,
      hasPlace: boolean,
    ): void => {
      const leftMs = call.deadlineMs - world.nowMs;
      if (leftMs <= 0) {
        world.finish(call, false);
        return;
      }
      const asking = { before: past, advised: past?.advised, isNew, hasPlace, leftMs };
      const entry = admit(group, asking, world.nowMs, random);
      if (entry.do !== "send") {
        const takes = entry.do === "take-place";
        world.events.after(entry.afterMs, () => attempt(call, world, past, false, takes));
        return;
      }
      const sentMs = world.nowMs;
      world.send(
        call,
        ({ failure }) => {
          const nowMs = world.nowMs;
          const ageMs = call.firstFailedMs < 0 ? 0 : nowMs - call.firstFailedMs;
          observe(group, {
            atMs: nowMs,
            durationMs: nowMs - sentMs,
            failure: failure === undefined ? undefined : failure,
            before:
              past === undefined
                ? undefined
                : {
                    failure: seenAs(past.failure),
                    ageMs: past.ageMs,
                    toAgeMs: sentMs - call.firstFailedMs,
                  },
            predicted: entry.predicted,
          });
          ablate(nowMs);
          if (failure === undefined) {
            world.finish(call, true);
            return;
          }
          const retries = past === undefined ? 0 : past.retries + 1;
          const question: Question = {
            failure: lacks.has("classes") && !(failure.status === 0) ? seenAs(failure) : failure,
            retries,
            ageMs,
            deadlineMs: call.deadlineMs - nowMs,
          };
          const advice = advise(group, question, nowMs, random);
          if (!advice.retry) {
            world.finish(call, false);
            return;
          }
          const next: Past = { failure, atMs: nowMs, ageMs, retries, advised: advice.predicted };
          world.events.after(advice.afterMs, () => attempt(call, world, next, false, false));
        },
        past === undefined ? undefined : entry.probability,
      );
    };
    return { begin: (call, world) => attempt(call, world, undefined, true, false) };
  };
