/**
 * A real Chromium, headless: on Linux out of npm alone, elsewhere the Chrome that is installed. It may talk to 127.0.0.1 and to nobody else: what a page tries beyond
 * that is refused and told.
 */
import chromiumPackage from "@sparticuz/chromium";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

/** Of the package's switches, those that would make the browser laxer than that of a reader. */
const LAX = new Set(["--disable-web-security", "--allow-running-insecure-content"]);

export const startBrowser = async (): Promise<Browser> =>
  process.platform === "linux"
    ? chromium.launch({
        executablePath: await chromiumPackage.executablePath(),
        args: chromiumPackage.args.filter((arg) => !LAX.has(arg)),
      })
    : chromium.launch({ channel: "chrome" });

export type WatchedPage = {
  readonly page: Page;
  /** Console errors, uncaught exceptions and violations of the content security policy, as texts. */
  readonly complaints: readonly string[];
  /** URLs of requests to other hosts than the one of `origin`; none was let through. */
  readonly foreignRequests: readonly string[];
};

export const openPage = async (
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreignRequests: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.route("**/*", async (route) => {
    const url = route.request().url();
    if (new URL(url).origin === origin) return route.continue();
    foreignRequests.push(url);
    return route.abort();
  });
  return { page, complaints, foreignRequests };
};
