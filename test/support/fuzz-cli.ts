/**
 * The long form of the fuzz:
 *
 *   npm run fuzz -- --requests 20000 --seed 7 [--record]
 *
 * Prints what was asked and answered, and each violation with the requests that show it. The last line is the result
 * as JSON; the exit code is 0 only if there was no violation.
 */
import { parseArgs } from "node:util";
import { record } from "../../scripts/record.ts";
import { Complaint, main } from "../../scripts/tool.ts";
import { runFuzz } from "./fuzz-run.ts";

await main(async () => {
  const plan = options();
  console.log(`seed ${plan.seed}, ${plan.requests} requests`);
  const { result, violations } = await runFuzz(plan, (sent) => console.log(`${sent} requests`));
  for (const { what, scenario, reproduction } of violations) {
    console.log(`\nVIOLATION in scenario ${scenario}: ${what}\n${reproduction}`);
  }
  console.log("\nby status");
  console.table(result.by_status);
  console.log("by operation");
  console.table(result.by_operation);
  console.log(
    `covered: ${result.coverage.seen} of ${result.coverage.wanted} answers that can be reached`,
  );
  for (const missing of result.uncovered) console.log(`  not seen: ${missing}`);
  console.log(JSON.stringify(result));
  if (plan.isRecorded) {
    const { seed, requests } = plan;
    const { by_operation: _, ...figures } = result;
    record("fuzz", `npm run fuzz -- --requests ${requests} --seed ${seed}`, figures);
  }
  if (violations.length > 0) process.exitCode = 1;
});

function options(): { seed: number; requests: number; isRecorded: boolean } {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "20000" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      record: { type: "boolean", default: false },
    },
  });
  const requests = Number(values.requests);
  const seed = Number(values.seed);
  if (!Number.isInteger(requests) || requests < 1 || !Number.isInteger(seed)) {
    throw new Complaint("npm run fuzz -- [--requests NUMBER] [--seed NUMBER] [--record]");
  }
  return { seed, requests, isRecorded: values.record };
}
