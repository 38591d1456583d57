/**
 * The console in a browser that enforces its policy: signed in by hand, used by keyboard alone, on a telephone and on a
 * wide screen, with texts in it that would like to be more than text, and looked over by axe on every page.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { openPage, startBrowser } from "../support/browser.ts";
import { consolePages, fillConsole, signInTo } from "../support/console-scene.ts";
import { useServers } from "../support/suite.ts";
import { openTenant } from "../support/tenant.ts";

const serverFor = useServers({ filled: {}, empty: {} });

/** A browser beside other tests on two cores takes its time. */
const SLOW = { timeout: 120_000 };

let browser: Browser;
beforeAll(async () => {
  browser = await startBrowser();
  await fillConsole(serverFor("filled"));
});
afterAll(async () => browser.close());

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const violation = z.object({
  id: z.string(),
  impact: z.string().nullable(),
  nodes: z.array(z.object({ html: z.string() })),
});

/** What axe finds serious or critical on the page, with where. */
const seriousFaults = async (page: Page): Promise<string[]> => {
  await page.evaluate(axe);
  const found = z
    .array(violation)
    .parse(await page.evaluate("axe.run().then(({ violations }) => violations)"));
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
};

const overflowOf = (page: Page): Promise<unknown> =>
  page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");

const WIDE = { colorScheme: "light", viewport: { width: 1440, height: 900 } } as const;
const NARROW = { colorScheme: "dark", viewport: { width: 320, height: 640 } } as const;

it.each([
  ["1440 px, light, filled", WIDE, "filled"],
  ["320 px, dark, filled", NARROW, "filled"],
  ["320 px, dark, empty", NARROW, "empty"],
] as const)(
  "%s: every page keeps its policy, never scrolls sideways, and axe finds nothing serious",
  SLOW,
  async (_, options, name) => {
    const { origin } = serverFor(name);
    const { page, complaints, foreignRequests } = await openPage(browser, origin, options);
    await page.goto(`${origin}/console/sign-in`);
    expect(await seriousFaults(page)).toEqual([]);
    await signInTo(page, origin);
    for (const path of await consolePages(serverFor(name))) {
      const response = await page.goto(origin + path);
      expect([path, response?.status()]).toEqual([path, 200]);
      expect([path, await overflowOf(page)]).toEqual([path, 0]);
      expect([path, await seriousFaults(page)]).toEqual([path, []]);
    }
    expect(foreignRequests).toEqual([]);
    expect(complaints).toEqual([]);
  },
);

it(
  "70: text that is stored is text: no markup of a tenant's, a reason's or an issue's becomes an element",
  SLOW,
  async () => {
    const server = serverFor("filled");
    const markup = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
    const tenant = await openTenant(server);
    await server.sqlBatch([
      [
        "INSERT INTO issues (id, kind, tenant, subject, what, first_seen_ms, last_seen_ms, state, changed_by, changed_at_ms, reason) VALUES ('0x', 'ledger-imbalance', ?, ?, ?, 1, 2, 'acknowledged', ?, 1, ?)",
        markup,
        markup,
        markup,
        markup,
        markup,
      ],
      [
        "INSERT INTO products (tenant, sku, name, currency, price, created_at_ms) VALUES (?, ?, 'x', 'EUR', 1, 1)",
        tenant.name,
        markup,
      ],
    ]);
    const { page, complaints } = await openPage(browser, server.origin);
    await signInTo(page, server.origin);
    for (const path of [
      "/console/issues?state=acknowledged",
      "/console/issues/confirm?state=resolved&id=0x",
      `/console/stock?tenant=${tenant.name}`,
      `/console/search?q=${encodeURIComponent(markup)}`,
      `/console/requests?tenant=${encodeURIComponent(markup.slice(0, 60))}`,
    ]) {
      await page.goto(server.origin + path);
      expect([path, await page.locator("main img, main script").count()]).toEqual([path, 0]);
      expect(await page.title()).not.toBe("owned");
    }
    await page.goto(`${server.origin}/console/issues?state=acknowledged`);
    expect(await page.locator("main").textContent()).toContain(markup);
    expect(complaints).toEqual([]);
  },
);

it(
  "with the keyboard alone an issue is found, read, and resolved with a reason",
  SLOW,
  async () => {
    const server = serverFor("filled");
    const { page, complaints } = await openPage(browser, server.origin);
    await signInTo(page, server.origin);
    const tabTo = async (selector: string): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        if ((await page.locator(`${selector}:focus`).count()) > 0) return;
      }
      throw new Error(`No tab stop: ${selector}`);
    };
    await page.keyboard.press("Tab");
    expect(await page.locator(".skip:focus").isVisible()).toBe(true);
    await tabTo('nav a[href="/console/issues"]');
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/issues");
    await tabTo('input[type="checkbox"]');
    await page.keyboard.press("Space");
    await tabTo('button[value="resolved"]');
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/issues/confirm?**");
    expect(await page.locator("h1").textContent()).toBe("Resolve 1 issue?");
    await tabTo("textarea");
    await page.keyboard.type("Counted again by hand.");
    await tabTo("button[type=submit]");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/issues?**done=**");
    expect(await page.getByRole("status").textContent()).toBe("1 issue resolved.");
    expect(complaints).toEqual([]);
  },
);

it("without JavaScript it is whole, and shows no button that could not work", SLOW, async () => {
  const server = serverFor("filled");
  const { page } = await openPage(browser, server.origin, { javaScriptEnabled: false });
  await signInTo(page, server.origin);
  for (const path of await consolePages(server)) {
    await page.goto(server.origin + path);
    for (const button of await page.locator("[data-copy], [data-zone]").all()) {
      expect(await button.isVisible()).toBe(false);
    }
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/console/sign-in");
  await page.goto(`${server.origin}/console/issues`);
  expect(page.url()).toContain("/console/sign-in");
});
