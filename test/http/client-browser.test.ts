/** The client as the package delivers it, in a real browser: its stores outlive the page, and two tabs share them. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { createClient } from "../../src/client/client.ts";
import type { IntentStore } from "../../src/client/store.ts";
import type { WebStorage, webStore } from "../../src/client/web-store.ts";
import { root, runQuietly } from "../../scripts/tool.ts";
import { startBrowser } from "../support/browser.ts";
import { useServers } from "../support/suite.ts";
import { openTenant, PAYMENT, type Tenant } from "../support/tenant.ts";

const serverFor = useServers({ usual: { vars: { CORS_ORIGINS: "*" } } });

/** A browser beside other tests on two cores takes its time. */
const SLOW = { timeout: 120_000 };

const PAGE = `<!doctype html><title>Shop</title>
<script type="module">import * as latchkey from "/client/index.js"; globalThis.latchkey = latchkey;</script>`;

/** What the page has of the package. */
type Package = {
  readonly createClient: typeof createClient;
  readonly indexedDbStore: () => IntentStore;
  readonly webStore: typeof webStore;
};

let folder: string;
let site: HttpServer;
let origin: string;
let browser: Browser;

beforeAll(async () => {
  // In the project, where the compiler finds its types; apart from what others import meanwhile.
  folder = mkdtempSync(join(root, "node_modules/.cache/latchkey-client-"));
  const { code, output } = await runQuietly("tsc", [
    "-p",
    "tsconfig.client.json",
    "--outDir",
    folder,
  ]);
  if (code !== 0) throw new Error(output);
  // A site of its own, so that the API is another origin, as it is for most pages.
  site = createServer((request, response) => {
    const path = request.url ?? "/";
    if (path.endsWith(".js")) {
      const text = readFileSync(join(folder, new URL(path, "http://site").pathname));
      response.writeHead(200, { "content-type": "text/javascript" }).end(text);
    } else {
      response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    }
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

type Visit = {
  readonly api: string;
  readonly token: string;
  readonly kind: string;
  readonly payment: typeof PAYMENT;
  readonly act: "pay" | "resume" | "count";
};

/** Runs in the page: what a shop's script would do. */
const visit = async (page: Page, given: Visit): Promise<unknown> => {
  await page.goto(origin);
  return page.evaluate(async ({ api, token, kind, payment, act }) => {
    const latchkey = Reflect.get(globalThis, "latchkey") as Package;
    const storage = Reflect.get(globalThis, "localStorage") as WebStorage;
    const client = latchkey.createClient({
      baseUrl: api,
      store: kind === "IndexedDB" ? latchkey.indexedDbStore() : latchkey.webStore(storage),
      credentials: () => ({ authorization: `Bearer ${token}` }),
      giveUpAfterMs: act === "pay" ? 1_000 : 30_000,
    });
    if (act === "count") return (await client.pending()).length;
    if (act === "resume") {
      return (await client.resume()).map((one) => "answer" in one && one.answer.status);
    }
    return client
      .send("POST /v1/payments", { params: {}, body: payment })
      .then(({ status, replayed, expiresAt }) => ({
        status,
        replayed,
        expires: expiresAt !== null,
      }))
      .catch((error: unknown) => (error instanceof Error ? error.name : "?"));
  }, given);
};

describe.each(["IndexedDB", "Web Storage"])("intents in %s", SLOW, (kind) => {
  const shop = async (): Promise<{ context: BrowserContext; tenant: Tenant; given: Visit }> => {
    const { origin: api } = serverFor("usual");
    const tenant = await openTenant(serverFor("usual"));
    const context = await browser.newContext();
    return {
      context,
      tenant,
      given: { api, token: tenant.token, kind, payment: PAYMENT, act: "pay" },
    };
  };
  const effectsOf = async ({ name }: Tenant) =>
    serverFor("usual").sql("SELECT key FROM transfers WHERE tenant = ? AND source = 'alice'", name);

  it("are paid across origins, with the marks of the answer", async () => {
    const { context, tenant, given } = await shop();
    const page = await context.newPage();
    expect(await visit(page, given)).toEqual({ status: 201, replayed: false, expires: true });
    expect(await visit(page, { ...given, act: "count" })).toBe(0);
    expect(await effectsOf(tenant)).toHaveLength(1);
  });

  it("whose answers were lost outlive the page, and two tabs that resume them at once make one effect of each", async () => {
    const { context, tenant, given } = await shop();
    const page = await context.newPage();
    // Two reach the server, and their answers do not come back; one never leaves.
    let reached = 0;
    await page.route(`${given.api}/v1/payments`, async (route) => {
      if (route.request().method() === "POST" && reached < 2) {
        reached += 1;
        await route.fetch();
      }
      await route.abort();
    });
    for (let i = 0; i < 3; i++) expect(await visit(page, given)).toBe("NoOutcomeError");
    // All that the page held is gone with it.
    await page.goto("about:blank");

    const tabs = await Promise.all([context.newPage(), context.newPage()]);
    expect(await visit(tabs[0], { ...given, act: "count" })).toBe(3);
    const resumed = await Promise.all(
      tabs.map(async (tab) => visit(tab, { ...given, act: "resume" })),
    );
    for (const statuses of resumed) {
      expect((statuses as unknown[]).every((status) => status === 201)).toBe(true);
    }
    expect(await visit(tabs[0], { ...given, act: "count" })).toBe(0);
    expect(await effectsOf(tenant)).toHaveLength(3);
  });
});
