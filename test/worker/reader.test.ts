/** What operations and queries may read: their tenant's rows, and never for longer than a request can wait. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { ReadFailed, tenantReader } from "../../src/journal/reader.ts";
import { SEND_TIMEOUT_MS } from "../../src/kernel/limits.ts";
import { sql } from "../../src/kernel/sql.ts";
import { openBooks } from "./support/books.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

describe("a tenant's reader", () => {
  it("24: gives its own rows alone, whatever the condition would let through", async () => {
    const [mine] = [
      await openBooks({ accounts: { alice: 1 } }),
      await openBooks({ accounts: { alice: 2, eve: 3 } }),
    ];
    const reader = tenantReader(env.DB, mine);
    const selection = {
      table: "accounts",
      columns: ["tenant", "id"],
      where: sql`id = ${"alice"} OR id = ${"eve"}`,
    };

    expect(await reader.rows(selection)).toEqual([{ tenant: mine, id: "alice" }]);
    expect(await reader.first({ ...selection, where: sql`false OR true`, order: "id" })).toEqual({
      tenant: mine,
      id: "alice",
    });
    expect(await reader.first({ ...selection, where: sql`id = ${"eve"}` })).toBeUndefined();
  });

  it("54: gives up when the database fails, or does not answer within the time of a send", async () => {
    const one = incarnation();
    const reader = tenantReader(one.db, "t");
    const read = () => reader.rows({ table: "accounts", columns: ["id"], where: sql`true` });
    one.db.nextReads("lost");
    await expect(one.run(read)).rejects.toBeInstanceOf(ReadFailed);

    one.db.nextReads("stalled");
    const stalled = one.run(read).catch((error: unknown) => error);
    await one.quiet();
    await one.advance(SEND_TIMEOUT_MS);
    expect(await stalled).toBeInstanceOf(ReadFailed);
  });
});
