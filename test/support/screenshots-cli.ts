/** `npm run screenshots`: pictures of the console's pages for docs/console.md, from a server with a shop's morning on it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { main, root } from "../../scripts/tool.ts";
import { openPage, startBrowser } from "./browser.ts";
import { fillConsole, signInTo } from "./console-scene.ts";
import { startServer } from "./server.ts";

const FOLDER = join(root, "docs/console");

const WIDE = { colorScheme: "light", viewport: { width: 1440, height: 900 } } as const;
const DARK = { ...WIDE, colorScheme: "dark" } as const;
const NARROW = { colorScheme: "light", viewport: { width: 320, height: 640 } } as const;

await main(async () => {
  mkdirSync(FOLDER, { recursive: true });
  const server = await startServer();
  const browser = await startBrowser();
  try {
    await fillConsole(server);
    // Replays are written down behind the answers.
    while ((await server.sql("SELECT 1 FROM audit WHERE operation = 'keys.tally'")).length === 0) {
      await sleep(250);
    }
    const seqOf = async (
      operation: string,
      order: "ASC" | "DESC",
      kind = "effect",
    ): Promise<string> => {
      const [row] = await server.sql(
        `SELECT seq FROM audit WHERE kind = ? AND (link IS NOT NULL OR kind = 'started') AND operation = ? ORDER BY seq ${order} LIMIT 1`,
        kind,
        operation,
      );
      return String(row?.["seq"]);
    };
    const payment = `/console/requests/DB/${await seqOf("payments.create", "ASC")}`;
    const order = `/console/requests/DB/${await seqOf("orders.create", "DESC")}`;
    const uncertain = `/console/requests/DB/${await seqOf("payouts.create", "ASC", "started")}`;
    const [issue] = await server.sql("SELECT id FROM issues WHERE state = 'open' LIMIT 1");
    const pictures = [
      ["overview", "/console?range=15m", WIDE],
      ["overview-dark", "/console?range=15m", DARK],
      ["overview-narrow", "/console?range=15m", NARROW],
      ["requests", "/console/requests", WIDE],
      ["requests-narrow", "/console/requests", NARROW],
      ["replays", "/console/requests?state=retries", WIDE],
      ["in-flight", "/console/requests?state=in-flight", WIDE],
      ["request", payment, WIDE],
      ["request-dark", order, DARK],
      ["request-narrow", payment, NARROW],
      ["search-empty", "/console/search?q=nothing-goes-by-that-name", WIDE],
      ["issues", "/console/issues?state=all", WIDE],
      ["issues-dark", "/console/issues?state=all", DARK],
      ["confirm", `/console/issues/confirm?state=resolved&id=${String(issue?.["id"])}`, WIDE],
      ["redrive", "/console/redrive?issue=a1&issue=a2", WIDE],
      ["redrive-narrow", "/console/redrive?issue=a1&issue=a2", NARROW],
      ["resolution", "/console/resolution?issue=a1", WIDE],
      ["resolution-narrow", "/console/resolution?issue=a1", NARROW],
      ["resolution-dark", "/console/resolution?issue=a1", DARK],
      ["issues-narrow", "/console/issues?state=all", NARROW],
      ["uncertain", "/console/requests?state=uncertain", WIDE],
      ["request-uncertain", uncertain, WIDE],
      ["ledger", "/console/ledger", WIDE],
      ["entries", "/console/ledger/entries?tenant=books-and-mugs&account=alice", WIDE],
      ["payments", "/console/ledger/transfers", WIDE],
      ["orders", "/console/orders", WIDE],
      ["stock", "/console/stock", WIDE],
    ] as const;
    for (const options of [WIDE, DARK, NARROW]) {
      const { page } = await openPage(browser, server.origin, options);
      if (options === WIDE) {
        await page.goto(`${server.origin}/console/sign-in`);
        await page.screenshot({ path: join(FOLDER, "sign-in.png") });
      }
      await signInTo(page, server.origin);
      for (const [name, path] of pictures.filter(([, , of]) => of === options)) {
        await page.goto(server.origin + path);
        await page.screenshot({
          path: join(FOLDER, `${name}.png`),
          // A long list shows its beginning.
          fullPage: !name.startsWith("requests"),
        });
      }
    }
  } finally {
    await browser.close();
    await server.stop();
  }
});
