import type { KnipConfig } from "knip";

/** Scripts, tests and the Worker's entry are found in package.json, vitest's and wrangler's files. */
const config: KnipConfig = {
  // Named in redocly.yaml; read as text; bundled or started by their paths.
  entry: [
    "examples/booking/src/worker.ts",
    "docs/openapi/redocly-idempotency.mjs",
    "web/reference.ts",
    "web/console.ts",
    "bench/worker.ts",
    "bench/gateway-worker.ts",
    "bench/gateway-upstream.ts",
    "mutants/prose.ts",
    "mutants/vitest.config.mts",
    "test/support/*-{worker,process}.ts",
  ],
  project: ["{src,scripts,bench,sim,test,web,examples,mutants}/**/*.{ts,mts,tsx}"],
  // Started, or read as text, by its path.
  ignoreDependencies: ["@redocly/cli", "axe-core"],
  // A type is named and exported for who reads a signature, also where nobody imports it yet.
  ignoreExportsUsedInFile: { interface: true, type: true },
};

export default config;
