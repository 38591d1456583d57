/** The console with ten thousand requests in it: no page grows with them, and every row is on one page. */
import { Buffer } from "node:buffer";
import { beforeAll, describe, expect, it } from "vitest";
import { type Console, openConsole } from "../support/console.ts";
import { fillRequests, LIST_PAGES } from "../support/console-many.ts";
import { useServers } from "../support/suite.ts";

const REQUESTS = 10_000;
const PAGE_BYTES_MAX = 100_000;

const serverFor = useServers({ one: {} });
const server = () => serverFor("one");

let operator: Console;
beforeAll(async () => {
  await fillRequests(server(), REQUESTS);
  operator = await openConsole(server(), { scope: "ops:read ops:support ops:act" });
});

describe("with 10,000 requests", () => {
  it.each(LIST_PAGES)("%s stays under 100 KB", async (path) => {
    const page = await operator.get(path);
    expect(page.status).toBe(200);
    // It shows something: an empty page is small.
    expect(page.text).toMatch(/<tbody>.*<tr>|<svg/s);
    expect(Buffer.byteLength(page.text)).toBeLessThan(PAGE_BYTES_MAX);
  });

  it.each([
    ["in-flight", 120],
    ["uncertain", 120],
  ])("every key that is %s is on one page, the oldest first", async (state, count) => {
    const keys: string[] = [];
    let path: string | undefined = `/console/requests?state=${state}`;
    for (let pages = 0; path !== undefined && pages < 10; pages++) {
      const { text }: { readonly text: string } = await operator.get(path);
      keys.push(...[...text.matchAll(/data-copy="([^"]+)"/g)].map(([, key = ""]) => key));
      path = /<a (?=[^>]*rel="next")[^>]*href="([^"]+)"/.exec(text)?.[1]?.replaceAll("&amp;", "&");
      path = path?.replaceAll("&quot;", '"');
    }
    expect(keys).toHaveLength(count);
    expect(new Set(keys).size).toBe(count);
    const rows = await server().sql(
      "SELECT key FROM journal WHERE state = ? ORDER BY created_at_ms, tenant, key",
      state,
    );
    expect(keys).toEqual(rows.map(({ key }) => key));
  });

  it("a filter finds the one among many", async () => {
    const page = await operator.get("/console/requests?state=uncertain&tenant=rare");
    expect([...page.text.matchAll(/data-copy="/g)]).toHaveLength(1);
    expect((await operator.get("/console/requests?state=uncertain&after=[1]")).status).toBe(400);
    expect((await operator.get("/console/requests?state=uncertain&after=x")).status).toBe(400);
  });
});
