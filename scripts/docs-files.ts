/**
 * What is made of the guides in docs/ and of web/: tables inside the guides, the guides as HTML, the script and the
 * stylesheet as text, and the OpenAPI components as a file.
 *
 * The result is kept in the repository. So the guides read the same on a code host as on the Worker, the Worker needs
 * no Markdown renderer, and neither wrangler, vitest nor Node has to be told how to import text. A test holds it to the
 * sources.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { Marked, type Tokens } from "marked";
import { PROBLEMS } from "../src/contract/problems.ts";
import { idempotencyComponents } from "../src/http/openapi-idempotency.ts";
import { benchmarkTable, evidenceSections, mutantsTable } from "./evidence-table.ts";
import { root } from "./tool.ts";

/** In the order of the navigation. */
const GUIDES = [
  "concepts",
  "client-guide",
  "client-sdk",
  "gateway",
  "payouts",
  "retry-advice",
  "agents",
  "operating",
  "console",
  "audit",
  "openapi",
  "evidence",
] as const;

/** Files by their path from the root, with the content that they should have. */
export const docsFiles = (): ReadonlyMap<string, string> => {
  const guides = GUIDES.map((name) => [name, withTables(read(`docs/${name}.md`))] as const);
  return new Map([
    ...guides.map(([name, text]) => [`docs/${name}.md`, text] as const),
    ["docs/openapi/idempotency-key.json", `${JSON.stringify(idempotencyComponents(), null, 2)}\n`],
    ["src/http/docs/generated.ts", moduleOf(guides)],
    ["src/console/generated.ts", consoleModule()],
  ]);
};

const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** Fills what stands between `<!-- generated: NAME -->` and `<!-- /generated -->`. */
const withTables = (markdown: string): string =>
  markdown.replaceAll(
    /(<!-- generated: (\w+) -->\n)[^]*?(<!-- \/generated -->)/g,
    (_, before: string, name: string, after: string) => {
      const make = TABLES[name];
      if (make === undefined) throw new Error(`There is no table "${name}".`);
      return `${before}\n${make()}\n\n${after}`;
    },
  );

const KEY_USE = {
  "same-key": "**same key**",
  "new-key": "new key",
  never: "do not send again",
} as const;

const problemsTable = (): string =>
  table(
    ["status", "code", "the key", "retry by itself", "what to do"],
    Object.entries(PROBLEMS)
      .toSorted(([, a], [, b]) => a.status - b.status)
      .map(([code, { status, use, shouldRetry, cure }]) => [
        String(status),
        `\`${code}\``,
        KEY_USE[use],
        shouldRetry ? "yes" : "no",
        cure,
      ]),
  );

/** From the source, since the reasons are its comments. */
const limitsTable = (path: string): string => {
  const source = read(path);
  const declared = source.matchAll(
    /^(?:\/\*\*(?<reason>(?:(?!\*\/)[^])*)\*\/\n)?export const (?<name>\w+) =\s*(?<value>[^;]+);/gm,
  );
  let reason = "";
  const rows = [...declared].map(({ groups = {} }) => {
    // A pair of bounds is explained once, above the first.
    reason = (groups["reason"] ?? reason).replaceAll(/\s*\n \*\s*/g, " ").trim();
    return [`\`${groups["name"]}\``, `\`${groups["value"]?.trim()}\``, reason];
  });
  return table(["limit", "value", "why"], rows);
};

const TABLES: Readonly<Record<string, () => string>> = {
  problems: problemsTable,
  limits: () => limitsTable("src/kernel/limits.ts"),
  clientLimits: () => limitsTable("src/client/limits.ts"),
  evidence: evidenceSections,
  mutants: mutantsTable,
  benchmark: benchmarkTable,
};

const table = (columns: readonly string[], rows: readonly (readonly string[])[]): string =>
  [columns, columns.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", String.raw`\|`)).join(" | ")} |`)
    .join("\n");

const moduleOf = (guides: readonly (readonly [string, string])[]): string => {
  const styles = [read("web/style.css")];
  const pages = guides.map(([name, markdown]) => {
    const { title, html, style } = renderGuide(markdown);
    styles.push(style);
    return `  ${JSON.stringify(name)}: {\n    title: ${JSON.stringify(title)},\n    html: ${textOf(html)},\n  },`;
  });
  return `${[
    "/** Made by `npm run docs` from docs/ and web/: change those. */",
    'import type { Guide } from "./guide.ts";',
    "",
    "export const GUIDES: Readonly<Record<string, Guide>> = {",
    ...pages,
    "};",
    "",
    `export const REFERENCE_SCRIPT = ${textOf(scriptText("web/reference.ts"))};`,
    "",
    `export const STYLESHEET = ${textOf(styles.filter((text) => text !== "").join("\n"))};`,
  ].join("\n")}\n`;
};

const consoleModule = (): string =>
  `${[
    "/** Made by `npm run docs` from web/: change that. */",
    `export const CONSOLE_SCRIPT = ${textOf(scriptText("web/console.ts"))};`,
    "",
    `export const CONSOLE_STYLESHEET = ${textOf(read("web/console.css"))};`,
  ].join("\n")}\n`;

/** Line by line, so that a change of one line is seen as one. */
const textOf = (text: string): string =>
  `[\n${text
    .split("\n")
    .map((line) => `      ${JSON.stringify(line)},`)
    .join("\n")}\n    ].join("\\n")`;

/** The types are blanked out, nothing else is changed: what runs in the browser is what web/ says. */
const scriptText = (path: string): string =>
  stripTypeScriptTypes(read(path))
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");

type Rendered = { readonly title: string; readonly html: string; readonly style: string };

const renderGuide = (markdown: string): Rendered => {
  let style = "";
  const renderer = new Marked({
    renderer: {
      heading({ tokens, depth, text }: Tokens.Heading) {
        const level = String(depth);
        return `<h${level} id="${slug(text)}">${this.parser.parseInline(tokens)}</h${level}>\n`;
      },
      // Wide tables scroll by themselves.
      table(token: Tokens.Table) {
        const cells = (row: readonly Tokens.TableCell[], tag: string): string =>
          row
            .map((cell) => `<${tag}>${this.parser.parseInline(cell.tokens)}</${tag.slice(0, 2)}>`)
            .join("");
        return `<div class="wide"><table>
<thead><tr>${cells(token.header, 'th scope="col"')}</tr></thead>
<tbody>
${token.rows.map((row) => `<tr>${cells(row, "td")}</tr>\n`).join("")}</tbody>
</table></div>
`;
      },
      code({ text }: Tokens.Code) {
        return `<pre><code>${escape(text)}</code></pre>\n`;
      },
      codespan({ text }: Tokens.Codespan) {
        const code = `<code>${escape(text)}</code>`;
        return Object.hasOwn(PROBLEMS, text) ? `<a href="../problems/${text}">${code}</a>` : code;
      },
      link({ href, tokens }: Tokens.Link) {
        const text = this.parser.parseInline(tokens);
        const target = targetOf(href);
        return target === undefined ? text : `<a href="${escape(target)}">${text}</a>`;
      },
      // A drawing of ours stands in the page itself, where it takes the page's colours and is read aloud.
      image({ href, text }: Tokens.Image) {
        // A picture is for whoever reads the guide where its file is: on the Worker the thing itself is at hand.
        if (!href.endsWith(".svg")) return `<em>${escape(text)}.</em>`;
        const svg = read(`docs/${href}`);
        style += /<style>\n([^]*?)<\/style>/.exec(svg)?.[1] ?? "";
        return svg.replace(/<style>[^]*?<\/style>\n/, "").trim();
      },
      html({ text }: Tokens.HTML | Tokens.Tag) {
        if (!text.startsWith("<!--")) throw new Error(`Markdown only: ${text}`);
        return "";
      },
    },
  });
  const html = renderer.parse(markdown, { async: false });
  const title = /^# (.+)$/m.exec(markdown)?.[1];
  if (title === undefined) throw new Error("A guide begins with its title.");
  return { title, html, style };
};

/** Where a link of docs/ leads on the Worker, seen from `/docs/{guide}`; undefined for what it does not serve. */
const targetOf = (href: string): string | undefined => {
  if (/^(https:|#)/.test(href)) return href;
  const guide = /^([\w-]+)\.md(#[\w-]+)?$/.exec(href);
  if (guide !== null) return `${guide[1]}${guide[2] ?? ""}`;
  return href === "openapi/idempotency-key.json" ? "../openapi/idempotency-key.json" : undefined;
};

const slug = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^\w\s-]/g, "")
    .trim()
    .replaceAll(/\s+/g, "-");

const escape = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
