/** The pages for people as HTTP: what a browser and a cache are told about them, and that no link leads nowhere. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "../../scripts/tool.ts";
import { lockDatabase, useServers, whileLocked } from "../support/suite.ts";
import { newKey, openTenant, PAYMENT } from "../support/tenant.ts";

const serverFor = useServers({ usual: {} });
const get = async (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(serverFor("usual").origin + path, { redirect: "manual", ...init });

const PAGES = [
  "/docs",
  "/docs/concepts",
  "/docs/client-guide",
  "/docs/gateway",
  "/docs/operating",
  "/docs/openapi",
  "/problems",
  "/problems/not-found",
];

const directivesOf = (response: Response): string[] =>
  (response.headers.get("Content-Security-Policy") ?? "").split("; ");

describe("every page", () => {
  it.each(PAGES)(
    "%s lets in nothing but its own files, sends no form, and is framed by nobody",
    async (path) => {
      const response = await get(path);
      expect(response.status).toBe(200);
      expect(response.headers.get("Content-Type")).toBe("text/html; charset=utf-8");
      expect(response.headers.get("X-Content-Type-Options")).toBe("nosniff");
      expect(response.headers.get("Referrer-Policy")).toBe("no-referrer");
      const directives = directivesOf(response);
      expect(directives).toEqual(
        expect.arrayContaining([
          "default-src 'none'",
          "style-src 'self'",
          "form-action 'none'",
          "base-uri 'none'",
          "frame-ancestors 'none'",
        ]),
      );
      expect(directives.join("; ")).not.toMatch(/unsafe|https?:|\*/);
      const scripted = path === "/docs";
      expect(directives.includes("script-src 'self'")).toBe(scripted);
      expect(directives.includes("connect-src 'self'")).toBe(scripted);
    },
  );

  it.each(PAGES)(
    "%s is asked for again each time, and is not sent again while it is the same",
    async (path) => {
      const first = await get(path);
      expect(first.headers.get("Cache-Control")).toBe("no-cache");
      const etag = first.headers.get("ETag") ?? "";
      expect(etag).toMatch(/^"[\w-]{16}"$/);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
        const again = await get(path, { headers: { "If-None-Match": known } });
        expect(again.status).toBe(304);
        expect(await again.text()).toBe("");
      }
      expect((await get(path, { headers: { "If-None-Match": '"other"' } })).status).toBe(200);
    },
  );
});

it.each([
  ["script", /src="\.\/(docs\/reference\.js\?v=[\w-]+)"/, "text/javascript; charset=utf-8"],
  ["stylesheet", /href="\.\/(docs\/style\.css\?v=[\w-]+)"/, "text/css; charset=utf-8"],
])(
  "the %s may be kept for ever under the URL that names its content, and under no other",
  async (_, link, type) => {
    const path = `/${link.exec(await (await get("/docs")).text())?.[1] ?? ""}`;
    const named = await get(path);
    expect(named.status).toBe(200);
    expect(named.headers.get("Content-Type")).toBe(type);
    expect(named.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(named.headers.get("Cache-Control")).toBe("public, max-age=31536000, immutable");
    expect((await named.text()).length).toBeGreaterThan(1000);
    for (const other of [path.replace(/\?.*/, ""), `${path}x`]) {
      expect((await get(other)).headers.get("Cache-Control")).toBe("no-cache");
    }
  },
);

it("no link of any page leads nowhere", async () => {
  const { origin } = serverFor("usual");
  const seen = new Set<string>();
  const missing: string[] = [];
  const open = ["/docs"];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const response = await get(path);
    const text = await response.text();
    if (response.status !== 200) missing.push(`${response.status} ${path}`);
    if (response.headers.get("Content-Type")?.startsWith("text/html") !== true) continue;
    const links = text.matchAll(/<(?:a|link|script)\b[^>]*?(?:href|src)="([^"]*)"/g);
    for (const [, href = ""] of links) {
      const url = new URL(href, origin + path);
      if (href.startsWith("#") && !text.includes(`id="${href.slice(1)}"`))
        missing.push(path + href);
      if (url.origin === origin) open.push(url.pathname + url.search);
    }
  }
  expect(missing).toEqual([]);
  expect([...seen]).toEqual(
    expect.arrayContaining([...PAGES, "/openapi.json", "/openapi/idempotency-key.json"]),
  );
  expect(seen.size).toBeGreaterThan(35);
});

it("who comes to the root is sent to the documentation", async () => {
  const response = await get("/");
  expect(response.status).toBe(302);
  expect(new URL(response.headers.get("Location") ?? "", response.url).pathname).toBe("/docs");
});

it.each([
  "/docs/",
  "/docs/nothing",
  "/docs/../docs/style",
  "/docs/__proto__",
  "/problems/",
  "/openapi/",
])("404: %s", async (path) => {
  expect((await get(path)).status).toBe(404);
});

describe("the client guide's example for fetch, as it is printed", () => {
  type Send = (
    url: string,
    intent: { token: string; key: string; body: string; giveUpAfterMs?: number },
  ) => Promise<Response>;

  const example = async (): Promise<Send> => {
    const guide = readFileSync(join(root, "docs/client-guide.md"), "utf8");
    const source = /```js\n([^]*?)```/.exec(guide)?.[1] ?? "";
    // What it exports is named in the example itself.
    const loaded = (await import(
      `data:text/javascript,${encodeURIComponent(`${source}\nexport { send };`)}`
    )) as { readonly send: Send };
    return loaded.send;
  };

  it("sends through an outage until it is paid, once, and then gets the replay", async () => {
    const server = serverFor("usual");
    const [send, tenant, key] = [await example(), await openTenant(server), newKey()];
    const intent = { token: tenant.token, key, body: JSON.stringify(PAYMENT) };
    const unlock = lockDatabase(server);
    const sending = send(`${server.origin}/v1/payments`, intent);
    setTimeout(unlock, 1_500);
    const first = await sending;
    const second = await send(`${server.origin}/v1/payments`, intent);
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers.get("Idempotent-Replayed")).toBe("true");
    expect(await second.text()).toBe(await first.text());
    expect((await tenant.get("/v1/accounts/bob")).body["balanceMinor"]).toBe(PAYMENT.amountMinor);
  });

  it("stops at a refusal, and keeps the key of what is not final", async () => {
    const server = serverFor("usual");
    const [send, tenant, key] = [await example(), await openTenant(server), newKey()];
    const url = `${server.origin}/v1/payments`;
    const body = JSON.stringify({ ...PAYMENT, amountMinor: 10_000_000 });
    expect((await send(url, { token: tenant.token, key: newKey(), body })).status).toBe(402);
    const intent = { token: tenant.token, key, body: JSON.stringify(PAYMENT), giveUpAfterMs: 500 };
    await whileLocked(server, async () => expect(send(url, intent)).rejects.toThrow(key));
  });
});
