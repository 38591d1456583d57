/** The console as HTTP: who is let in, what each page shows and leaves in the audit log, and what a form may do. */
import { setTimeout as sleep } from "node:timers/promises";
import { decodeJwt } from "jose";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { keyHash } from "../../src/kernel/hash.ts";
import { openConsole, type Console } from "../support/console.ts";
import { TEST_SECRETS } from "../support/server.ts";
import { useServers } from "../support/suite.ts";
import { newKey, openTenant, type Tenant } from "../support/tenant.ts";
import { tokenFor } from "../support/token.ts";

const NEXT_SECRET = "test-only-next-token-secret-0123456789abcdefghijkl";

const serverFor = useServers({
  one: {},
  // While the secret is rotated, and when it was.
  rotating: {
    vars: { TOKEN_SECRET: NEXT_SECRET, TOKEN_SECRET_PREVIOUS: TEST_SECRETS.TOKEN_SECRET },
  },
  rotated: { vars: { TOKEN_SECRET: NEXT_SECRET } },
});
const server = () => serverFor("one");

const ALL = "ops:read ops:support ops:act";

describe("signing in", () => {
  it("with an operator's token gives a cookie that no script reads, no other site sends, and an hour ends", async () => {
    const askedAtMs = Date.now();
    const operator = await openConsole(server(), { scope: ALL });
    const tookS = Math.ceil((Date.now() - askedAtMs) / 1000);
    const [, maxAge] =
      /^latchkey-console=[\w-]+\.[\w-]+\.[\w-]+; Path=\/console; Max-Age=(\d+); HttpOnly; SameSite=Strict$/.exec(
        operator.setCookie,
      ) ?? [];
    // Of the hour that the token has, what is left.
    expect(Number(maxAge)).toBeLessThanOrEqual(3_600);
    expect(Number(maxAge)).toBeGreaterThanOrEqual(3_600 - tookS);
    const [row] = await server().sql("SELECT * FROM audit ORDER BY seq DESC LIMIT 1");
    expect(row).toMatchObject({
      kind: "action",
      operation: "console.sign-in",
      actor: "latchkey/ada",
    });
    const page = await operator.get("/console");
    expect(page.status).toBe(200);
    expect(page.text).toContain("Ledger imbalance");
  });

  it("never outlives the token", async () => {
    const short = await openConsole(server(), { scope: ALL, ttlSeconds: 90 });
    expect(Number(/Max-Age=(\d+)/.exec(short.setCookie)?.[1])).toBeLessThanOrEqual(90);
  });

  it("ends within ten seconds of the token's revocation, for pages and for forms", async () => {
    const token = await tokenFor("operators", { scope: ALL });
    const { jti } = decodeJwt(token);
    const operator = await openConsole(server(), { scope: ALL, token });
    const form = await operator.formToken();
    const revoked = await fetch(`${server().origin}/v1/ops/revoked-tokens/${jti}`, {
      method: "PUT",
      headers: {
        Authorization: `Bearer ${await tokenFor("operators", { scope: "ops:act" })}`,
        "Content-Type": "application/json",
      },
      body: JSON.stringify({
        issuer: "latchkey",
        expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
      }),
    });
    expect(revoked.status).toBe(204);
    const deadlineMs = Date.now() + 10_000;
    let page = await operator.get("/console");
    // What counts is when it was asked for: an answer may take its time.
    for (let isLast = false; page.status === 200 && !isLast;) {
      await sleep(250);
      isLast = Date.now() >= deadlineMs;
      page = await operator.get("/console");
    }
    expect([page.status, page.headers.get("Location")]).toEqual([
      303,
      "/console/sign-in?then=%2Fconsole",
    ]);
    expect((await operator.get("/console/sign-in")).text).toContain("The token was revoked.");
    const acted = await operator.post(
      "/console/issues/change",
      { form },
      { Origin: server().origin },
    );
    expect(acted.headers.get("Location")).toContain("/console/sign-in");
  });

  it("outlives a rotation of the secret while the old one is kept, and not longer", async () => {
    const operator = await openConsole(server(), { scope: ALL });
    const statusAt = async (name: "rotating" | "rotated") =>
      (
        await fetch(`${serverFor(name).origin}/console`, {
          headers: { Cookie: operator.cookie },
          redirect: "manual",
        })
      ).status;
    expect(await statusAt("rotating")).toBe(200);
    expect(await statusAt("rotated")).toBe(303);
  });

  it("refuses what is no operator's token with 401, and says why", async () => {
    for (const token of [
      "nonsense",
      await tokenFor("acme"),
      `${await tokenFor("x", { scope: ALL })}x`,
    ]) {
      const answer = await signIn(token);
      expect(answer.status).toBe(401);
      expect(answer.headers.get("Set-Cookie")).toBeNull();
    }
  });

  it("a session is no token of the API, and a token no session", async () => {
    const operator = await openConsole(server(), { scope: ALL });
    const value = operator.cookie.split("=")[1] ?? "";
    const asToken = await fetch(`${server().origin}/v1/ops/issues`, {
      headers: { Authorization: `Bearer ${value}` },
    });
    expect(asToken.status).toBe(401);
    const token = await tokenFor("operators", { scope: ALL });
    const asSession = await fetch(`${server().origin}/console`, {
      headers: { Cookie: `latchkey-console=${token}` },
      redirect: "manual",
    });
    expect(asSession.status).toBe(303);
  });

  it("leads back to the page that was asked for, and to no other site", async () => {
    const turned = await fetch(`${server().origin}/console/issues?state=all`, {
      redirect: "manual",
    });
    expect(turned.status).toBe(303);
    expect(turned.headers.get("Location")).toBe(
      "/console/sign-in?then=%2Fconsole%2Fissues%3Fstate%3Dall",
    );
    const token = await tokenFor("operators", { scope: ALL });
    expect((await signIn(token, "/console/issues?state=all")).headers.get("Location")).toBe(
      "/console/issues?state=all",
    );
    for (const then of [
      "//evil.example",
      "https://evil.example/console",
      "/consolex",
      "/console\\x",
    ]) {
      expect((await signIn(token, then)).headers.get("Location")).toBe("/console");
    }
  });

  it("73: a form that another site sends is refused with 403, whatever it holds", async () => {
    const operator = await openConsole(server(), { scope: ALL });
    const form = await operator.formToken();
    const foreign: Record<string, string>[] = [
      { Origin: "https://evil.example" },
      { "Sec-Fetch-Site": "cross-site", Origin: server().origin },
      { "Sec-Fetch-Site": "same-site" },
      { "Sec-Fetch-Site": "none" },
      { Origin: "null" },
      {},
    ];
    for (const path of ["/console/issues/change", "/console/sign-out", "/console/sign-in"]) {
      for (const headers of foreign) {
        const answer = await operator.post(path, { form }, headers);
        expect([path, headers, answer.status]).toEqual([path, headers, 403]);
      }
    }
    for (const path of ["/console/issues/change", "/console/sign-out"]) {
      for (const wrong of ["", "x", crypto.randomUUID()]) {
        const answer = await operator.post(path, { form: wrong }, { Origin: server().origin });
        expect([path, answer.status]).toEqual([path, 403]);
      }
    }
  });
});

const signIn = async (token: string, place = ""): Promise<Response> =>
  fetch(`${server().origin}/console/sign-in`, {
    method: "POST",
    redirect: "manual",
    headers: { Origin: server().origin },
    body: new URLSearchParams([
      ["token", token],
      ["then", place],
    ]),
  });

const PAGES = [
  ["/console", ["ops:read", "ops:support", "ops:act"]],
  ["/console/requests", ["ops:read", "ops:support"]],
  ["/console/requests/DB/1", ["ops:support"]],
  ["/console/search?q=nothing-of-that-name", ["ops:support"]],
  ["/console/issues", ["ops:read", "ops:act"]],
  ["/console/issues/confirm?state=resolved", ["ops:act"]],
  ["/console/ledger", ["ops:read"]],
  ["/console/ledger/entries", ["ops:read"]],
  ["/console/ledger/transfers", ["ops:read"]],
  ["/console/orders", ["ops:read"]],
  ["/console/stock", ["ops:read"]],
  ["/console/stock/moves", ["ops:read"]],
] as const;

describe("each page", () => {
  let tenant: Tenant;
  let consoles: Record<string, Console>;
  const key = newKey();
  beforeAll(async () => {
    tenant = await openTenant(server());
    await tenant.pay({ description: "a private note" }, { key });
    consoles = Object.fromEntries(
      await Promise.all(
        ["ops:read", "ops:support", "ops:act", ALL].map(
          async (scope) => [scope, await openConsole(server(), { scope })] as const,
        ),
      ),
    );
  });

  it.each(PAGES)(
    "%s is for %j alone, and its reading is a row of the audit log",
    async (path, scopes) => {
      for (const scope of ["ops:read", "ops:support", "ops:act"] as const) {
        const before = await rows();
        const answer = await consoles[scope]?.get(path);
        expect([scope, answer?.status === 403]).toEqual([
          scope,
          !scopes.some((one) => one === scope),
        ]);
        expect([scope, (await rows()) - before]).toEqual([
          scope,
          scopes.some((one) => one === scope) ? 1 : 0,
        ]);
      }
      const [row] = await server().sql("SELECT * FROM audit ORDER BY seq DESC LIMIT 1");
      expect(row).toMatchObject({ kind: "read", tenant: "", actor: "latchkey/ada" });
    },
  );

  it.each(PAGES)(
    "70: %s lets in nothing but its own files, and is kept by nobody",
    async (path) => {
      const answer = await consoles[ALL]?.get(path);
      const policy = (answer?.headers.get("Content-Security-Policy") ?? "").split("; ");
      expect(policy).toEqual(
        expect.arrayContaining([
          "default-src 'none'",
          "script-src 'self'",
          "style-src 'self'",
          "form-action 'self'",
          "frame-ancestors 'none'",
          "base-uri 'none'",
        ]),
      );
      expect(policy.join("; ")).not.toMatch(/unsafe|https?:|\*/);
      expect(answer?.headers.get("Cache-Control")).toBe("no-store");
      expect(answer?.text).not.toMatch(/<[^>]+ (style|on\w+)=/);
    },
  );

  it("one request says first what happened, and what it made, and holds no value of the request", async () => {
    const found = await consoles[ALL]?.get(`/console/search?q=${key}`);
    expect(found?.status).toBe(303);
    const page = await consoles[ALL]?.get(found?.headers.get("Location") ?? "");
    expect(page?.text).toMatch(/<h1 class="story">Charged once\.<\/h1>/);
    expect(page?.text).toContain(key);
    expect(page?.text).toContain("−2.50 EUR");
    expect(page?.text).toContain("997.50 EUR");
    expect(page?.text).not.toContain("private note");
    // Nor does the audit log hold the key that was looked for.
    const [noted] = await server().sql(
      "SELECT COUNT(*) AS rows FROM audit WHERE detail LIKE ?",
      `%${key}%`,
    );
    expect(noted).toEqual({ rows: 0 });
  });

  it("a payment and a request id are found as a key is", async () => {
    const paid = await tenant.pay();
    const id = String(paid.body["id"]);
    for (const q of [id, paid.headers.get("X-Request-Id") ?? ""]) {
      const found = await consoles[ALL]?.get(`/console/search?q=${q}`);
      const page = await consoles[ALL]?.get(found?.headers.get("Location") ?? "");
      expect(page?.text).toContain("Charged once.");
      expect(page?.text).toContain(id);
    }
  });

  it("a refusal is told with its reason, and its key is found by its moment", async () => {
    const refused = newKey();
    await tenant.pay({ amountMinor: 90_000_000 }, { key: refused });
    const [row] = await server().sql(
      "SELECT seq FROM audit WHERE key_hash = ?",
      keyHash(tenant.name, refused),
    );
    const page = await consoles[ALL]?.get(`/console/requests/DB/${String(row?.["seq"])}`);
    expect(page?.text).toContain("Refused, and nothing changed: insufficient funds.");
    expect(page?.text).toContain(refused);
  });

  it("lists requests by state and time, page by page, newest first", async () => {
    const page = await consoles[ALL]?.get(
      `/console/requests?state=refused&range=15m&tenant=${tenant.name}`,
    );
    expect(page?.text.match(/<span class="state refused">/g)).toHaveLength(1);
    const later = new Date(Date.now() + 60_000).toISOString().slice(0, 16);
    const future = await consoles[ALL]?.get(`/console/requests?from=${later}`);
    expect(future?.text).toContain("No request fits.");
    expect((await consoles[ALL]?.get("/console/requests?from=yesterday"))?.status).toBe(400);
  });
});

const rows = async (): Promise<number> => {
  const [row] = await server().sql("SELECT COUNT(*) AS rows FROM audit");
  return Number(row?.["rows"]);
};

describe("an action on issues", () => {
  const raise = async (id: string, what = "w"): Promise<void> => {
    await server().sql(
      "INSERT INTO issues (id, kind, tenant, subject, what, first_seen_ms, last_seen_ms) VALUES (?, 'ledger-imbalance', 't', 'ledger', ?, 1, 2)",
      id,
      what,
    );
  };
  afterEach(async () => {
    await server().sql("DELETE FROM issues");
  });
  const notes = (id: string) =>
    server().sql("SELECT kind, actor FROM audit WHERE detail LIKE ? ORDER BY seq", `%"${id}"%`);

  it("says what and how many before it acts", async () => {
    for (const id of ["c1", "c2"]) await raise(id, `figures of ${id}`);
    const operator = await openConsole(server(), { scope: ALL });
    const page = await operator.get("/console/issues/confirm?state=resolved&id=c1&id=c2");
    expect(page.text).toContain("Resolve 2 issues?");
    expect(page.text).toContain("figures of c1");
    expect(await notes("c1")).toEqual([]);
  });

  it("72: a double click on an action is one action and one row, also at once, and after somebody undid it", async () => {
    await raise("d1");
    const operator = await openConsole(server(), { scope: ALL });
    const fields = await operator.fieldsOf("/console/issues/confirm?state=resolved&id=d1");
    const click = () =>
      operator.post(
        "/console/issues/change",
        { ...fields, reason: "fixed" },
        { Origin: server().origin },
      );
    const clicks = await Promise.all([click(), click()]);
    expect(clicks.map(({ status }) => status)).toEqual([303, 303]);
    expect(await notes("d1")).toEqual([{ kind: "resolution", actor: "latchkey/ada" }]);
    const told = await operator.get(clicks[1]?.headers.get("Location") ?? "");
    expect(told.text).toContain("1 issue resolved.");
    // Opened again meanwhile: a late copy of the first form does not close it.
    await server().sql("UPDATE issues SET state = 'open' WHERE id = 'd1'");
    expect((await click()).status).toBe(303);
    expect(await server().sql("SELECT state FROM issues WHERE id = 'd1'")).toEqual([
      { state: "open" },
    ]);
    expect(await notes("d1")).toHaveLength(1);
  });

  it("needs a reason, known words and a fresh form, and the scope to act", async () => {
    await raise("e1");
    const operator = await openConsole(server(), { scope: ALL });
    const fields = await operator.fieldsOf("/console/issues/confirm?state=resolved&id=e1");
    const send = (change: Record<string, string>) =>
      operator.post(
        "/console/issues/change",
        { ...fields, reason: "r", ...change },
        { Origin: server().origin },
      );
    for (const change of [
      { reason: " " },
      { state: "gone" },
      { action: "act_1" },
      { action: `act_${"0".repeat(26)}` },
      { id: "" },
    ]) {
      expect([change, (await send(change)).status]).toEqual([change, 400]);
    }
    expect((await send({ database: "DB_9" })).status).toBe(404);
    const reader = await openConsole(server(), { scope: "ops:read" });
    expect(
      (await reader.post("/console/issues/change", {}, { Origin: server().origin })).status,
    ).toBe(403);
    expect(await notes("e1")).toEqual([]);
  });
});

describe("a file of the books", () => {
  it("71: as CSV no cell is a formula, whatever an id or a reason is; as JSON lines it is what was stored", async () => {
    const tenant = await openTenant(server());
    await server().sqlBatch([
      [
        "INSERT INTO products (tenant, sku, name, currency, price, created_at_ms) VALUES (?, 'mug', 'Mug', 'EUR', 1, 1)",
        tenant.name,
      ],
      [
        "INSERT INTO stock_moves (tenant, sku, id, delta, reason, key, created_at_ms) VALUES (?, 'mug', '=1+1', 5, '@SUM(A1)', '+key', 1)",
        tenant.name,
      ],
    ]);
    const finance = await openConsole(server(), { scope: "ops:read" });
    const csv = await finance.get(`/console/stock/moves?tenant=${tenant.name}&format=csv`);
    expect(csv.headers.get("Content-Type")).toBe("text/csv; charset=utf-8");
    expect(csv.text).toBe(
      `tenant,sku,id,delta,reason,key,created_at_ms\r\n${tenant.name},mug,'=1+1,5,'@SUM(A1),'+key,1\r\n`,
    );
    const lines = await finance.get(`/console/stock/moves?tenant=${tenant.name}&format=jsonl`);
    expect(JSON.parse(lines.text)).toMatchObject({ id: "=1+1", reason: "@SUM(A1)" });
    const entries = await finance.get(
      `/console/ledger/entries?tenant=${tenant.name}&account=alice&format=csv`,
    );
    expect(entries.text.split("\r\n")).toHaveLength(3);
  });
});
