/**
 * The server process of the crash rig: Miniflare and, below it, workerd, in one process group that is killed as a
 * whole. It starts nothing until it is told what, so that the next one can stand ready while this one runs.
 */
import { flushCompileCache } from "node:module";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { FromServer, ToServer } from "./crash-server.ts";

const reply = (message: FromServer): void => {
  // If nobody is there to hear it, `disconnect` has the answer.
  process.send?.(message, undefined, undefined, () => {});
};

let miniflare: Miniflare | undefined;

const start = async ({ options, schema }: Extract<ToServer, { do: "start" }>) => {
  miniflare = new Miniflare(convertV4MiniflareOptions(options));
  await miniflare.ready;
  if (schema !== undefined) {
    const db = await miniflare.getD1Database("DB");
    await db.batch(schema.map((statement) => db.prepare(statement)));
  }
  // Not through Miniflare's own entry worker: that is another hop, and nothing of the product.
  reply({ is: "ready", url: (await miniflare.unsafeGetDirectURL()).href });
};

const query = async (sql: string) => {
  const db = await miniflare?.getD1Database("DB");
  const result = await db?.prepare(sql).all();
  reply({ is: "rows", rows: result?.results ?? [] });
};

process.on("message", (message: ToServer) => {
  const work = message.do === "start" ? start(message) : query(message.sql);
  work.catch((error: unknown) => reply({ is: "failed", reason: String(error) }));
});

// Whoever started this group is gone, however that came: nothing may be left running.
process.on("disconnect", () => process.kill(-process.pid, "SIGKILL"));

// Node would write it when it ends, and this process is not let end.
flushCompileCache();

reply({ is: "waiting" });
