import { describe, expect, it } from "vitest";
import { parseRecordRow } from "../../../src/journal/record-row.ts";

const row = {
  key: "key-0000000000000001",
  operation: "payments.create",
  fingerprint_version: 1,
  fingerprint: "print",
  members: '{"amountMinor":"hash"}',
  nonce: "n1",
  attempt: 2,
  state: "final",
  refusal: null,
  status: 201,
  headers: '{"content-type":"application/json"}',
  body: "{}",
  link: "/v1/payments/pay_1",
  object: "bucket/1:a/0",
  created_at_ms: 1_800_000_000_123,
  expires_at_s: 1_800_086_400,
  forget_at_s: 1_802_678_400,
};
const erased = { headers: null, body: null, members: null };

describe("a row of the journal", () => {
  it("is read as the record that decisions are made on", () => {
    expect(parseRecordRow(row)).toEqual({
      key: row.key,
      operation: "payments.create",
      nonce: "n1",
      attempt: 2,
      refusal: null,
      status: 201,
      object: "bucket/1:a/0",
      createdAtMs: row.created_at_ms,
      forgetAtS: row.forget_at_s,
      held: null,
      record: {
        state: "final",
        fingerprintVersion: 1,
        fingerprint: "print",
        members: { amountMinor: "hash" },
        expiresAtS: row.expires_at_s,
        link: row.link,
        response: { status: 201, headers: { "content-type": "application/json" }, body: "{}" },
      },
    });
  });

  it.each(["in-flight", "uncertain", "erased", "expired"])(
    "that is %s carries no answer to replay",
    (state) => {
      for (const one of [
        { ...row, state },
        { ...row, ...erased, state },
      ]) {
        const { record } = parseRecordRow(one);
        expect(record).toMatchObject({ state, link: row.link, fingerprint: "print" });
        expect(record).not.toHaveProperty("response");
      }
      // While it is open, an external step's own data stand where the answer will be.
      const isOpen = state === "in-flight" || state === "uncertain";
      expect(parseRecordRow({ ...row, state }).held).toBe(isOpen ? row.body : null);
    },
  );

  it("69: whose member hashes are erased has none, and is still one", () => {
    expect(parseRecordRow({ ...row, ...erased, state: "expired" }).record.members).toEqual({});
  });

  it("keeps an empty body: nothing is not the same as erased", () => {
    expect(parseRecordRow({ ...row, body: "" }).record).toMatchObject({ response: { body: "" } });
  });

  it.each([
    ["without a body", { ...row, body: null }, "journal_outcome_kept"],
    ["without headers", { ...row, headers: null }, "journal_outcome_kept"],
    ["of a state that is none", { ...row, state: "done" }, "state"],
    ["without a key", { ...row, key: undefined }, "key"],
    ["with a fingerprint version of text", { ...row, fingerprint_version: "1" }, "version"],
    ["with headers that are no JSON", { ...row, headers: "{" }, "JSON"],
    ["with headers that are a list", { ...row, headers: "[1]" }, "expected record"],
    ["that is not there", undefined, "expected object"],
  ])("%s is a broken invariant: it throws", (_, broken, reason) => {
    expect(() => parseRecordRow(broken)).toThrow(reason);
  });
});
