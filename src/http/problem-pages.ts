/** GET /problems and /problems/{code}: what the `type` of a problem leads to, for people. */
import { html } from "hono/html";
import type { Problem } from "../contract/problems.ts";
import type { HttpContext } from "./context.ts";
import { type Page, renderPage, serve } from "./docs/page.ts";
import { problemResponse } from "./problem-response.ts";

const USE: Record<Problem["use"], string> = {
  "same-key": "Keep the key.",
  "new-key": "Take a new key.",
  never: "Sending again cannot help.",
};

type Problems = Readonly<Record<string, Problem>>;

export const problemPage =
  (problems: Problems) =>
  async (c: HttpContext): Promise<Response> => {
    const code = c.req.param("code") ?? "";
    const problem = Object.hasOwn(problems, code) ? problems[code] : undefined;
    if (problem === undefined) return problemResponse(c, "not-found");
    return serve(c, await renderPage(pageOf(code, problem)));
  };

const pageOf = (code: string, problem: Problem): Page => ({
  title: code,
  root: "../",
  main: html`<article class="guide problem">
    <h1>${problem.title}</h1>
    <p><code>${code}</code>, HTTP ${String(problem.status)}</p>
    <dl>
      <dt>Cause</dt>
      <dd>${problem.cause}</dd>
      <dt>Cure</dt>
      <dd>${problem.cure}</dd>
      <dt>The key</dt>
      <dd>${USE[problem.use]}</dd>
      <dt>Retry without a person?</dt>
      <dd>${problem.shouldRetry ? "Yes, after Retry-After." : "No."}</dd>
    </dl>
    <p>
      <a href="../problems">All problems</a> ·
      <a href="../docs/client-guide">What a client does on each</a>
    </p>
  </article>`,
});

/** All of them, by status. */
export const problemIndex = (problems: Problems): Page => ({
  title: "Problems",
  root: "./",
  place: "problems",
  main: html`<article class="guide">
    <h1>Problems</h1>
    <p>
      Everything that this API answers with <code>application/problem+json</code>. The
      <code>type</code> of a problem leads to its page; its <code>retry.use</code> says what to do
      with the key.
    </p>
    <div class="wide">
      <table aria-label="All problems">
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col">Code</th>
            <th scope="col">Meaning</th>
            <th scope="col">The key</th>
            <th scope="col">Retry</th>
          </tr>
        </thead>
        <tbody>
          ${Object.entries(problems)
            .toSorted(([, a], [, b]) => a.status - b.status)
            .map(
              ([code, problem]) =>
                html`<tr>
                  <td>${String(problem.status)}</td>
                  <td>
                    <a href="problems/${code}"><code>${code}</code></a>
                  </td>
                  <td>${problem.title}</td>
                  <td>${USE[problem.use]}</td>
                  <td>${problem.shouldRetry ? "yes" : "no"}</td>
                </tr> `,
            )}
        </tbody>
      </table>
    </div>
  </article>`,
});
