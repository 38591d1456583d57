/**
 * GET /docs: every operation of the OpenAPI document, to be read without a script; with it, each can be tried. Only the
 * document is read, so that what is shown is what a generated client sees. Every text of it is escaped.
 */
import { html } from "hono/html";
import { z } from "zod";
import { IDEMPOTENCY_KEY, JSON_TYPE } from "../../contract/headers.ts";
import type { Html, Page } from "./page.ts";
import {
  asText,
  boundsOf,
  exampleOf,
  formsOf,
  type JsonSchema,
  jsonSchema,
  membersOf,
  typeInWords,
} from "./schema.ts";

const reference = z.object({ $ref: z.string() });
const parameter = z.object({
  name: z.string(),
  in: z.enum(["path", "query", "header"]),
  required: z.boolean(),
  description: z.string().optional(),
  schema: jsonSchema,
});
const content = z.record(z.string(), z.object({ schema: z.unknown() }));
const response = z.object({
  description: z.string(),
  content: content.optional(),
  "x-retry": z
    .record(z.string(), z.object({ use: z.string(), shouldRetry: z.boolean() }))
    .optional(),
});
const operation = z.object({
  operationId: z.string(),
  summary: z.string(),
  description: z.string().optional(),
  tags: z.array(z.string()),
  security: z.array(z.unknown()).optional(),
  parameters: z.array(z.union([reference, parameter])).default([]),
  requestBody: z.object({ content }).optional(),
  responses: z.record(z.string(), response),
  "x-refusals": z.array(z.string()).default([]),
});
const openApi = z.object({
  info: z.object({ title: z.string(), summary: z.string().optional() }),
  paths: z.record(z.string(), z.record(z.string(), operation)),
  components: z.object({
    parameters: z.record(z.string(), parameter),
    schemas: z.record(z.string(), jsonSchema),
  }),
});

type Parameter = z.output<typeof parameter>;
type Components = z.output<typeof openApi>["components"];

/** An operation with its references followed. */
type Entry = {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description: string;
  readonly isPublic: boolean;
  readonly parameters: readonly Parameter[];
  readonly body: JsonSchema | undefined;
  readonly answers: readonly Answer[];
  readonly problems: readonly EntryProblem[];
};

type Answer = {
  readonly status: string;
  readonly description: string;
  readonly schema: JsonSchema | undefined;
};

type EntryProblem = {
  readonly status: string;
  readonly code: string;
  readonly use: string;
  readonly shouldRetry: boolean;
  /** Decided from data, and stored under the key. */
  readonly isRefusal: boolean;
};

/** @param document what `openApiDocument` makes */
export const referencePage = (document: unknown): Page => {
  const { info, paths, components } = openApi.parse(document);
  const entries = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => toEntry(path, method, one, components)),
  );
  const byTag = Map.groupBy(entries, ({ tag }) => tag);
  return {
    title: "Reference",
    root: "./",
    place: "docs",
    scripted: true,
    main: html`<div class="reference">
      <nav class="index" aria-label="Operations">
        ${[...byTag].map(
          ([tag, group]) =>
            html`<h2>${tag}</h2>
              <ul>
                ${group.map(
                  ({ id, method, path }) =>
                    html`<li>
                      <a href="#${id}">${methodBadge(method)} <span class="path">${path}</span></a>
                    </li> `,
                )}
              </ul> `,
        )}
      </nav>
      <div class="operations">
        <h1>${info.title} reference</h1>
        <p>
          ${info.summary ?? ""} The same as a document for machines:
          <a href="./openapi.json">openapi.json</a>. New here? Begin with the
          <a href="./docs/client-guide">client guide</a>.
        </p>
        <section class="token" aria-labelledby="token-title" hidden>
          <h2 id="token-title">Trying it</h2>
          <label for="token">Bearer token</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck="false"
            aria-describedby="token-note"
          />
          <p class="note" id="token-note">
            For every form below. It stays in this field until you leave the page: it is not stored,
            and never part of a URL. What you send is carried out for the token's tenant.
          </p>
        </section>
        <p class="note" data-scriptless>
          Without JavaScript this page is for reading; the forms to try an operation need it.
        </p>
        ${[...byTag].map(
          ([tag, group]) =>
            html`<section aria-labelledby="tag-${tag}">
              <h2 id="tag-${tag}">${tag}</h2>
              ${group.map(operationArticle)}
            </section> `,
        )}
      </div>
    </div>`,
  };
};

const toEntry = (
  path: string,
  method: string,
  one: z.output<typeof operation>,
  components: Components,
): Entry => {
  const bodySchema = one.requestBody?.content[JSON_TYPE]?.schema;
  const responses = Object.entries(one.responses);
  return {
    id: one.operationId,
    method: method.toUpperCase(),
    path,
    tag: one.tags[0] ?? "other",
    summary: one.summary,
    description: one.description ?? "",
    isPublic: one.security?.length === 0,
    parameters: one.parameters.map((each) => resolveParameter(each, components)),
    body: bodySchema === undefined ? undefined : resolve(jsonSchema.parse(bodySchema), components),
    answers: responses
      .filter(([, { "x-retry": retry }]) => retry === undefined)
      .map(([status, { description, content: bodies }]) => {
        const schema = bodies?.[JSON_TYPE]?.schema;
        return {
          status,
          description,
          schema: schema === undefined ? undefined : resolve(jsonSchema.parse(schema), components),
        };
      }),
    problems: responses.flatMap(([status, { "x-retry": retry = {} }]) =>
      Object.entries(retry).map(([code, rule]) => ({
        status,
        code,
        ...rule,
        isRefusal: one["x-refusals"].includes(code),
      })),
    ),
  };
};

const resolveParameter = (
  one: Parameter | z.output<typeof reference>,
  { parameters }: Components,
): Parameter => {
  if (!("$ref" in one)) return one;
  const found = parameters[one.$ref.replace("#/components/parameters/", "")];
  if (found === undefined) throw new Error(`${one.$ref} is not in the document.`);
  return found;
};

/** References to components, wherever they stand. Components do not refer to themselves. */
const resolve = (schema: JsonSchema, components: Components): JsonSchema => {
  if (schema.$ref !== undefined) {
    const found = components.schemas[schema.$ref.replace("#/components/schemas/", "")];
    if (found === undefined) throw new Error(`${schema.$ref} is not in the document.`);
    return resolve(found, components);
  }
  return {
    ...schema,
    ...(schema.items === undefined ? {} : { items: resolve(schema.items, components) }),
    ...(schema.properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(schema.properties).map(([name, member]) => [
              name,
              resolve(member, components),
            ]),
          ),
        }),
  };
};

const methodBadge = (method: string): Html =>
  html`<span class="method ${method.toLowerCase()}">${method}</span>`;

const operationArticle = (entry: Entry): Html => {
  const { id, method, path, summary, description, isPublic, parameters, body, answers, problems } =
    entry;
  const refusals = problems.filter(({ isRefusal }) => isRefusal);
  const others = problems.filter(({ isRefusal }) => !isRefusal);
  return html`<article class="operation" id="${id}" aria-labelledby="${id}-title">
    <h3 id="${id}-title"><a href="#${id}">${summary}</a></h3>
    <p class="request">${methodBadge(method)} <code>${path}</code></p>
    <p>${isPublic ? "Public: needs no token. " : ""}${withCode(description)}</p>
    ${parameters.length === 0 ? "" : table(`Parameters of ${id}`, "Parameters", ["Name", "In", "Type", "Meaning"], parameters.map(parameterRow))}
    ${
      body === undefined
        ? ""
        : html`${membersTable(`Body of ${id}`, "Body", body)}
            <p class="caption">Example</p>
            <pre><code>${asText(exampleOf(body))}</code></pre> `
    }
    ${answers.map(
      ({ status, description: meaning, schema }) =>
        html`<h4>Answer ${status}</h4>
          <p>${withCode(meaning)}</p>
          ${
            schema === undefined
              ? ""
              : html`<details>
                  <summary>Body</summary>
                  ${membersTable(`Body of the answer ${status} of ${id}`, undefined, schema)}
                </details> `
          }`,
    )}
    ${refusals.length === 0 ? "" : table(`Refusals of ${id}`, "Refusals, stored under the key", PROBLEM_COLUMNS, refusals.map(problemRow))}
    ${
      others.length === 0
        ? ""
        : html`<details>
            <summary>Other problems (${String(others.length)})</summary>
            ${table(`Other problems of ${id}`, undefined, PROBLEM_COLUMNS, others.map(problemRow))}
          </details> `
    }
    ${tryIt(entry)}
  </article> `;
};

const PROBLEM_COLUMNS = ["Status", "Problem", "Key for the next try", "Retry"];

const problemRow = ({ status, code, use, shouldRetry }: EntryProblem): Html =>
  html`<tr>
    <td>${status}</td>
    <td>
      <a href="./problems/${code}"><code>${code}</code></a>
    </td>
    <td>${use}</td>
    <td>${shouldRetry ? "yes" : "no"}</td>
  </tr> `;

const parameterRow = ({ name, in: place, required, description = "", schema }: Parameter): Html =>
  html`<tr>
    <th scope="row"><code>${name}</code>${required ? " (required)" : ""}</th>
    <td>${place}</td>
    <td>${typeCell(schema)}</td>
    <td>${withCode(description || (schema.description ?? ""))}</td>
  </tr> `;

const membersTable = (label: string, title: string | undefined, schema: JsonSchema): Html =>
  table(
    label,
    title,
    ["Member", "Type", "Meaning"],
    membersOf(schema).map(
      (member) =>
        html`<tr>
          <th scope="row"><code>${member.path}</code>${member.required ? " (required)" : ""}</th>
          <td>${typeCell(member.schema)}</td>
          <td>${withCode(member.schema.description ?? "")}</td>
        </tr> `,
    ),
  );

/** @param label names the table for who does not see what stands around it */
const table = (
  label: string,
  title: string | undefined,
  columns: readonly string[],
  rows: readonly Html[],
): Html =>
  html`${title === undefined ? "" : html`<h4>${title}</h4> `}
    <div class="wide">
      <table aria-label="${label}">
        <thead>
          <tr>
            ${columns.map((column) => html`<th scope="col">${column}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>
    </div> `;

const typeCell = (schema: JsonSchema): Html => {
  const bounds = boundsOf(schema);
  return html`${typeInWords(schema)}${bounds.length === 0 ? "" : `, ${bounds.join(", ")}`}${formsOf(schema).map((form) => html` <code>${form}</code>`)}`;
};

/** Descriptions set names in back quotes, as Markdown does. */
const withCode = (text: string): Html =>
  html`${text.split("`").map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : part))}`;

/** Hidden until the script shows it: without the script it could do nothing. */
const tryIt = ({ id, method, path, parameters, body }: Entry): Html => {
  const isKeyed = parameters.some((one) => isKey(one) && one.required);
  const fields = parameters.filter((one) => one.in !== "header" || one.name === "Prefer");
  return html`<details class="try" hidden>
    <summary>Try it</summary>
    <form data-method="${method}" data-path="${path}" autocomplete="off" aria-label="Try ${id}">
      ${fields.map((one) => {
        const [example] = one.in === "path" ? (one.schema.examples ?? []) : [];
        const field = `${id}-${one.in}-${one.name}`;
        return html`<p>
          <label for="${field}"
            >${one.name}${one.required ? "" : html` <span class="optional">(optional)</span>`}</label
          >
          <input
            id="${field}"
            data-in="${one.in}"
            name="${one.name}"
            value="${typeof example === "string" ? example : ""}"
            spellcheck="false"
            ${one.required ? html` required` : ""}
          />
        </p> `;
      })}
      ${
        isKeyed
          ? html`<p>
                <label for="${id}-key">${IDEMPOTENCY_KEY}</label>
                <span class="key"
                  ><input
                    id="${id}-key"
                    data-in="key"
                    name="${IDEMPOTENCY_KEY}"
                    spellcheck="false"
                    required
                    aria-describedby="${id}-note"
                  />
                  <button type="button" data-do="new-key">New key</button></span
                >
              </p>
              <p class="note" id="${id}-note" data-note aria-live="polite">
                One key for one intended operation. Sending again with the same key gets the same
                answer, and nothing runs twice.
              </p> `
          : ""
      }
      ${
        body === undefined
          ? ""
          : html`<p>
              <label for="${id}-body">Body</label>
              <textarea
                id="${id}-body"
                data-in="body"
                name="body"
                rows="${String(Math.min(12, asText(exampleOf(body)).split("\n").length + 1))}"
                spellcheck="false"
              >
${asText(exampleOf(body))}</textarea>
            </p> `
      }
      <p><button type="submit">Send</button></p>
    </form>
    <div class="answers" role="log" aria-label="Answers of ${id}" data-answers></div>
  </details>`;
};

const isKey = ({ in: place, name }: Parameter): boolean =>
  place === "header" && name === IDEMPOTENCY_KEY;
