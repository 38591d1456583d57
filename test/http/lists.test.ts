/** Lists are keyset pages: complete, in order, undisturbed by what is added, and as cheap deep down as on top. */
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { SqlCall } from "../support/companion.ts";
import { useServers } from "../support/suite.ts";
import { FUNDS_MINOR, openTenant, type Tenant, textOf } from "../support/tenant.ts";

const serverFor = useServers({ usual: {}, traced: { traced: true } });

const pageSchema = z.object({
  data: z.array(z.record(z.string(), z.unknown())),
  next: z.string().nullable(),
});

const pageOf = async (tenant: Tenant, path: string) => {
  const answer = await tenant.get(path);
  expect(answer.status).toBe(200);
  return pageSchema.parse(answer.body);
};

/** Follows `next` to the end. Runs something between two pages. */
const walk = async (
  tenant: Tenant,
  path: string,
  limit: number,
  between: () => Promise<unknown> = async () => undefined,
) => {
  const items: Record<string, unknown>[] = [];
  for (let after: string | null = "", page; after !== null; after = page.next) {
    page = await pageOf(tenant, `${path}?limit=${limit}${after === "" ? "" : `&after=${after}`}`);
    expect(page.data.length).toBeLessThanOrEqual(limit);
    items.push(...page.data);
    await between();
  }
  return items;
};

describe("pages", () => {
  const server = () => serverFor("usual");

  it("every list gives each row once, in its order, whatever the size of a page", async () => {
    const tenant = await openTenant(server());
    const payments: string[] = [];
    for (let i = 0; i < 7; i++)
      payments.push(textOf(await tenant.pay({ amountMinor: i + 1 }), "id"));
    const refunded = payments[6] ?? "";
    for (let i = 0; i < 5; i++) {
      await tenant.post(`/v1/payments/${refunded}/refunds`, { amountMinor: 1 });
    }
    for (const sku of ["a", "B", "c-1", "C.2", "d_3"]) {
      await tenant.post("/v1/products", { sku, name: sku, priceMinor: 1, currency: "EUR" });
    }
    for (const path of [
      "/v1/accounts",
      "/v1/payments",
      `/v1/payments/${refunded}/refunds`,
      "/v1/accounts/alice/entries",
      "/v1/products",
    ]) {
      const whole = (await pageOf(tenant, path)).data;
      expect(whole.length).toBeGreaterThan(2);
      for (const limit of [1, 2, 3, whole.length, 200]) {
        expect(await walk(tenant, path, limit)).toEqual(whole);
      }
    }
  });

  it("payments come newest first, accounts and products by their id", async () => {
    const tenant = await openTenant(server());
    const made: string[] = [];
    for (let i = 0; i < 4; i++) made.push(textOf(await tenant.pay(), "id"));
    const listed = (await pageOf(tenant, "/v1/payments")).data.map(({ id }) => id);
    expect(listed.slice(0, 4).map(String).toSorted().toReversed()).toEqual(listed.slice(0, 4));
    expect(new Set(listed.slice(0, 4))).toEqual(new Set(made));
    const accounts = (await pageOf(tenant, "/v1/accounts")).data.map(({ id }) => id);
    expect(accounts).toEqual(["alice", "bob", "system:EUR"]);
  });

  it("what is added while a caller turns pages neither repeats nor hides a row", async () => {
    const tenant = await openTenant(server());
    for (let i = 0; i < 6; i++) await tenant.pay();
    const before = (await pageOf(tenant, "/v1/accounts/alice/entries")).data;
    const walked = await walk(tenant, "/v1/accounts/alice/entries", 2, async () => tenant.pay());
    expect(walked).toEqual(before);
  });

  it("entries run from the newest to the first, each with the balance after it", async () => {
    const tenant = await openTenant(server());
    await tenant.pay({ amountMinor: 100 });
    const payment = textOf(await tenant.pay({ amountMinor: 50 }), "id");
    await tenant.post(`/v1/payments/${payment}/refunds`, {});
    const { data } = await pageOf(tenant, "/v1/accounts/alice/entries");
    expect(
      data.map(({ seq, amountMinor, balanceMinor }) => [seq, amountMinor, balanceMinor]),
    ).toEqual([
      [4, 50, FUNDS_MINOR - 100],
      [3, -50, FUNDS_MINOR - 150],
      [2, -100, FUNDS_MINOR - 100],
      [1, FUNDS_MINOR, FUNDS_MINOR],
    ]);
  });

  it.each([
    "limit=0",
    "limit=201",
    "limit=-1",
    "limit=1.5",
    "limit=x",
    "limit=",
    "offset=5",
    "after=x'%20OR%201=1--",
    "after=%00",
  ])("the query ?%s gets 400", async (query) => {
    const tenant = await openTenant(server());
    expect(await tenant.get(`/v1/payments?${query}`)).toMatchObject({
      status: 400,
      body: { code: "request-invalid" },
    });
  });

  it("24: a page after another tenant's row shows nothing of that tenant", async () => {
    const tenant = await openTenant(server());
    const stranger = await openTenant(server());
    const payment = textOf(await tenant.pay(), "id");
    const later = textOf(await tenant.pay(), "id");
    const { data } = await pageOf(stranger, `/v1/payments?after=${later}`);
    expect(data.map(({ id }) => id)).not.toContain(payment);
  });
});

describe("an account with 100,000 entries", () => {
  const server = () => serverFor("traced");
  const TRANSFERS = 100_000;
  let tenant: Tenant;

  beforeAll(async () => {
    tenant = await openTenant(server());
    // One cent each, so that alice can afford them all; posted by the schema's own trigger.
    await server().sql(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO transfers (tenant, id, source, destination, currency, amount, key, created_at_ms)
       SELECT ?, printf('pay_1%025d', i), 'alice', 'bob', 'EUR', 1, printf('seed-%d', i), i FROM n`,
      TRANSFERS,
      tenant.name,
    );
  });

  /** The queries of one GET that read more than a row, and what SQLite means to do for them. */
  const costOf = async (path: string) => {
    let page: Awaited<ReturnType<typeof pageOf>> | undefined;
    const calls = await server().trace(async () => {
      page = await pageOf(tenant, path);
    });
    return { data: page?.data ?? [], next: page?.next, rowsRead: rowsReadBy(calls), calls };
  };

  const rowsReadBy = (calls: readonly SqlCall[]): number =>
    calls.filter(({ store }) => store === "d1").reduce((sum, call) => sum + call.rowsRead, 0);

  it.each([
    ["the newest page", ""],
    ["a page in the middle", "&after=50000"],
    ["the last page", "&after=51"],
  ])("a page reads about as many rows as it shows: %s", async (_where, after) => {
    const { data, rowsRead } = await costOf(`/v1/accounts/alice/entries?limit=50${after}`);
    expect(data).toHaveLength(50);
    // The page, one row more that tells whether there is a next, and the account itself.
    expect(rowsRead).toBeGreaterThanOrEqual(50);
    expect(rowsRead).toBeLessThanOrEqual(55);
  });

  it.each([
    ["the newest", ""],
    ["deep ones", `&after=pay_1${String(1_000).padStart(25, "0")}`],
  ])("a page of payments reads about as many rows as it shows: %s", async (_where, after) => {
    const { data, rowsRead } = await costOf(`/v1/payments?limit=50${after}`);
    expect(data).toHaveLength(50);
    expect(rowsRead).toBeLessThanOrEqual(55);
  });

  it("every query of a page is a search of a primary key, never a scan or a sort", async () => {
    const paths = [
      "/v1/accounts",
      "/v1/accounts/alice",
      "/v1/accounts/alice/entries?after=50000",
      "/v1/payments?limit=50",
      `/v1/payments/pay_1${"1".padStart(25, "0")}`,
      `/v1/payments/pay_1${"1".padStart(25, "0")}/refunds`,
      "/v1/products",
    ];
    const calls = await server().trace(async () => {
      for (const path of paths) await pageOrOne(path);
    });
    const texts = new Set(calls.filter(({ store }) => store === "d1").map(({ text }) => text));
    expect(texts.size).toBeGreaterThanOrEqual(paths.length);
    for (const text of texts) {
      const parameters = Array.from({ length: text.split("?").length - 1 }, () => null);
      const plan = await server().sql(`EXPLAIN QUERY PLAN ${text}`, ...parameters);
      const steps = plan.map(({ detail }) => String(detail));
      expect(steps).toHaveLength(1);
      expect(steps[0]).toMatch(/^SEARCH \w+ USING PRIMARY KEY \(tenant=\?/);
    }
  });

  const pageOrOne = async (path: string): Promise<void> => {
    expect((await tenant.get(path)).status).toBe(200);
  };

  /** Every few seconds the Worker and the object add up what they have counted, behind whatever comes by. */
  const isOfTheRequest = ({ text }: SqlCall): boolean => !/INSERT INTO metrics|'tally'/.test(text);

  it("a payment writes at most 7 rows in D1 and 1 in the object, however long the account's history is", async () => {
    await tenant.pay();
    const calls = (await server().trace(async () => tenant.pay())).filter(isOfTheRequest);
    const written = (store: SqlCall["store"]) =>
      calls.filter((call) => call.store === store).reduce((sum, call) => sum + call.rowsWritten, 0);
    expect(written("d1")).toBeGreaterThan(0);
    expect(written("d1")).toBeLessThanOrEqual(7);
    expect(written("object")).toBe(1);
    expect(rowsReadBy(calls)).toBeLessThan(40);
  });

  it("a replay asks neither D1 nor the object's storage", async () => {
    const key = `replay-${tenant.name}`;
    await tenant.pay({}, { key });
    const calls = await server().trace(async () => tenant.pay({}, { key }));
    // Every five seconds the Worker asks another object for the revoked tokens, behind whatever request comes first.
    expect(
      calls.filter(isOfTheRequest).filter(({ text }) => !text.includes("FROM revoked")),
    ).toEqual([]);
  });
});
