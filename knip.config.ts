import type { KnipConfig } from "knip";

/** Scripts, tests and the Worker's entry are found in package.json, vitest's and wrangler's files. */
const config: KnipConfig = {
  // Named in redocly.yaml.
  entry: ["scripts/redocly-idempotency.ts"],
  project: ["{src,scripts,bench,test}/**/*.{ts,tsx}"],
  // redocly is started by its path, and miniflare is listed to hold it, and so workerd, to one version.
  ignoreDependencies: ["@redocly/cli", "miniflare"],
  // A type is named and exported for who reads a signature, also where nobody imports it yet.
  ignoreExportsUsedInFile: { interface: true, type: true },
};

export default config;
