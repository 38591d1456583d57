/**
 * The part of a D1 database that Latchkey uses, and what its errors prove. The tests put wrappers that lose,
 * delay and repeat batches behind the same type.
 */
import { STATEMENT_PARAMS_MAX } from "../kernel/limits.ts";
import { renderSql, type Sql } from "../kernel/sql.ts";

export type Database = Pick<D1Database, "prepare" | "batch">;

/** Prepares and binds. */
export const statement = (db: Database, piece: Sql): D1PreparedStatement => {
  const { text, params } = renderSql(piece);
  if (params.length > STATEMENT_PARAMS_MAX) {
    throw new StatementRefused(
      `A statement has ${params.length} parameters; D1 takes ${STATEMENT_PARAMS_MAX}.`,
    );
  }
  return db.prepare(text).bind(...params);
};

/** A statement that D1 would refuse; it was not sent. */
class StatementRefused extends Error {
  override readonly name = "StatementRefused";
}

export type DatabaseFailure =
  /** The database judged the batch and undid it: certainly nothing was applied. */
  | { readonly kind: "aborted"; readonly constraint: string }
  /** Tables are missing: `wrangler d1 migrations apply` has not run. Nothing was applied. */
  | { readonly kind: "not-migrated" }
  /** Anything else, a lost connection or a time-out: it may have been applied, or may yet be. */
  | { readonly kind: "unknown"; readonly message: string };

/**
 * D1's errors are texts. Only SQLite's own verdict on a statement proves that the batch was undone; every
 * other text, known or new, proves nothing.
 */
export const classifyFailure = (error: unknown): DatabaseFailure => {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StatementRefused) return { kind: "aborted", constraint: message };
  if (/\bno such (table|column)\b|\bhas no column named\b/.test(message))
    return { kind: "not-migrated" };
  if (!/SQLITE_(CONSTRAINT|ERROR|MISMATCH|TOOBIG|RANGE)/.test(message)) {
    return { kind: "unknown", message };
  }
  return { kind: "aborted", constraint: constraintIn(message) };
};

/** The constraint's name, a trigger's RAISE code, or the message itself. */
const constraintIn = (message: string): string =>
  /CHECK constraint failed: (\w+)/.exec(message)?.[1] ??
  /D1_ERROR: (\w+): SQLITE_CONSTRAINT/.exec(message)?.[1] ??
  message;

/** Numbers and text come back as they went in; whoever reads a row parses it. */
export type DatabaseRow = Readonly<Record<string, unknown>>;
