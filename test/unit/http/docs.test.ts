import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { docsFiles } from "../../../scripts/docs-files.ts";
import { root } from "../../../scripts/tool.ts";
import { PROBLEMS } from "../../../src/contract/problems.ts";
import { GUIDES } from "../../../src/http/docs/generated.ts";
import { renderPage } from "../../../src/http/docs/page.ts";
import { referencePage } from "../../../src/http/docs/reference.ts";
import { exampleOf, jsonSchema } from "../../../src/http/docs/schema.ts";
import { idempotencyComponents } from "../../../src/http/openapi-idempotency.ts";
import { openApiDocument } from "../../../src/http/openapi.ts";
import { revocationInput } from "../../../src/http/revoked-tokens.ts";
import { defineOperation } from "../../../src/operations/define-operation.ts";
import { operations, queries } from "../../../src/operations/registry.ts";

const textOf = async (definitions: Parameters<typeof openApiDocument>[0]): Promise<string> =>
  (await renderPage(referencePage(openApiDocument(definitions)))).text;

let page: string;
beforeAll(async () => {
  page = await textOf({ operations, queries });
});

describe("the reference", () => {
  it.each([...operations, ...queries].map((one) => [one.name, one] as const))(
    "has %s, with its path, its summary and its problems",
    (name, definition) => {
      const article = page
        .split('<article class="operation" id="')
        .find((part) => part.startsWith(`${name}"`));
      expect(article).toContain(`<code>${definition.path}</code>`);
      expect(article).toContain(definition.summary.replaceAll("'", "&#39;"));
      for (const code of Object.keys("refusals" in definition ? definition.refusals : {})) {
        expect(article).toContain(`./problems/${code}`);
      }
    },
  );

  it("tells the refusals of an operation, which are stored, apart from what any request may get", () => {
    const [, refusals = "", others = ""] =
      /id="payments\.create"[^]*?Refusals, stored under the key([^]*?)Other problems([^]*?)<\/article>/.exec(
        page,
      ) ?? [];
    expect(refusals).toContain("insufficient-funds");
    expect(refusals).not.toContain("request-in-flight");
    expect(others).toContain("request-in-flight");
    expect(others).not.toContain("insufficient-funds");
  });

  it("has what is not an operation of the registry: keys, revocation, health", () => {
    for (const id of [
      "idempotency-keys.get",
      "idempotency-keys.erase",
      "ops.revoke-token",
      "service.health",
    ]) {
      expect(page).toContain(`id="${id}"`);
    }
  });

  it("does not list the pages for people as operations", () => {
    const { paths } = z
      .object({ paths: z.record(z.string(), z.unknown()) })
      .parse(openApiDocument({ operations, queries }));
    expect(Object.keys(paths).filter((path) => !/^\/(v1\/|healthz|metrics)/.test(path))).toEqual(
      [],
    );
  });

  it("shows markup from a definition as text, wherever it stands", async () => {
    const evil = `<script>alert("1")</script>'><img src=x onerror=alert(1)>`;
    const hostile = defineOperation({
      name: "things.create",
      method: "POST",
      path: "/v1/things/{id}",
      summary: evil,
      scope: "read",
      params: z.strictObject({ id: z.string().meta({ description: evil, examples: [evil] }) }),
      input: z.strictObject({ [evil]: z.string().meta({ description: evil, examples: [evil] }) }),
      output: z.object({ [evil]: z.string().meta({ description: evil }) }),
      refusals: {},
      plan: () => ({
        guards: [],
        effects: [],
        answer: { status: 201, link: "/v1/things/1", body: { [evil]: evil } },
      }),
    });
    const harmless = await textOf({ operations: [], queries: [] });
    const text = await textOf({ operations: [hostile], queries: [] });
    const count = (whole: string, part: string) => whole.split(part).length - 1;
    expect(text).toContain("&lt;script&gt;");
    expect(count(text, "<script")).toBe(count(harmless, "<script"));
    expect(text).not.toContain("<img");
    expect(text).not.toContain(`'><`);
  });

  it("has no script, style or event handler in the page itself: the policy would refuse them", () => {
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
  });

  it("every label names a field, and no two elements have one id", () => {
    const ids = [...page.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    expect(ids.length).toBe(new Set(ids).size);
    for (const [, field] of page.matchAll(/<label for="([^"]+)"/g)) expect(ids).toContain(field);
    for (const [, title] of page.matchAll(/aria-(?:labelledby|describedby)="([^"]+)"/g)) {
      expect(ids).toContain(title);
    }
  });
});

describe("the example in a form", () => {
  it.each([
    ...operations.map(({ name, input }) => [name, input] as const),
    ["ops.revoke-token", revocationInput] as const,
  ])("of %s is a body that is accepted", (_, input) => {
    const example = exampleOf(
      jsonSchema.parse(z.toJSONSchema(input, { io: "input", unrepresentable: "any" })),
    );
    expect(input.safeParse(example)).toMatchObject({ success: true });
  });
});

describe("the guides", () => {
  it.each([...docsFiles().keys()])("%s is what `npm run docs` makes", (path) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(docsFiles().get(path));
  });

  it("the client guide tells of every problem of the table, and links its page", () => {
    const guide = GUIDES["client-guide"]?.html;
    for (const code of Object.keys(PROBLEMS)) expect(guide).toContain(`../problems/${code}"`);
  });

  it.each([
    ["operating", "src/kernel/limits.ts", 40],
    ["client-sdk", "src/client/limits.ts", 10],
  ])("the guide %s has every limit of %s, with a reason", (name, path, atLeast) => {
    const source = readFileSync(join(root, path), "utf8");
    const guide = readFileSync(join(root, `docs/${name}.md`), "utf8");
    const names = [...source.matchAll(/^export const (\w+)/gm)].map(([, limit]) => limit ?? "");
    expect(names.length).toBeGreaterThan(atLeast);
    for (const limit of names)
      expect(guide).toMatch(new RegExp(`\\| \`${limit}\` \\| \`[^\`]+\` \\| \\S.{10,} \\|`));
  });

  it("the picture of a key's life has a title and a description, and no style of its own in the page", () => {
    const picture = /<svg[^]*<\/svg>/.exec(GUIDES["concepts"]?.html ?? "")?.[0];
    expect(picture).toMatch(/role="img" aria-labelledby="life-title life-desc"/);
    expect(picture).toMatch(/<title id="life-title">[^]+<desc id="life-desc">/);
    expect(picture).not.toContain("<style");
  });
});

describe("the components for other APIs", () => {
  const parts = z.object({
    components: z.record(z.string(), z.record(z.string(), z.unknown())),
  });
  const shared = parts.parse(idempotencyComponents()).components;
  const own = parts.parse(openApiDocument({ operations, queries })).components;

  it.each(["parameters", "headers", "schemas"])(
    "have the %s that this API's own document has",
    (kind) => {
      expect(Object.keys(shared[kind] ?? {}).length).toBeGreaterThan(0);
      for (const [name, component] of Object.entries(shared[kind] ?? {})) {
        expect(component).toEqual(own[kind]?.[name]);
      }
    },
  );

  it("refer to nothing that they do not hold", () => {
    const text = JSON.stringify(idempotencyComponents());
    for (const [, kind, name] of text.matchAll(/"#\/components\/(\w+)\/([\w-]+)"/g)) {
      expect(shared[kind ?? ""]).toHaveProperty([name ?? ""]);
    }
  });
});
