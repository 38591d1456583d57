/**
 * The long form of the storage faults:
 *
 *   npm run storage-faults -- --requests 50000 --seed 7 [--record]
 *
 * So many HTTP requests, while batches are lost, late, repeated or stalled, reads and object storage fail, and each key
 * is served by two incarnations. The last line is the result as JSON; the exit code is 0 only if nothing was lost,
 * doubled, told differently or left open.
 */
import { parseArgs } from "node:util";
import { record } from "../../scripts/record.ts";
import { Complaint, main } from "../../scripts/tool.ts";
import { shortened } from "./crash-run.ts";
import { runStorageFaults } from "./storage-faults-run.ts";

/** As long as D1 lets a batch take. */
const STALL_MS = 60_000;

await main(async () => {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "50000" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      record: { type: "boolean", default: false },
    },
  });
  const requests = Number(values.requests);
  const seed = Number(values.seed);
  if (!Number.isInteger(requests) || requests < 1 || !Number.isInteger(seed)) {
    throw new Complaint("npm run storage-faults -- [--requests NUMBER] [--seed NUMBER] [--record]");
  }
  console.log(`seed ${seed}, ${requests} requests`);
  let next = 5_000;
  const { result, violations } = await runStorageFaults({
    seed,
    requests,
    stallMs: STALL_MS,
    clientsPerTenant: 24,
    onProgress: (sent) => {
      if (sent < next) return;
      console.log(`${sent} requests`);
      next += 5_000;
    },
  });
  for (const violation of shortened(violations)) console.log(violation);
  const figures = { requests, stallSeconds: STALL_MS / 1000, ...result };
  console.log(JSON.stringify(figures));
  if (values.record) {
    const command = `npm run storage-faults -- --requests ${requests} --seed ${seed}`;
    record("storage-faults", command, figures);
  }
  if (violations.length > 0) process.exitCode = 1;
});
