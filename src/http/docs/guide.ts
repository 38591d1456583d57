/** GET /docs/{guide}: a guide of docs/, which `npm run docs` has made HTML of. */
import { raw } from "hono/html";
import type { Page } from "./page.ts";

export type Guide = {
  readonly title: string;
  /** Of our own making: from a file of this project, with everything in it escaped by the Markdown renderer. */
  readonly html: string;
};

export const guidePage = (name: string, { title, html }: Guide): Page => ({
  title,
  root: "../",
  place: `docs/${name}`,
  main: raw(`<article class="guide">\n${html}</article>`),
});
