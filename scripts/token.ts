/**
 * Prints a bearer token and nothing else:
 *
 *   npm run --silent token -- --tenant demo --scope "payments:write read" --ttl 3600
 *
 * Signed with TOKEN_SECRET of the environment, or else of .dev.vars.
 */
import { parseArgs } from "node:util";
import { mint } from "./mint.ts";
import { tokenSecret } from "./secrets.ts";
import { Complaint, main } from "./tool.ts";

const USAGE =
  'npm run --silent token -- --tenant TENANT --scope "SCOPE SCOPE…" [--ttl SECONDS] [--sub NAME] [--issuer NAME]';

await main(async () => {
  const { tenant, scope, ttl, sub, issuer } = options();
  if (!tenant || !scope) throw new Complaint(`Say for whom and for what:\n  ${USAGE}`);
  const ttlSeconds = Number(ttl);
  if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) {
    throw new Complaint(`--ttl is a number of seconds, not "${ttl}".`);
  }
  console.log(
    await mint({
      secret: tokenSecret(),
      tenant,
      subject: sub ?? tenant,
      scope,
      ttlSeconds,
      issuer,
    }),
  );
});

function options() {
  try {
    return parseArgs({
      options: {
        tenant: { type: "string" },
        scope: { type: "string" },
        ttl: { type: "string", default: "3600" },
        sub: { type: "string" },
        issuer: { type: "string", default: process.env["TOKEN_ISSUER"] ?? "latchkey" },
      },
    }).values;
  } catch (error) {
    throw new Complaint(`${error instanceof Error ? error.message : String(error)}\n  ${USAGE}`);
  }
}
