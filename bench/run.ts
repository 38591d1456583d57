/**
 * `npm run bench`: what exactly-once costs, and what it gains. Every figure is a ratio within one interleaved run,
 * the median of its rounds; absolute numbers say more about the machine than about the product.
 *
 * Options: `--rounds N` (5), `--ms N` of one measurement (1200), `--only PART` (`paths`, `replay-scale`,
 * `orders-beside`, `hot-key`, `gateway`, `console`), `--keys N` of the large tenant of `replay-scale` (1000000), `--quick`: fewer of all of these, and
 * nothing is written. What was measured replaces its figures in `bench/latest.json`, and no others.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { benchConsole } from "./console.ts";
import { benchGateway } from "./gateway.ts";
import { benchHotKey } from "./hot-key.ts";
import { benchOrdersBeside } from "./orders-beside.ts";
import { benchReplayScale } from "./replay-scale.ts";
import { benchPaths } from "./paths.ts";
import { bundleBenchWorker } from "./server.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "1200" },
    quick: { type: "boolean", default: false },
    mode: { type: "string", default: "1" },
    only: { type: "string" },
    keys: { type: "string" },
    "order-connections": { type: "string", default: "8" },
  },
});
const LATEST = "bench/latest.json";
const PARTS = ["paths", "replay-scale", "orders-beside", "hot-key", "gateway", "console"];
if (options.only !== undefined && !PARTS.includes(options.only)) {
  throw new Error(`--only takes one of ${PARTS.join(", ")}.`);
}
const runs = (part: string): boolean => (options.only ?? part) === part;
const rounds = options.quick ? 3 : Number(options.rounds);
const measureMs = options.quick ? 700 : Number(options.ms);

const script = bundleBenchWorker();
const figures: Record<string, number> = {};
if (runs("paths")) {
  Object.assign(
    figures,
    await benchPaths(script, { mode: options.mode, rounds, measureMs, quick: options.quick }),
  );
}
if (runs("replay-scale")) {
  const keys = Number(options.keys ?? (options.quick ? 20_000 : 1_000_000));
  Object.assign(figures, await benchReplayScale(script, { keys, rounds }));
}
if (runs("orders-beside")) {
  const orderConnections = Number(options["order-connections"]);
  Object.assign(
    figures,
    await benchOrdersBeside(script, { rounds, aloneMs: measureMs, orderConnections }),
  );
}
if (runs("hot-key")) {
  Object.assign(figures, await benchHotKey(script, { rounds, measureMs }));
}
if (runs("gateway")) {
  const gateway = bundleBenchWorker("bench/gateway-worker.ts");
  Object.assign(figures, await benchGateway(gateway, { rounds, measureMs }));
}
if (runs("console")) await benchConsole({ rounds });

const rounded = Object.fromEntries(
  Object.entries(figures).map(([name, value]) => [name, Math.round(value * 100) / 100]),
);
console.log(`\n${JSON.stringify(rounded, null, 2)}`);
if (!options.quick) {
  const before = JSON.parse(readFileSync(LATEST, "utf8")) as Record<string, number>;
  writeFileSync(LATEST, `${JSON.stringify({ ...before, ...rounded }, null, 2)}\n`);
}
