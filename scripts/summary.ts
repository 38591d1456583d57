/**
 * Counts vitest's JSON report and prints one line, `N passed, N failed`. Fails if anything failed, if
 * nothing ran, or if there is no report.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Complaint, main, root } from "./tool.ts";

const REPORT = ".reports/vitest.json";

const Report = z.object({
  success: z.boolean(),
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  testResults: z.array(
    z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) }),
  ),
});

await main(async () => {
  const file = join(root, REPORT);
  if (!existsSync(file)) throw new Complaint("No test ran: vitest left no report.");
  const report = Report.parse(JSON.parse(readFileSync(file, "utf8")));

  // A file that breaks before or after its tests fails without any one of them having failed.
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  ).length;
  // An error outside every test, such as an unhandled rejection, is only in `success`.
  const failed =
    report.numFailedTests + brokenFiles || Number(!report.success || report.numPassedTests === 0);

  console.log(`${report.numPassedTests} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});
