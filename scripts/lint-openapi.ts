/** Lints the OpenAPI document, made from the same definitions as the one that the Worker serves. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openApiDocument } from "../src/http/openapi.ts";
import { operations, queries } from "../src/operations/registry.ts";
import { Complaint, main, root, run } from "./tool.ts";

const REPORT = ".reports/openapi.json";

await main(async () => {
  mkdirSync(join(root, ".reports"), { recursive: true });
  // Laid out in lines, so that a finding can be found.
  const document = openApiDocument({ operations, queries });
  writeFileSync(join(root, REPORT), JSON.stringify(document, null, 2));
  const code = await run("redocly", ["lint", REPORT]);
  if (code !== 0) throw new Complaint(`The OpenAPI document is not clean; it is in ${REPORT}.`);
});
