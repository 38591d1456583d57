/** Whose a key is: the first committed claim's, and nobody's before there is one. */
import { expect, it } from "vitest";
import { FINGERPRINT_VERSION } from "../../src/idempotency/fingerprint.ts";
import { balanceOf, expectSoundBooks, openBooks } from "./support/books.ts";
import { bodyOf, callOf, payment, verdict } from "./support/calls.ts";
import { useEngines } from "./support/engines.ts";

const incarnation = useEngines();

it("17: while another request under its key is under way, the owner of a completed key still gets its replay", async () => {
  const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
  const call = payment(tenant, "alice", "bob", 10);
  const first = await incarnation().submit(call);
  const foreign = payment(tenant, "alice", "bob", 11, { key: call.key });

  // An object that knows nothing of the key: the foreign request is the first to arrive there.
  const [refused, replayed] = await incarnation().submitAll([foreign, call]);

  expect(refused && verdict(refused)).toBe("idempotency-key-reused");
  expect(replayed && bodyOf(replayed)).toBe(bodyOf(first));
  expect(await balanceOf(tenant, "bob")).toBe(10);
});

it("17: while another request under its key is under way, the owner of a claim that is late is told of no mismatch", async () => {
  const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
  const one = incarnation();
  const call = payment(tenant, "alice", "bob", 10);
  const foreign = payment(tenant, "alice", "bob", 11, { key: call.key });
  one.db.always("late", "none");
  expect(verdict(await one.time.passing(one.submit(call)))).toBe("outcome-unknown-yet");
  one.db.heal();
  const held = one.db.hold();
  const refused = one.submit(foreign);
  await held.arrived();

  // Nothing of the key is in the journal yet: neither request owns it.
  const retry = one.submit(call);
  await one.quiet();
  await one.db.deliverLate();
  held.release();

  expect(verdict(await retry)).toBe(201);
  expect(verdict(await refused)).toBe("idempotency-key-reused");
  expect(await balanceOf(tenant, "bob")).toBe(10);
});

it("61: an invalid request under way does not own the key: its own correction runs", async () => {
  const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
  const call = payment(tenant, "alice", "bob", 10);
  const invalid = callOf(tenant, "payments.create", { nonsense: 1 }, { key: call.key });

  const replies = await incarnation().submitAll([invalid, call]);

  expect(replies.map(verdict)).toEqual(["request-invalid", 201]);
  await expectSoundBooks(tenant);
});

it("80: a claim keeps the fingerprint version of the Worker that asked, and an older Worker says 503, never 422", async () => {
  const tenant = await openBooks({ accounts: { alice: 100, bob: 0 } });
  const call = payment(tenant, "alice", "bob", 10);
  const newer = {
    ...call,
    fingerprint: "2".repeat(64),
    fingerprintVersion: FINGERPRINT_VERSION + 1,
  };

  expect(verdict(await incarnation().submit(newer))).toBe(201);
  expect(verdict(await incarnation().submit(call))).toBe("temporarily-unavailable");
  expect(await balanceOf(tenant, "bob")).toBe(10);
});
