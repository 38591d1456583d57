/** The public pages for people: paths and handlers, all GET. None of them is part of the API. */
import { type Problem, PROBLEMS } from "../../contract/problems.ts";
import type { HttpContext } from "../context.ts";
import { idempotencyComponents } from "../openapi-idempotency.ts";
import { type Definitions, openApiDocument } from "../openapi.ts";
import { problemIndex, problemPage } from "../problem-pages.ts";
import { guidePage } from "./guide.ts";
import { GUIDES } from "./generated.ts";
import { fileRoute, pageRoute, SCRIPT, STYLE } from "./page.ts";
import { referencePage } from "./reference.ts";

type Route = readonly [path: string, handler: (c: HttpContext) => Response | Promise<Response>];

export const documentationRoutes = (definitions: Definitions): readonly Route[] => {
  const problems = allProblems(definitions);
  return [
    ["/docs", pageRoute(() => referencePage(openApiDocument(definitions)))],
    ...Object.entries(GUIDES).map(([name, guide]): Route => [
      `/docs/${name}`,
      pageRoute(() => guidePage(name, guide)),
    ]),
    [`/${SCRIPT.path}`, fileRoute(SCRIPT, "text/javascript; charset=utf-8")],
    [`/${STYLE.path}`, fileRoute(STYLE, "text/css; charset=utf-8")],
    ["/problems", pageRoute(() => problemIndex(problems))],
    ["/problems/{code}", problemPage(problems)],
    ["/openapi/idempotency-key.json", (c) => c.json(idempotencyComponents())],
  ];
};

/** The table, with the refusals that operations declare themselves. */
const allProblems = ({ operations }: Definitions): Record<string, Problem> =>
  Object.fromEntries([
    ...Object.entries(PROBLEMS),
    ...operations.flatMap(({ refusals }) => Object.entries(refusals)),
  ]);
