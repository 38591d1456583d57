/**
 * The frame of every page for people, and how pages are served: no script but this Worker's own, no request to anywhere
 * else, no frame around them. Links are relative, so that the pages also work where the app is mounted under a prefix.
 */
import { createHash } from "node:crypto";
import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import type { HttpContext } from "../context.ts";
import { GUIDES, REFERENCE_SCRIPT, STYLESHEET } from "./generated.ts";

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

export type Page = {
  readonly title: string;
  /** Path from the page to the root: `./` for `/docs`, `../` for `/docs/concepts`. */
  readonly root: "./" | "../";
  /** The page's own place in the navigation, as its path from the root. */
  readonly place?: string;
  readonly main: Html;
  /** Whether it runs the script of the try-it forms. */
  readonly scripted?: boolean;
};

/** A response body that does not depend on who asks. */
export type Document = { readonly text: string; readonly type: string; readonly policy: string };

const hashOf = (text: string): string =>
  createHash("sha256").update(text).digest("base64url").slice(0, 16);

/** A file of the pages. Its URL names its content, so that it may be kept for ever. */
export type WebFile = { readonly path: string; readonly text: string; readonly hash: string };

export const webFile = (path: string, text: string): WebFile => ({
  path,
  text,
  hash: hashOf(text),
});

export const SCRIPT = webFile("docs/reference.js", REFERENCE_SCRIPT);
export const STYLE = webFile("docs/style.css", STYLESHEET);

const NAVIGATION: readonly (readonly [path: string, title: string])[] = [
  ["docs", "Reference"],
  ...Object.entries(GUIDES).map(([name, { title }]) => [`docs/${name}`, title] as const),
  ["problems", "Problems"],
];

export const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%23b45309' stroke-width='2'%3E%3Ccircle cx='5' cy='8' r='3'/%3E%3Cpath d='M8 8h7v3M12 8v2'/%3E%3C/svg%3E";

/** Nothing but what the page itself is made of (CSP level 3). */
const policyOf = (scripted: boolean): string =>
  [
    "default-src 'none'",
    "style-src 'self'",
    "img-src data:",
    ...(scripted
      ? [
          "script-src 'self'",
          "connect-src 'self'",
          // The script writes text, never HTML; the browser holds it to that.
          "require-trusted-types-for 'script'",
          "trusted-types 'none'",
        ]
      : []),
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join("; ");

export const renderPage = async ({
  title,
  root,
  place,
  main,
  scripted = false,
}: Page): Promise<Document> => {
  const page = await html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} · Latchkey</title>
        <link rel="icon" href="${raw(ICON)}" />
        <link rel="stylesheet" href="${root}${STYLE.path}?v=${STYLE.hash}" />
        ${scripted ? html`<script type="module" src="${root}${SCRIPT.path}?v=${SCRIPT.hash}"></script>` : ""}
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header class="top">
          <a class="name" href="${root}docs">Latchkey</a>
          <nav aria-label="Documentation">
            <ul>
              ${NAVIGATION.map(
                ([path, name]) =>
                  html`<li>
                    <a href="${root}${path}" ${path === place ? raw(' aria-current="page"') : ""}
                      >${name}</a
                    >
                  </li> `,
              )}
            </ul>
          </nav>
        </header>
        <main id="main" tabindex="-1">${main}</main>
      </body>
    </html> `;
  return { text: String(page), type: "text/html; charset=utf-8", policy: policyOf(scripted) };
};

/** Asked again each time, and answered with 304 as long as nothing has changed. */
const REVALIDATE = "no-cache";
/** A year, as RFC 9111 means it: the URL changes with the content. */
const FOR_EVER = "public, max-age=31536000, immutable";

export const serve = (
  c: HttpContext,
  { text, type, policy }: Document,
  cacheControl: string = REVALIDATE,
): Response => {
  const etag = `"${hashOf(text)}"`;
  const headers = {
    "Cache-Control": cacheControl,
    "Content-Security-Policy": policy,
    ETag: etag,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
  return isKnown(c.req.header("If-None-Match"), etag)
    ? new Response(null, { status: 304, headers })
    : new Response(text, { headers: { ...headers, "Content-Type": type } });
};

/** RFC 9110 section 13.1.2: the comparison is weak, since a proxy that compresses makes the tag weak. */
const isKnown = (ifNoneMatch: string | undefined, etag: string): boolean =>
  ifNoneMatch !== undefined &&
  ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);

export const fileRoute =
  (file: WebFile, type: string) =>
  (c: HttpContext): Response =>
    // While a deployment spreads, a new page may ask an old Worker: its answer must not be kept under the new name.
    serve(
      c,
      { text: file.text, type, policy: "default-src 'none'" },
      c.req.query("v") === file.hash ? FOR_EVER : REVALIDATE,
    );

/** A page that is made on first use: none is on the path of a payment, nor of a cold start. */
export const pageRoute = (make: () => Page) => {
  let rendered: Promise<Document> | undefined;
  return async (c: HttpContext): Promise<Response> => {
    rendered ??= renderPage(make());
    return serve(c, await rendered);
  };
};
