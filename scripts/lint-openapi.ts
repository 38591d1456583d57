/** Lints the OpenAPI documents, made from the same definitions as those that the Worker serves: its own, and the gateway's. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openApiDocument } from "../src/http/openapi.ts";
import { operations, queries } from "../src/operations/registry.ts";
import { Complaint, main, root, run } from "./tool.ts";

/** What differs, and where it is written. */
const DOCUMENTS = [
  [{}, ".reports/openapi.json"],
  [{ credentialHeaders: ["authorization", "x-api-key"] }, ".reports/openapi-gateway.json"],
] as const;

await main(async () => {
  mkdirSync(join(root, ".reports"), { recursive: true });
  // Laid out in lines, so that a finding can be found.
  for (const [parts, report] of DOCUMENTS) {
    const document = openApiDocument({ operations, queries, ...parts });
    writeFileSync(join(root, report), JSON.stringify(document, null, 2));
  }
  const reports = DOCUMENTS.map(([, report]) => report);
  const code = await run("redocly", ["lint", ...reports]);
  if (code !== 0) {
    throw new Complaint(`An OpenAPI document is not clean; they are in ${reports.join(", ")}.`);
  }
});
