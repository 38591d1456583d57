/** GET /problems/{code}: what the `type` of a problem leads to, for people. */
import { html } from "hono/html";
import type { Problem } from "../contract/problems.ts";
import type { HttpContext } from "./context.ts";
import { problemResponse } from "./problem-response.ts";

const USE: Record<Problem["use"], string> = {
  "same-key": "Keep the key.",
  "new-key": "Take a new key.",
  never: "Sending again cannot help.",
};

export const problemPage =
  (problems: Readonly<Record<string, Problem>>) =>
  async (c: HttpContext): Promise<Response> => {
    const code = c.req.param("code") ?? "";
    const problem = Object.hasOwn(problems, code) ? problems[code] : undefined;
    if (problem === undefined) return problemResponse(c, "not-found");
    c.header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    return c.html(
      await html`<!doctype html>
        <html lang="en">
          <head>
            <meta charset="utf-8" />
            <meta name="viewport" content="width=device-width, initial-scale=1" />
            <title>${code} · Latchkey</title>
            <style>
              body {
                font:
                  1rem/1.6 system-ui,
                  sans-serif;
                max-width: 40rem;
                margin: 3rem auto;
                padding: 0 1rem;
              }
              code {
                font-size: 0.95em;
              }
              dt {
                font-weight: 600;
                margin-top: 1rem;
              }
              dd {
                margin: 0;
              }
            </style>
          </head>
          <body>
            <main>
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
            </main>
          </body>
        </html>`,
    );
  };
