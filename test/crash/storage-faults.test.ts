/**
 * Faults 42, 50, 51 and 53 through the whole Worker, over HTTP: both stores fail at random under every request, and two
 * incarnations serve each key. `npm run storage-faults` is the long form.
 */
import { expect, test } from "vitest";
import { shortened } from "../support/crash-run.ts";
import { runStorageFaults } from "../support/storage-faults-run.ts";

test("42, 50, 51, 53 both stores fail at random under two incarnations of each object: one effect, one answer, nothing left open", async () => {
  const seed = Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 1_000_000));
  const { result, violations } = await runStorageFaults({
    seed,
    requests: 800,
    stallMs: 2_000,
    clientsPerTenant: 12,
  });
  console.log(JSON.stringify(result));
  expect(shortened(violations).map((sentence) => `seed ${seed}: ${sentence}`)).toEqual([]);
});
