import { describe, expect, it } from "vitest";
import { classifyFailure, statement } from "../../../src/journal/database.ts";
import { STATEMENT_PARAMS_MAX } from "../../../src/kernel/limits.ts";
import { joinSql, sql } from "../../../src/kernel/sql.ts";
import { withTimeout } from "../../../src/kernel/timeout.ts";

/** As D1 words it, by what went wrong. */
const extended = (kind: string) => `SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_${kind})`;

describe("52: SQLite's own verdict proves that the batch was undone", () => {
  it.each([
    [
      `D1_ERROR: CHECK constraint failed: account_overdraft: ${extended("CHECK")}`,
      "account_overdraft",
    ],
    [
      `D1_ERROR: CHECK constraint failed: product_quantity: ${extended("CHECK")}`,
      "product_quantity",
    ],
    [`D1_ERROR: refund_reverses_payment: ${extended("TRIGGER")}`, "refund_reverses_payment"],
    [`D1_ERROR: transfer_is_final: ${extended("TRIGGER")}`, "transfer_is_final"],
  ])("%s names its constraint", (message, constraint) => {
    expect(classifyFailure(new Error(message))).toEqual({ kind: "aborted", constraint });
  });

  it.each([
    `D1_ERROR: UNIQUE constraint failed: transfers.tenant, transfers.id: ${extended("PRIMARYKEY")}`,
    `D1_ERROR: UNIQUE constraint failed: accounts.tenant, accounts.id, accounts.currency: ${extended("UNIQUE")}`,
    `D1_ERROR: FOREIGN KEY constraint failed: ${extended("FOREIGNKEY")}`,
    `D1_ERROR: NOT NULL constraint failed: accounts.currency: ${extended("NOTNULL")}`,
    `D1_ERROR: cannot store TEXT value in INTEGER column accounts.overdraft_limit: ${extended("DATATYPE")}`,
    "D1_ERROR: string or blob too big: SQLITE_TOOBIG",
    "D1_ERROR: integer overflow: SQLITE_ERROR",
    "D1_ERROR: malformed JSON: SQLITE_ERROR",
    "D1_ERROR: datatype mismatch: SQLITE_MISMATCH",
    'D1_ERROR: near "SELEC": syntax error at offset 0: SQLITE_ERROR',
  ])("%s has no name that an operation could know: the text stands for it", (message) => {
    expect(classifyFailure(new Error(message))).toEqual({ kind: "aborted", constraint: message });
  });
});

describe("a missing migration is told apart, so that no key is spent on it", () => {
  it.each([
    "D1_ERROR: no such table: journal: SQLITE_ERROR",
    "D1_ERROR: no such column: refunded at offset 7: SQLITE_ERROR",
    "D1_ERROR: table transfers has no column named refunded: SQLITE_ERROR",
  ])("%s", (message) => {
    expect(classifyFailure(new Error(message))).toEqual({ kind: "not-migrated" });
  });
});

describe("50, 51, 54: every other text proves nothing", () => {
  it.each([
    "D1_ERROR: Network connection lost.",
    "D1_ERROR: D1 DB reset because its code was updated.",
    "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.",
    "D1_ERROR: Internal error in D1 DB storage caused object to be reset.",
    "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.",
    "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
    "D1_ERROR: D1 DB is overloaded. Too many requests queued.",
    "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
    "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
    "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.",
    "D1_ERROR: database or disk is full: SQLITE_FULL",
    "D1_ERROR: disk I/O error: SQLITE_IOERR",
    "D1_ERROR: database is locked: SQLITE_BUSY",
    "No answer within 2000 ms.",
    "A text of next year's release.",
    "",
  ])("%j may have been applied, or may yet be", (message) => {
    expect(classifyFailure(new Error(message))).toEqual({ kind: "unknown", message });
  });

  it.each([
    [undefined, "undefined"],
    [null, "null"],
    [5, "5"],
    ["text", "text"],
    [{ message: "SQLITE_CONSTRAINT" }, "[object Object]"],
  ])("%j, thrown by something strange, proves nothing either", (thrown, message) => {
    expect(classifyFailure(thrown)).toEqual({ kind: "unknown", message });
  });
});

it("50: an answer that does not come proves nothing of what was sent", async () => {
  const never = new Promise<never>(() => undefined);
  const late = await withTimeout(never, 5).catch((error: unknown) => error);
  expect(classifyFailure(late).kind).toBe("unknown");
});

describe("a statement with more parameters than D1 takes", () => {
  const reached = (): never => {
    throw new Error("the database was reached");
  };
  /** What comes of a statement with so many parameters: this database only says that it was asked. */
  const failureWith = (count: number): unknown => {
    const values = Array.from({ length: count }, (_, i) => sql`${i}`);
    try {
      return statement({ prepare: reached, batch: reached }, sql`SELECT ${joinSql(values, ", ")}`);
    } catch (error) {
      return error;
    }
  };

  it("is not sent; one with as many as it takes is", () => {
    expect(failureWith(STATEMENT_PARAMS_MAX)).toMatchObject({
      message: "the database was reached",
    });
    expect(failureWith(STATEMENT_PARAMS_MAX + 1)).toMatchObject({
      name: "StatementRefused",
      message: "A statement has 101 parameters; D1 takes 100.",
    });
  });

  it("52: has certainly changed nothing", () => {
    expect(classifyFailure(failureWith(STATEMENT_PARAMS_MAX + 1))).toEqual({
      kind: "aborted",
      constraint: "A statement has 101 parameters; D1 takes 100.",
    });
  });
});
