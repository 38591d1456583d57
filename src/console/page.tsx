/**
 * The frame of the console's pages, and how they are served: made anew for each request, kept by nobody, with no script
 * and no style but our own files, and in no frame. What users wrote is text in them and nothing else.
 */
import type { Child, FC, PropsWithChildren } from "hono/jsx";
import { type HttpContext, homeOf } from "../http/context.ts";
import { ICON, STYLE, webFile } from "../http/docs/page.ts";
import { CONSOLE_SCRIPT, CONSOLE_STYLESHEET } from "./generated.ts";
import { A, Form, Home, placeOf } from "./place.tsx";
import type { Session } from "./session.ts";

export const CONSOLE_FILES = {
  script: webFile("console/console.js", CONSOLE_SCRIPT),
  style: webFile("console/console.css", CONSOLE_STYLESHEET),
};

export type View = {
  readonly title: string;
  readonly main: Child;
  /** 200, unless said. */
  readonly status?: number;
};

/** The navigation: path, name, and the scopes of which one is needed. */
const PLACES = [
  { path: "/console", name: "Overview", anyOf: ["ops:read", "ops:support", "ops:act"] },
  { path: "/console/requests", name: "Requests", anyOf: ["ops:read", "ops:support"] },
  { path: "/console/issues", name: "Issues", anyOf: ["ops:read", "ops:act"] },
  { path: "/console/ledger", name: "Ledger", anyOf: ["ops:read"] },
  { path: "/console/orders", name: "Orders", anyOf: ["ops:read"] },
  { path: "/console/stock", name: "Stock", anyOf: ["ops:read"] },
] as const;

const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "img-src data:",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  // The script writes text, never HTML; the browser holds it to that.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

export const pageHeaders: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": POLICY,
  // With "no-referrer" a browser would hide from our own forms where they come from.
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
};

export const sendView = async (
  c: HttpContext,
  { title, main, status = 200 }: View,
  session: Session | undefined,
): Promise<Response> => {
  const home = homeOf(c);
  // A promise if a part of it is one.
  const page: unknown = await Promise.resolve(
    <Home.Provider value={home}>
      <Frame title={title} session={session} path={placeOf(c)} home={home}>
        {main}
      </Frame>
    </Home.Provider>,
  );
  return new Response(`<!doctype html>${String(page)}`, {
    status,
    headers: { ...pageHeaders, "Content-Type": "text/html; charset=utf-8" },
  });
};

const Frame: FC<
  PropsWithChildren<{ title: string; session: Session | undefined; path: string; home: string }>
> = ({ title, session, path, home, children }) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>{title} · Latchkey console</title>
      <link rel="icon" href={ICON} />
      <link rel="stylesheet" href={`${home}/${STYLE.path}?v=${STYLE.hash}`} />
      <link
        rel="stylesheet"
        href={`${home}/${CONSOLE_FILES.style.path}?v=${CONSOLE_FILES.style.hash}`}
      />
      <script
        type="module"
        src={`${home}/${CONSOLE_FILES.script.path}?v=${CONSOLE_FILES.script.hash}`}
      ></script>
    </head>
    <body class="console">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <A class="name" href="/console">
          Latchkey
        </A>
        {session !== undefined && <Navigation session={session} path={path} />}
      </header>
      <main id="main" tabindex={-1}>
        {children}
      </main>
      {session !== undefined && (
        <footer class="foot">
          <p>
            Signed in as <strong>{session.subject}</strong>, with{" "}
            {[...session.scopes].toSorted().join(", ")}. Times are <span data-zone-name>UTC</span>.
          </p>
          <button type="button" data-zone hidden>
            Show local times
          </button>
          <Form method="post" action="/console/sign-out">
            <input type="hidden" name="form" value={session.form} />
            <button>Sign out</button>
          </Form>
        </footer>
      )}
    </body>
  </html>
);

const Navigation: FC<{ session: Session; path: string }> = ({ session, path }) => (
  <>
    <nav aria-label="Console">
      <ul>
        {PLACES.filter(({ anyOf }) => anyOf.some((scope) => session.scopes.has(scope))).map(
          (place) => (
            <li>
              <A href={place.path} aria-current={isAt(place.path, path) ? "page" : undefined}>
                {place.name}
              </A>
            </li>
          ),
        )}
      </ul>
    </nav>
    {session.scopes.has("ops:support") && (
      <Form class="search" role="search" action="/console/search">
        <label class="unseen" for="q">
          Key, payment, order or request id
        </label>
        <input
          id="q"
          name="q"
          type="search"
          placeholder="Key, payment, order, request id"
          required
        />
        <button>Find</button>
      </Form>
    )}
  </>
);

const isAt = (place: string, path: string): boolean =>
  place === path || (place !== "/console" && path.startsWith(`${place}/`));
