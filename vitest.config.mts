import { availableParallelism } from "node:os";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { upstreamService } from "./test/support/upstream-service.ts";

// wrangler's notes about secrets in files do not concern tests, which bring their own; and no test asks
// Cloudflare where this machine is.
process.env["WRANGLER_LOG"] ??= "error";
process.env["CLOUDFLARE_CF_FETCH_ENABLED"] ??= "false";

/** Outside workerd nothing replaces the name, see [define] in wrangler.toml. */
const define = { CRASH_POINTS: "false" };

/** What is waited for comes, however busy the machine is; what does not come, fails a little later. */
const patient = { poll: { interval: 20, timeout: 20_000 } };

/**
 * Five kinds of test, from the inside out: pure code, its decisions in every order of events, code inside workerd, a
 * Worker seen over HTTP, and a Worker that is killed. Nothing here stands in for D1, for objects or for the runtime,
 * but in the model, whose database is held to the real statements.
 */
export default defineConfig({
  test: {
    // .ci/run counts from the JSON file; people read the other.
    reporters: ["default", ["json", { outputFile: ".reports/vitest.json" }]],
    // Vitest would leave a core to whoever watches. Of two, that is half; and most tests wait for another process.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        define,
        test: {
          name: "unit",
          environment: "node",
          include: ["test/unit/**/*.test.ts"],
          // Pure modules: one copy of each serves every file, and loading them is most of the time.
          isolate: false,
        },
      },
      {
        define,
        test: {
          name: "model",
          environment: "node",
          include: ["test/model/**/*.test.ts"],
          // A search of a million states.
          testTimeout: 180_000,
        },
      },
      {
        plugins: [
          cloudflareTest(async () => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              // A second database, for tests that bind it as DB_1.
              d1Databases: { SECOND_DATABASE: "second" },
              // The API behind, for tests of the real objects: it outlives them, and counts what it carries out.
              // What is learned of one that fails stays in the isolate, which all files share: it has a name of its own.
              serviceBindings: { UPSTREAM: upstreamService(), FAILING_UPSTREAM: upstreamService() },
              bindings: {
                TEST_MIGRATIONS: await readD1Migrations("migrations"),
                // Fixed, so that a test may mint tokens and repeat a fingerprint. Worth nothing elsewhere.
                TOKEN_SECRET: "test-only-token-secret-0123456789abcdefghijklmnop",
                FINGERPRINT_SECRET: "test-only-fingerprint-secret-0123456789abcdefghij",
              },
            },
          })),
        ],
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts", "test/worker/**/*.test.tsx"],
          // Starting workerd and loading the sources takes longer than most files.
          isolate: false,
          setupFiles: ["test/worker/support/fresh-storage.ts"],
          expect: patient,
        },
      },
      {
        define,
        test: {
          name: "http",
          environment: "node",
          include: ["test/http/**/*.test.ts"],
          // Their servers are processes of their own; what is loaded here holds no state.
          isolate: false,
          expect: patient,
          // A server is started first.
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        define,
        test: {
          name: "crash",
          environment: "node",
          include: ["test/crash/**/*.test.ts"],
          // Each test starts a server, kills it, and starts it again on the same folder. With more than two at once
          // what a time-out means is the machine, not the Worker.
          fileParallelism: false,
          maxConcurrency: 2,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
