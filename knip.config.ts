import type { KnipConfig } from "knip";

/** Scripts, tests and the Worker's entry are found in package.json, vitest's and wrangler's files. */
const config: KnipConfig = {
  // Named in redocly.yaml; read as text; bundled or started by their paths.
  entry: [
    // Built by tsconfig.package.json; package.json names what comes out.
    "src/index.ts",
    "examples/booking/src/worker.ts",
    "docs/openapi/redocly-idempotency.mjs",
    "web/reference.ts",
    "web/console.ts",
    "bench/worker.ts",
    "mutants/prose.ts",
    "mutants/vitest.config.mts",
    "test/support/*-{worker,process}.ts",
  ],
  project: ["{src,scripts,bench,test,web,examples,mutants}/**/*.{ts,mts,tsx}"],
  // Started by its path; read as text, for a browser to run.
  ignoreDependencies: ["@redocly/cli", "axe-core"],
  // A type is named and exported for who reads a signature, also where nobody imports it yet.
  ignoreExportsUsedInFile: { interface: true, type: true },
};

export default config;
