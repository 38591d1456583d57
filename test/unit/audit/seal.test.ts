import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AuditFinding, checkSeal, sealOf } from "../../../src/audit/seal.ts";
import type { AuditRow, StoredSeal } from "../../../src/journal/audit-row.ts";
import { property, text } from "../property.ts";

const fields = fc.record({
  atMs: fc.nat(),
  tenant: text,
  kind: fc.constantFrom("effect" as const, "refusal" as const, "read" as const),
  operation: text,
  actor: text,
  requestId: text,
  keyHash: fc.option(text),
  status: fc.option(fc.nat(600)),
  code: fc.option(text),
  link: fc.option(text),
  detail: fc.option(text),
});

/** A log of a few pages, and its seals. */
const sealed = fc
  .array(fc.array(fields, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 })
  .map((pages) => {
    const seals: StoredSeal[] = [];
    const rows: AuditRow[] = [];
    for (const page of pages) {
      const numbered = page.map((row, i): AuditRow => ({ ...row, seq: rows.length + i + 1 }));
      seals.push(sealOf(seals.at(-1), numbered));
      rows.push(...numbered);
    }
    return { seals, rows };
  });

const check = (seals: readonly StoredSeal[], rows: readonly AuditRow[]): AuditFinding[] =>
  seals.flatMap((seal, i) =>
    checkSeal(
      seals[i - 1],
      seal,
      rows.filter(({ seq }) => seq >= seal.seqFrom && seq <= seal.seqTo),
    ),
  );

const CHANGES: { [Column in Exclude<keyof AuditRow, "seq">]: (row: AuditRow) => AuditRow } = {
  atMs: (row) => ({ ...row, atMs: row.atMs + 1 }),
  tenant: (row) => ({ ...row, tenant: `${row.tenant}x` }),
  kind: (row) => ({ ...row, kind: "action" }),
  operation: (row) => ({ ...row, operation: `${row.operation}x` }),
  actor: (row) => ({ ...row, actor: `${row.actor}x` }),
  requestId: (row) => ({ ...row, requestId: `${row.requestId}x` }),
  keyHash: (row) => ({ ...row, keyHash: `${row.keyHash ?? ""}x` }),
  status: (row) => ({ ...row, status: (row.status ?? 0) + 1 }),
  code: (row) => ({ ...row, code: `${row.code ?? ""}x` }),
  link: (row) => ({ ...row, link: `${row.link ?? ""}x` }),
  detail: (row) => ({ ...row, detail: `${row.detail ?? ""}x` }),
};

describe("the chain over the audit log", () => {
  property(
    "of a log that nobody has touched fits",
    fc.property(sealed, ({ seals, rows }) => {
      expect(check(seals, rows)).toEqual([]);
    }),
  );

  property(
    "names a row of which one column was changed, and no other",
    fc.property(
      sealed,
      fc.nat(),
      fc.constantFrom(...Object.values(CHANGES)),
      ({ seals, rows }, at, change) => {
        const { seq } = rows[at % rows.length] ?? { seq: 0 };
        const changed = rows.map((row) => (row.seq === seq ? change(row) : row));
        expect(check(seals, changed)).toEqual([{ kind: "row-changed", seq }]);
      },
    ),
  );

  property(
    "names a row that was removed, and no other",
    fc.property(sealed, fc.nat(), ({ seals, rows }, at) => {
      const { seq } = rows[at % rows.length] ?? { seq: 0 };
      expect(
        check(
          seals,
          rows.filter((row) => row.seq !== seq),
        ),
      ).toEqual([{ kind: "row-missing", seq }]);
    }),
  );

  property(
    "names a seal that was removed, unless it was the last",
    fc.property(sealed, fc.nat(), ({ seals, rows }, at) => {
      fc.pre(seals.length > 1);
      const gone = seals[at % (seals.length - 1)];
      const left = seals.filter((seal) => seal !== gone);
      expect(check(left, rows)).toContainEqual({ kind: "seal-missing", seq: gone?.seqFrom });
    }),
  );

  property(
    "is broken where a row was changed together with its digest and its own seal",
    fc.property(sealed, ({ seals, rows }) => {
      fc.pre(seals.length > 1);
      const [first] = seals;
      const forgedRows = rows.map((row) => (row.seq === 1 ? CHANGES.link(row) : row));
      const forged = sealOf(undefined, forgedRows.slice(0, first === undefined ? 0 : first.seqTo));
      expect(check([forged, ...seals.slice(1)], forgedRows)).toEqual([
        { kind: "seal-broken", seq: seals[1]?.seqFrom },
      ]);
    }),
  );

  it("does not seal over a gap", () => {
    const row = fc.sample(fields, 1)[0];
    if (row === undefined) throw new Error("no sample");
    expect(() => sealOf(undefined, [{ ...row, seq: 2 }])).toThrow("Row 1");
  });
});
