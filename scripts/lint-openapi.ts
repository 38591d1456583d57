/**
 * Lints the OpenAPI document as clients get it: from the built Worker, over HTTP. Run the build first.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTestHarness } from "wrangler";
import { Complaint, main, root, run } from "./tool.ts";

const REPORT = ".reports/openapi.json";

await main(async () => {
  mkdirSync(join(root, ".reports"), { recursive: true });
  writeFileSync(join(root, REPORT), await served("/openapi.json"));
  const code = await run("redocly", ["lint", REPORT]);
  if (code !== 0) throw new Complaint(`The OpenAPI document is not clean; it is in ${REPORT}.`);
});

async function served(path: string): Promise<string> {
  const server = createTestHarness({
    root,
    workers: [
      {
        configPath: "wrangler.toml",
        prebuiltWorkerDir: "dist",
        // The document is public; the Worker only has to start.
        secrets: {
          TOKEN_SECRET: "local-lint-token-0123456789abcdefghijklmnop",
          FINGERPRINT_SECRET: "local-lint-fingerprint-0123456789abcdefghij",
        },
      },
    ],
  });
  try {
    await server.listen();
    const response = await server.fetch(path);
    const body = await response.text();
    if (response.status !== 200) {
      throw new Complaint(`GET ${path} answered ${response.status}\n${body.slice(0, 2000)}`);
    }
    return body;
  } finally {
    await server.close();
  }
}
