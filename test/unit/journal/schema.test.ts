import { expect, it } from "vitest";
import { ENGINE_TABLES, EXCHANGE_TABLE, NEWEST_MIGRATION } from "../../../src/journal/schema.ts";
import { RECORD_COLUMNS } from "../../../src/journal/statements.ts";
import { sql, trusted } from "../../../src/kernel/sql.ts";
import { migrations, Sqlite } from "../sqlite.ts";

it("the migration that this build asks for is the newest there is", () => {
  expect(NEWEST_MIGRATION).toBe(migrations.at(-1));
});

it("migrations are numbered without a gap, so that they are applied in one order everywhere", () => {
  expect(migrations.map((name) => Number(name.slice(0, 4)))).toEqual(
    migrations.map((_, i) => i + 1),
  );
});

it("the columns that a claim gives back are columns of the journal", () => {
  expect(() => new Sqlite().rows(sql`SELECT ${RECORD_COLUMNS} FROM journal`)).not.toThrow();
});

/** All that a host may need. */
const TABLES = [...ENGINE_TABLES, EXCHANGE_TABLE];

it("a host that applies only what the engine names has what the engine asks for", () => {
  const db = new Sqlite(TABLES.map(({ file }) => file));
  for (const { probe, finds } of TABLES) expect(db.rows(probe)).toHaveLength(finds ? 1 : 0);
});

it("each of them is asked for: without it a host is told which", () => {
  for (const [i, { probe, finds }] of TABLES.entries()) {
    const db = new Sqlite(TABLES.slice(0, i).map(({ file }) => file));
    const ask = () => {
      if (db.rows(probe).length === 0 && finds) throw new Error("no such trigger");
    };
    expect(ask).toThrow(/no such (table|column|trigger)/);
  }
});

/** Of the service itself, and what is read in the order of commits, across tenants. */
const NO_TENANTS = new Set([
  "housekeeping",
  "audit",
  "audit_seals",
  "issues",
  "metrics",
  "scheduled_state",
  "operator_actions",
]);

it("every table that holds business or keys begins its primary key with the tenant", () => {
  const db = new Sqlite();
  const tables = db.rows(
    sql`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
  );
  expect(tables.length).toBeGreaterThan(5);
  for (const { name } of tables) {
    if (NO_TENANTS.has(String(name))) continue;
    const [first] = db.rows(
      sql`SELECT name FROM ${trusted(`pragma_table_info('${String(name)}')`)} WHERE pk = 1`,
    );
    expect(first, `of ${String(name)}`).toEqual({ name: "tenant" });
  }
});

it("every CHECK has a name: the name is what an operation maps to a refusal", () => {
  const db = new Sqlite();
  for (const row of db.rows(sql`SELECT sql FROM sqlite_master WHERE type = 'table'`)) {
    const text = String(row["sql"]);
    expect(text.match(/\bCHECK\b/g)?.length ?? 0).toBe(
      text.match(/\bCONSTRAINT \w+ CHECK\b/g)?.length ?? 0,
    );
  }
});
