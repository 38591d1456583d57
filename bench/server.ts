/** Starts the benchmark's Worker in a workerd of its own, on a new folder, without a proxy in between. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { readD1Migrations } from "@cloudflare/vitest-plugin";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

export const TOKEN_SECRET = "benchmark-token-key-0123456789abcdefghijklmnop";

export type BenchServer = { readonly port: number; readonly stop: () => Promise<void> };

/** The bundle as `wrangler deploy` would make it. */
export const bundleBenchWorker = (entry = "bench/worker.ts"): string => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bench-bundle-"));
  execFileSync("wrangler", ["deploy", entry, "--dry-run", "--outdir", folder], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return join(folder, `${basename(entry, ".ts")}.js`);
};

export const startBenchServer = async (
  script: string,
  keyObjects: string,
  vars: Readonly<Record<string, string>> = {},
): Promise<BenchServer> => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bench-data-"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: readFileSync(script, "utf8"),
      compatibilityDate: "2026-10-15",
      compatibilityFlags: ["nodejs_compat"],
      bindings: {
        ...vars,
        KEY_OBJECTS: keyObjects,
        TOKEN_SECRET,
        FINGERPRINT_SECRET: "benchmark-hash-key-0123456789abcdefghijklmnopq",
      },
      d1Databases: { DB: "bench" },
      durableObjects: {
        KEY_OBJECT: { className: "KeyObject", useSQLite: true },
        TENANTS: { className: "TenantObject", useSQLite: true },
        REVOCATIONS: { className: "RevocationObject", useSQLite: true },
      },
      d1Persist: join(folder, "d1"),
      durableObjectsPersist: join(folder, "objects"),
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    }),
  );
  const url = await miniflare.unsafeGetDirectURL();
  const db = await miniflare.getD1Database("DB");
  const migrations = await readD1Migrations("migrations");
  await db.batch(migrations.flatMap(({ queries }) => queries.map((text) => db.prepare(text))));
  return {
    port: Number(url.port),
    stop: async () => {
      await miniflare.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
