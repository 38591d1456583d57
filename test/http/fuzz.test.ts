/** A short run of the fuzz, with another seed each time; `npm run fuzz` is the long one. */
import { describe, expect, it } from "vitest";
import { runFuzz } from "../support/fuzz-run.ts";

const SEED = Date.now() % 1_000_000;
const REQUESTS = 1_500;
/** A machine that is busy sends fewer: how many it can is not what is tested. */
const SECONDS_MAX = 10;
/** Over those ten seconds: a start, a reading of the database, the reduction of what was found. */
const TIMEOUT_MS = 60_000;

describe("what the OpenAPI document describes and what it forbids", () => {
  it(
    `is answered as declared, stores nothing when refused, and happens once (seed ${SEED})`,
    { timeout: TIMEOUT_MS },
    async () => {
      const { result, violations } = await runFuzz({
        seed: SEED,
        requests: REQUESTS,
        secondsMax: SECONDS_MAX,
      });
      expect(violations.map(({ what, reproduction }) => `${what}\n${reproduction}`)).toEqual([]);
      expect(result.requests).toBeGreaterThan(REQUESTS / 10);
      expect(Object.keys(result.by_status)).toEqual(
        expect.arrayContaining(["200", "201", "400", "401", "422"]),
      );
    },
  );
});
