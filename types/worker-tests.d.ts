import type { D1Migration } from "@cloudflare/vitest-plugin";
import type { Bindings } from "../src/env.ts";

declare global {
  namespace Cloudflare {
    /** `env` of cloudflare:workers, as the tests inside workerd see it. */
    interface Env extends Bindings {
      /** Optional in `Bindings`, because a host may need none. */
      readonly REVOCATIONS: DurableObjectNamespace;

      /** An API behind the gateway; see test/support/upstream-service.ts. */
      readonly UPSTREAM: Fetcher;

      /** The vars of wrangler.toml, unparsed. */
      readonly KEY_OBJECTS: string;
      readonly IN_FLIGHT_STATUS: string;
      readonly RESTORE_EPOCH: string;
      readonly TOKEN_ISSUER: string;

      readonly TENANTS: DurableObjectNamespace;
      /** A database that the Worker does not know until a test binds it as `DB_1`. */
      readonly SECOND_DATABASE: D1Database;

      /** From vitest.config.mts. */
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
