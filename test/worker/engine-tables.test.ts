/** A host's database that has the columns and not the trigger would write no audit row, and tell nobody. */
import { applyD1Migrations } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { missingEngineTable } from "../../src/journal/schema.ts";

beforeAll(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));

describe("a host's database without the trigger that audits claims", () => {
  it("is told apart from one that is migrated", async () => {
    expect(await missingEngineTable(env.DB, false)).toBeUndefined();
    await env.DB.exec("DROP TRIGGER journal_claim_audited");
    expect(await missingEngineTable(env.DB, false)).toBe("0010_claims_audited.sql");
  });
});
