import type { D1Migration } from "@cloudflare/vitest-plugin";
import type { Bindings } from "../src/env.ts";

declare global {
  namespace Cloudflare {
    /** What vitest.config.mts adds to the Worker's own bindings. */
    interface Env extends Bindings {
      readonly TOKEN_SECRET: string;
      readonly FINGERPRINT_SECRET: string;
      /** Every file of migrations/, for `applyD1Migrations(env.DB, env.TEST_MIGRATIONS)`. */
      readonly TEST_MIGRATIONS: D1Migration[];
    }

    /** Gives `exports` of cloudflare:workers its types: `exports.default.fetch(…)` calls the Worker. */
    interface GlobalProps {
      mainModule: typeof import("../src/worker.ts");
    }
  }
}
