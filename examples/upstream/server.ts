/**
 * `npm run demo:upstream`: the demo API on its own, to put the gateway in front of.
 *
 *     npm run demo:upstream -- --port 8788 --faults 0.3 --seed 7
 *
 * `--faults P`: each call goes wrong with this probability, by `--seed`; `--honours-key`: a key is carried out once here,
 * too; `--delay MS` of every answer. Ctrl-C ends it.
 */
import { parseArgs } from "node:util";
import { faultsBySeed, startUpstream } from "./upstream.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8788" },
    faults: { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
    delay: { type: "string", default: "0" },
    "honours-key": { type: "boolean", default: false },
  },
});
const upstream = await startUpstream({
  port: Number(values.port),
  nextFault: faultsBySeed(Number(values.seed), Number(values.faults)),
  honoursKey: values["honours-key"],
  delayMs: Number(values.delay),
});
console.log(`A demo API is on ${upstream.origin}: each POST has an effect, each time it arrives.`);
console.log(`What has happened: curl ${upstream.origin}/effects`);
if (Number(values.faults) > 0) {
  console.log(`${Number(values.faults) * 100} of 100 calls go wrong, by seed ${values.seed}.`);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void upstream.stop());
}
