/**
 * `npm run deploy`: the Worker, then its schema.
 *
 * The first deployment creates the D1 databases and has to bring the secrets with it, since there is
 * no Worker yet to set them on: TOKEN_SECRET and FINGERPRINT_SECRET in the environment, or
 * `npm run deploy -- --secrets-file FILE`. Later ones keep what is set. Everything after `--` goes to
 * `wrangler deploy`.
 *
 * Until the migrations are applied /healthz says so and keyed requests get 503: nothing runs on half
 * a schema, and both commands may be repeated.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unstable_readConfig as readConfig } from "wrangler";
import { z } from "zod";
import { databases } from "./databases.ts";
import { faultOf } from "./secrets.ts";
import { Complaint, main, run } from "./tool.ts";

const Config = z.object({ secrets: z.object({ required: z.array(z.string()) }) });

await main(async () => {
  const args = process.argv.slice(2);
  const secrets = secretsFromEnvironment();
  await withSecretsFile(secrets, async (secretsFile) => {
    // It may ask: to log in, or to overwrite what was changed in the dashboard.
    const code = await run("wrangler", ["deploy", ...secretsFile, ...args], { mayAsk: true });
    if (code !== 0) throw new Complaint("The Worker was not deployed; the database is untouched.");
  });
  if (args.includes("--dry-run")) return;

  for (const name of databases()) {
    const code = await run("wrangler", ["d1", "migrations", "apply", name, "--remote"]);
    if (code !== 0) {
      throw new Complaint(
        `The Worker is deployed, but the migrations of ${name} are not all applied: keyed requests of its tenants get 503 until \`npm run deploy\` succeeds.`,
      );
    }
  }
});

/** The secrets that wrangler.toml requires, as far as the environment has them. */
function secretsFromEnvironment(): Record<string, string> {
  const { secrets } = Config.parse(readConfig({ config: "wrangler.toml" }));
  const given: Record<string, string> = {};
  for (const name of secrets.required) {
    const value = process.env[name];
    if (value === undefined) continue;
    const fault = faultOf(value);
    if (fault !== undefined) throw new Complaint(`Not deploying: ${name} ${fault}.`);
    given[name] = value;
  }
  return given;
}

/** Hands the secrets over in a file only this user can read: arguments are visible to every process. */
async function withSecretsFile(
  secrets: Record<string, string>,
  use: (args: readonly string[]) => Promise<void>,
): Promise<void> {
  if (Object.keys(secrets).length === 0) return use([]);
  const folder = mkdtempSync(join(tmpdir(), "latchkey-"));
  try {
    const file = join(folder, "secrets.json");
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    await use(["--secrets-file", file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
