/** The audit log: one row for what happens, in its transaction; and the chain that shows when somebody changes it. */
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { sealAudit, verifyAudit } from "../../src/audit/sealing.ts";
import { appendSeal, lastSeal, writeAuditNote } from "../../src/journal/audit-log.ts";
import { keyHash } from "../../src/kernel/hash.ts";
import { SEAL_ROWS, SEALS_PER_RUN } from "../../src/kernel/limits.ts";
import { FaultyDatabase } from "../support/faulty-database.ts";
import { expectSoundBooks, openBooks } from "./support/books.ts";
import { idIn, payment, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

const auditOf = async (tenant: string) => {
  const { results } = await env.DB.prepare(
    "SELECT kind, operation, actor, request_id, key_hash, status, code, link FROM audit WHERE tenant = ? ORDER BY seq",
  )
    .bind(tenant)
    .all();
  return results;
};

const books = () => openBooks({ accounts: { alice: 100, bob: 0 } });

describe("the audit log", () => {
  it("has one row for an effect and one for a refusal: who asked, of what key, and what came of it", async () => {
    const tenant = await books();
    const one = incarnation();
    const calls = [payment(tenant, "alice", "bob", 60), payment(tenant, "alice", "bob", 60)];
    const [paid, refused] = await one.submitAll(calls);
    if (paid === undefined || refused === undefined) throw new Error("no reply");

    expect([paid, refused].map(verdict)).toEqual([201, 402]);
    const row = (i: number) => ({
      operation: "payments.create",
      actor: "caller-hash",
      request_id: calls[i]?.requestId,
      key_hash: keyHash(tenant, calls[i]?.key ?? ""),
    });
    expect(await auditOf(tenant)).toEqual([
      { kind: "effect", ...row(0), status: 201, code: null, link: `/v1/payments/${idIn(paid)}` },
      { kind: "refusal", ...row(1), status: 402, code: "insufficient-funds", link: null },
    ]);
  });

  it.each(["late", "late-twice", "twice", "twice-lost", "twice-late", "lost-after"] as const)(
    "has one row all the same for a batch that is %s",
    async (fault) => {
      const tenant = await books();
      const one = incarnation();
      one.db.next(fault);
      expect(verdict(await one.time.passing(one.submit(payment(tenant, "alice", "bob", 1))))).toBe(
        201,
      );
      await one.db.deliverLate();

      expect(await auditOf(tenant)).toHaveLength(1);
      await expectSoundBooks(tenant);
    },
  );

  it("has no row for a replay, a mismatch and a request that is not valid", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    await one.submit(call);
    await one.submit(call);
    await one.submit({ ...payment(tenant, "alice", "bob", 2), key: call.key });
    await one.submit(payment(tenant, "alice", "bob", -1));

    expect(await auditOf(tenant)).toHaveLength(1);
  });

  it("72: an erasure asked for twice, also at once, is one row", async () => {
    const tenant = await books();
    const one = incarnation();
    const call = payment(tenant, "alice", "bob", 1);
    await one.submit(call);
    await Promise.all([one.erase(call), one.erase(call)]);
    await one.erase(call);

    expect((await auditOf(tenant)).map(({ kind }) => kind)).toEqual(["effect", "erasure"]);
  });

  it("is not changed, not emptied, not written over and not extended with a gap", async () => {
    const tenant = await books();
    await incarnation().submit(payment(tenant, "alice", "bob", 1));
    const row = "at_ms, tenant, kind, operation, actor, request_id";
    const values = "0, 't', 'action', 'o', 'a', 'r'";
    for (const [change, why] of [
      ["UPDATE audit SET link = 'x'", "audit_is_final"],
      ["DELETE FROM audit", "audit_is_final"],
      [`INSERT OR REPLACE INTO audit (seq, ${row}) VALUES (1, ${values})`, "audit_is_final"],
      [`INSERT INTO audit (seq, ${row}) VALUES (1000000, ${values})`, "audit_without_gap"],
      [`INSERT INTO audit (seq, ${row}) VALUES (0, ${values})`, "audit_without_gap"],
    ] as const) {
      await expect(env.DB.prepare(change).run()).rejects.toThrow(why);
    }
  });
});

describe("the seals", () => {
  /** Without its triggers, as somebody would who may write to the database. */
  const tamper = async (...statements: readonly string[]): Promise<void> => {
    const { results } = await env.DB.prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'audit%'",
    ).all<{ name: string; sql: string }>();
    await env.DB.batch(
      [
        ...results.map(({ name }) => `DROP TRIGGER ${name}`),
        ...statements,
        ...results.map(({ sql }) => sql),
      ].map((statement) => env.DB.prepare(statement)),
    );
  };

  const fill = async (rows: number): Promise<void> => {
    await env.DB.prepare(
      `INSERT INTO audit (at_ms, tenant, kind, operation, actor, request_id)
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       SELECT i, 't', 'effect', 'op', 'a', 'r' || i FROM n ORDER BY i`,
    )
      .bind(rows)
      .run();
  };

  beforeEach(async () => {
    await tamper("DELETE FROM audit", "DELETE FROM audit_seals");
  });

  it("cover every row, in pages, and a second run makes none", async () => {
    await fill(SEAL_ROWS * 2 + 5);
    expect((await sealAudit(env.DB, 1, SEALS_PER_RUN)).made).toBe(3);
    expect((await sealAudit(env.DB, 2, SEALS_PER_RUN)).made).toBe(0);
    expect((await lastSeal(env.DB))?.seqTo).toBe(SEAL_ROWS * 2 + 5);
    expect(await verifyAudit(env.DB, 0)).toMatchObject({
      findings: [],
      next: null,
      checkedTo: SEAL_ROWS * 2 + 5,
    });
  });

  it("begin behind the last one: a seal that would leave rows out is not appended", async () => {
    await fill(3);
    const behind = { seqFrom: 2, seqTo: 3, hash: "h", digests: "" };
    expect(await appendSeal(env.DB, behind, 1)).toBe(false);
    expect(await lastSeal(env.DB)).toBeUndefined();
    expect((await sealAudit(env.DB, 1, 10)).made).toBe(1);
    expect(await appendSeal(env.DB, { ...behind, seqFrom: 5, seqTo: 5 }, 1)).toBe(false);
    expect(await lastSeal(env.DB)).toMatchObject({ seqFrom: 1, seqTo: 3 });
  });

  it("are not changed, not removed and not written over", async () => {
    await fill(3);
    await sealAudit(env.DB, 1, 10);
    const seal = "INSERT OR REPLACE INTO audit_seals VALUES (1, 1, 'forged', '', 0)";
    const stored = async () => (await env.DB.prepare("SELECT * FROM audit_seals").all()).results;
    const before = await stored();

    for (const edit of ["UPDATE audit_seals SET hash = 'forged'", "DELETE FROM audit_seals"]) {
      await expect(env.DB.prepare(edit).run()).rejects.toThrow("audit_is_final");
    }
    // To seal from there once more is no mistake: it changes nothing.
    await env.DB.prepare(seal).run();

    expect(before).toHaveLength(1);
    expect(await stored()).toEqual(before);
  });

  it("are the same chain when several runs make them at once, and when one dies after any of them", async () => {
    await fill(SEAL_ROWS * 3);
    await Promise.allSettled([
      sealAudit(env.DB, 1, SEALS_PER_RUN),
      sealAudit(env.DB, 1, SEALS_PER_RUN),
      sealAudit(new FaultyDatabase(env.DB, { readFault: () => "lost" }), 1, 1),
      sealAudit(env.DB, 1, 1),
    ]);
    await sealAudit(env.DB, 1, SEALS_PER_RUN);
    expect(await verifyAudit(env.DB, 0)).toMatchObject({ findings: [], checkedTo: SEAL_ROWS * 3 });
  });

  it("name what was changed, removed or put in, wherever it is; a check goes on where the last one stopped", async () => {
    await fill(SEAL_ROWS * 2);
    await sealAudit(env.DB, 1, SEALS_PER_RUN);
    const sound = await verifyAudit(env.DB, 0);
    expect(sound.findings).toEqual([]);
    await fill(10);
    await tamper(
      "UPDATE audit SET link = '/v1/payments/other' WHERE seq = 7",
      `DELETE FROM audit WHERE seq = ${SEAL_ROWS + 3}`,
      `INSERT INTO audit (seq, at_ms, tenant, kind, operation, actor, request_id) VALUES (0, 0, 't', 'effect', 'o', 'a', 'r')`,
      // Not sealed yet: that one is missing is seen all the same.
      `DELETE FROM audit WHERE seq = ${SEAL_ROWS * 2 + 4}`,
    );
    expect((await verifyAudit(env.DB, 0)).findings).toEqual([
      { kind: "row-inserted", seq: 0 },
      { kind: "row-changed", seq: 7 },
      { kind: "row-missing", seq: SEAL_ROWS + 3 },
      { kind: "row-missing", seq: SEAL_ROWS * 2 + 4 },
    ]);
    expect((await verifyAudit(env.DB, SEAL_ROWS)).findings).toEqual([
      { kind: "row-missing", seq: SEAL_ROWS + 3 },
      { kind: "row-missing", seq: SEAL_ROWS * 2 + 4 },
    ]);
    // A log with a hole is not sealed over it.
    await expect(sealAudit(env.DB, 1, SEALS_PER_RUN)).rejects.toThrow("is missing");
    expect(sound.head).toEqual({ seq: SEAL_ROWS * 2, hash: (await lastSeal(env.DB))?.hash });
  });

  it("follow the order of commits and no clock: a row from before is sealed behind the newer ones", async () => {
    const note = {
      tenant: "",
      actor: "a",
      requestId: "r",
      kind: "action",
      operation: "o",
    } as const;
    await writeAuditNote(env.DB, { ...note, atMs: 2_000 });
    await sealAudit(env.DB, 5_000, 1);
    await writeAuditNote(env.DB, { ...note, atMs: 1_000 });
    await sealAudit(env.DB, 4_000, 1);
    expect(await verifyAudit(env.DB, 0)).toMatchObject({ findings: [], checkedTo: 2, seals: 2 });
  });
});
