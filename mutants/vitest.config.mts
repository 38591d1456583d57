import { defineConfig } from "vitest/config";

// A property's seed stands in its test's name, by which Stryker asks for the tests that reach a mutant.
process.env["FC_SEED"] ??= "1";

/**
 * The unit tests of the folders that are mutated: each decision is judged by its own tests, not by what
 * happens to call it from far away.
 */
export default defineConfig({
  define: { CRASH_POINTS: "false" },
  test: {
    environment: "node",
    include: [
      "test/unit/{contract,idempotency,journal,kernel}/**/*.test.ts",
      "test/unit/http/prefer.test.ts",
    ],
    // One worker for all files of a run, and a library as one file: a mutant is judged in half the time.
    isolate: false,
    deps: { optimizer: { ssr: { enabled: true, include: ["fast-check", "zod"] } } },
  },
});
