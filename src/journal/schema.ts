/**
 * Which schema this build needs, and whether a database has it. Of our own Worker's database that is said by the newest
 * migration. A host numbers migrations as it likes, so there the tables themselves are asked.
 */
import { withTimeout } from "../kernel/timeout.ts";
import { classifyFailure, type Database, statement } from "./database.ts";
import { SEND_TIMEOUT_MS } from "../kernel/limits.ts";
import { type Sql, sql } from "../kernel/sql.ts";
import { RECORD_COLUMNS } from "./statements.ts";

/** The newest file of `migrations/`; a test compares. */
export const NEWEST_MIGRATION = "0012_redrive.sql";

/** The migration that is not applied yet, undefined if all are. Throws if the database does not answer. */
export const missingMigration = async (db: Database): Promise<string | undefined> => {
  try {
    const applied = db
      .prepare("SELECT 1 FROM d1_migrations WHERE name = ?")
      .bind(NEWEST_MIGRATION)
      .first();
    return (await withTimeout(applied, SEND_TIMEOUT_MS)) === null ? NEWEST_MIGRATION : undefined;
  } catch (error) {
    // Before the first migration, not even the table that counts them is there.
    if (String(error).includes("no such table")) return "0001_journal.sql";
    throw error;
  }
};

/** What the engine reads and writes, whatever the operations are, and the file of `migrations/` that makes it. */
export const ENGINE_TABLES: readonly {
  readonly file: string;
  readonly probe: Sql;
  /** Whether it has to find something; else it is enough that it can be asked. */
  readonly finds?: true;
}[] = [
  {
    file: "0001_journal.sql",
    probe: sql`SELECT tenant, deliveries, ${RECORD_COLUMNS} FROM journal LIMIT 0`,
  },
  {
    file: "0005_housekeeping.sql",
    probe: sql`SELECT pass, tenant, key FROM housekeeping LIMIT 0`,
  },
  {
    file: "0007_audit.sql",
    probe: sql`SELECT seq, detail FROM audit LIMIT 0`,
  },
  {
    file: "0010_claims_audited.sql",
    // It comes behind the columns that it reads.
    probe: sql`SELECT name FROM sqlite_master WHERE type = 'trigger' AND name = 'journal_claim_audited'`,
    finds: true,
  },
  {
    file: "0011_issue_work.sql",
    probe: sql`SELECT key, object FROM issues LIMIT 0`,
  },
];

/** The same for keys whose effect is outside the database. */
export const EXCHANGE_TABLE: (typeof ENGINE_TABLES)[number] = {
  file: "0006_gateway.sql",
  probe: sql`SELECT tenant, key, digest FROM resolutions LIMIT 0`,
};

/**
 * The file that makes the first table that is missing or lacks a column. Throws if the database does not answer.
 * @param opens whether there are operations with an external step
 */
export const missingEngineTable = async (
  db: Database,
  opens: boolean,
): Promise<string | undefined> => {
  for (const { file, probe, finds } of opens ? [...ENGINE_TABLES, EXCHANGE_TABLE] : ENGINE_TABLES) {
    try {
      const { results } = await withTimeout(statement(db, probe).all(), SEND_TIMEOUT_MS);
      if (finds && results.length === 0) return file;
    } catch (error) {
      if (classifyFailure(error).kind === "not-migrated") return file;
      throw error;
    }
  }
  return undefined;
};
