/** Spoils the books, for the reconciliation to find. */
import { env } from "cloudflare:workers";

/** Without its triggers, as somebody would who may write to the database. */
export const corrupt = async (...statements: readonly string[]): Promise<void> => {
  const { results } = await env.DB.prepare(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
  ).all<{ name: string; sql: string }>();
  await env.DB.batch(
    [
      "PRAGMA defer_foreign_keys = ON",
      ...results.map(({ name }) => `DROP TRIGGER ${name}`),
      ...statements,
      ...results.map(({ sql }) => sql),
    ].map((statement) => env.DB.prepare(statement)),
  );
};
