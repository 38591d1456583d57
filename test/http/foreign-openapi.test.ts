/** docs/openapi.md, followed to the letter by another API: its lines of redocly.yaml, and its example. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root, runQuietly } from "../../scripts/tool.ts";

let folder: string;

const guide = readFileSync(join(root, "docs/openapi.md"), "utf8");
const [example = "", configuration = ""] = [...guide.matchAll(/```yaml\n([^]*?)```/g)].map(
  ([, text]) => text,
);

const DOCUMENT = `openapi: 3.1.0
info: { title: Invoices, version: "1", license: { name: MIT, identifier: MIT } }
servers: [{ url: "https://api.invoices.test" }]
security: []
`;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-openapi-"));
  for (const file of ["idempotency-key.json", "redocly-idempotency.mjs"]) {
    copyFileSync(join(root, "docs/openapi", file), join(folder, file));
  }
  writeFileSync(join(folder, "redocly.yaml"), configuration);
});
afterAll(() => rmSync(folder, { recursive: true }));

const lint = async (document: string) => {
  writeFileSync(join(folder, "api.yaml"), document);
  return runQuietly("redocly", [
    "lint",
    join(folder, "api.yaml"),
    "--config",
    join(folder, "redocly.yaml"),
  ]);
};

it("an API that takes the components as the guide says conforms", async () => {
  const { code, output } = await lint(
    DOCUMENT +
      example.replaceAll(
        "operationId: createInvoice",
        "operationId: createInvoice\n      summary: Make an invoice",
      ),
  );
  expect([code, output]).toEqual([0, expect.stringContaining("Your API description is valid")]);
});

it("an API that forgets the key, or what a retry may get, is told where", async () => {
  const { code, output } = await lint(`${DOCUMENT}
paths:
  /invoices:
    post:
      operationId: createInvoice
      summary: Make an invoice
      responses:
        "201": { description: Made }
        "400": { description: Not valid }
  /invoices/{id}:
    patch:
      operationId: changeInvoice
      summary: Change an invoice
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: Idempotency-Key, in: header, required: false, schema: { type: string } }
      responses:
        "200": { description: Changed }
        4XX: { description: Not changed }
    get:
      operationId: getInvoice
      summary: An invoice
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses:
        "200": { description: It }
        4XX: { description: Not it }
`);
  expect(code).not.toBe(0);
  expect(output).toContain("POST must declare a required Idempotency-Key header");
  expect(output).toContain("PATCH must declare a required Idempotency-Key header");
  expect(output).toContain("POST must document what a retry may get: 422");
  expect(output).toContain("409 or 423");
  expect(output).not.toContain("PATCH must document");
  expect(output).not.toContain("GET must");
});
