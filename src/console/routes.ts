/** The console: paths and handlers. Only our own Worker has it; a host that mounts the API has pages of its own. */
import type { HttpContext } from "../http/context.ts";
import { fileRoute } from "../http/docs/page.ts";
import { BOOK_PAGES } from "./books.tsx";
import { changeAction, confirmPage, issuesPage } from "./issues.tsx";
import { overview } from "./overview.tsx";
import { CONSOLE_FILES } from "./page.tsx";
import { redriveAction, redrivePage } from "./redrive.tsx";
import { requestPage } from "./request.tsx";
import { requestsPage } from "./requests.tsx";
import { resolutionAction, resolutionPage } from "./resolution.tsx";
import { searchPage } from "./search.tsx";
import { signInAction, signInPage, signOutAction } from "./sign-in.tsx";
import { consolePage } from "./visit.tsx";

type Route = readonly [
  method: "GET" | "POST",
  path: string,
  handler: (c: HttpContext) => Response | Promise<Response>,
];

export const consoleRoutes: readonly Route[] = [
  ["GET", "/console", consolePage(overview)],
  ["GET", "/console/sign-in", signInPage],
  ["POST", "/console/sign-in", signInAction],
  ["POST", "/console/sign-out", signOutAction],
  ["GET", "/console/requests", requestsPage],
  ["GET", "/console/requests/{database}/{seq}", requestPage],
  ["GET", "/console/search", searchPage],
  ["GET", "/console/issues", issuesPage],
  ["GET", "/console/issues/confirm", confirmPage],
  ["POST", "/console/issues/change", changeAction],
  ["GET", "/console/redrive", redrivePage],
  ["POST", "/console/redrive", redriveAction],
  ["GET", "/console/resolution", resolutionPage],
  ["POST", "/console/resolution", resolutionAction],
  ...BOOK_PAGES.map(([path, handler]): Route => ["GET", path, handler]),
  [
    "GET",
    `/${CONSOLE_FILES.script.path}`,
    fileRoute(CONSOLE_FILES.script, "text/javascript; charset=utf-8"),
  ],
  [
    "GET",
    `/${CONSOLE_FILES.style.path}`,
    fileRoute(CONSOLE_FILES.style, "text/css; charset=utf-8"),
  ],
];
