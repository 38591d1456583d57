/** The pages for people in a browser that enforces their policy: what they promise, seen and used. */
import { mkdirSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPage, startBrowser } from "../support/browser.ts";
import { useServers } from "../support/suite.ts";
import { newTenant } from "../support/tenant.ts";

const serverFor = useServers({ usual: {} });

/** A browser beside other tests on two cores takes its time. */
const SLOW = { timeout: 120_000 };

/** Pictures to look at; not compared. */
const PICTURES = ".reports/docs";

let browser: Browser;
beforeAll(async () => {
  mkdirSync(PICTURES, { recursive: true });
  browser = await startBrowser();
});
afterAll(async () => browser.close());

const PAGES = [
  "docs",
  "docs/concepts",
  "docs/client-guide",
  "docs/gateway",
  "docs/operating",
  "docs/openapi",
  "problems",
  "problems/request-in-flight",
];

describe("the try-it form of POST /v1/accounts", SLOW, () => {
  it("sends once, replays byte for byte, shows the 422 of a changed body, and takes a new key only when asked", async () => {
    const { origin } = serverFor("usual");
    const { token } = await newTenant(serverFor("usual"));
    const { page, complaints, foreignRequests } = await openPage(browser, origin);
    await page.goto(`${origin}/docs`);
    await page.getByLabel("Bearer token").fill(token);
    const article = page.locator('[id="accounts.create"]');
    await article.getByText("Try it").click();
    const keyField = article.getByLabel("Idempotency-Key");
    const answers = article.locator(".answer");
    const key = await keyField.inputValue();
    expect(key).toMatch(/^[0-9a-f-]{36}$/);

    await article.getByRole("button", { name: "Send", exact: true }).click();
    await answers.nth(0).waitFor();
    expect(await answers.first().textContent()).toContain("201 Created");
    const first = await answers.first().locator("pre").textContent();
    expect(first).toContain('"currency": "EUR"');

    const again = article.getByRole("button", { name: "Send again with the same key" });
    await again.click();
    await answers.nth(1).waitFor();
    expect(await keyField.inputValue()).toBe(key);
    expect(await answers.first().textContent()).toContain("idempotent-replayedtrue");
    expect(await answers.first().textContent()).toContain("byte for byte the first answer");
    expect(await answers.first().locator("pre").textContent()).toBe(first);
    await article.screenshot({ path: `${PICTURES}/try-it.png` });

    await article.getByRole("textbox", { name: "Body" }).fill('{"currency":"USD"}');
    expect(await article.locator("[data-note]").textContent()).toContain("you will see 422");
    await again.click();
    await answers.nth(2).waitFor();
    expect(await answers.first().textContent()).toContain("422");
    expect(await answers.first().textContent()).toContain('"currency"');

    await article.getByRole("button", { name: "New key" }).click();
    expect(await keyField.inputValue()).not.toBe(key);
    await article.getByRole("button", { name: "Send", exact: true }).click();
    await answers.nth(3).waitFor();
    expect(await answers.first().textContent()).toContain("201 Created");

    expect(page.url()).not.toContain(token);
    expect(
      await page.evaluate(
        "JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])",
      ),
    ).toBe('[0,0,""]');
    expect(foreignRequests).toEqual([]);
    // The browser itself tells of the 422, as of every answer that is no success.
    expect(complaints.filter((text) => !text.includes("status of 422"))).toEqual([]);
  });

  it("an answer that holds markup is shown as text", async () => {
    const { origin } = serverFor("usual");
    const { token } = await newTenant(serverFor("usual"));
    const { page, complaints } = await openPage(browser, origin);
    await page.goto(`${origin}/docs`);
    await page.getByLabel("Bearer token").fill(token);
    const article = page.locator('[id="products.create"]');
    await article.getByText("Try it").click();
    await article
      .getByRole("textbox", { name: "Body" })
      .fill('{"sku":"x","name":"<img src=x onerror=alert(1)>","priceMinor":1,"currency":"EUR"}');
    await article.getByRole("button", { name: "Send", exact: true }).click();
    await article.locator(".answer").nth(0).waitFor();
    expect(await article.locator(".answer pre").textContent()).toContain("<img src=x");
    expect(await article.locator(".answer img").count()).toBe(0);
    expect(complaints).toEqual([]);
  });
});

describe.each([
  ["light", { colorScheme: "light", viewport: { width: 1280, height: 900 } }],
  ["dark", { colorScheme: "dark", viewport: { width: 1280, height: 900 } }],
  ["narrow", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
] as const)("%s", SLOW, (name, options) => {
  it("every page keeps its own policy, asks no other host, and never scrolls sideways", async () => {
    const { origin } = serverFor("usual");
    const { page, complaints, foreignRequests } = await openPage(browser, origin, options);
    for (const path of PAGES) {
      const response = await page.goto(`${origin}/${path}`);
      expect(response?.status()).toBe(200);
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      expect([path, overflow]).toEqual([path, 0]);
      await page.screenshot({ path: `${PICTURES}/${name}-${path.replaceAll("/", "-")}.png` });
    }
    expect(foreignRequests).toEqual([]);
    expect(complaints).toEqual([]);
  });
});

it(
  "without JavaScript the reference is whole, and shows no form that could not work",
  SLOW,
  async () => {
    const { origin } = serverFor("usual");
    const { page } = await openPage(browser, origin, { javaScriptEnabled: false });
    await page.goto(`${origin}/docs`);
    expect(await page.locator("article.operation").count()).toBeGreaterThan(15);
    for (const form of await page.locator("form").all()) expect(await form.isVisible()).toBe(false);
    expect(await page.getByText("Without JavaScript").isVisible()).toBe(true);
  },
);
