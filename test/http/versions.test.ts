/** Faults 49 and 79: what a key means does not change with how the Worker is set up. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { transfersOf } from "../support/books.ts";
import { during, useServers } from "../support/suite.ts";
import { newKey, newTenant, openTenant } from "../support/tenant.ts";

describe("KEY_OBJECTS changes", () => {
  const VERSIONS = ["1", "4", "per-key"] as const;
  const serverFor = useServers({
    "1": { vars: { KEY_OBJECTS: "1" } },
    "4": { vars: { KEY_OBJECTS: "4" }, versionOf: "1" },
    "per-key": { vars: { KEY_OBJECTS: "per-key" }, versionOf: "1" },
  });

  it.each(VERSIONS)(
    "49: what was done under %s is replayed, and mismatches, under the others",
    async (version) => {
      const tenant = await openTenant(serverFor(version));
      const key = newKey();
      const first = await tenant.pay({}, { key });
      for (const other of VERSIONS) {
        const later = await newTenant(serverFor(other), tenant.name);
        expect(await later.pay({ amountMinor: 1 }, { key })).toMatchObject({ status: 422 });
        expect(await later.pay({}, { key })).toMatchObject({
          status: 201,
          replayed: true,
          text: first.text,
        });
      }
      expect(await transfersOf(serverFor(version), tenant, key)).toHaveLength(1);
    },
  );

  it("49: of retries that reach all versions at once, one runs; the rest replay it", async () => {
    const tenant = await openTenant(serverFor("1"));
    const callers = await Promise.all(
      VERSIONS.map(async (version) => newTenant(serverFor(version), tenant.name)),
    );
    for (let round = 0; round < 10; round++) {
      const key = newKey();
      const answers = await Promise.all(
        [...callers, ...callers, ...callers].map(async (caller) =>
          caller.pay({}, { key, headers: { Prefer: "wait=10" } }),
        ),
      );
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(await transfersOf(serverFor("1"), tenant, key)).toHaveLength(1);
    }
  });
});

describe("D1 is restored to an earlier time", () => {
  it("79: the next RESTORE_EPOCH ignores what objects remember since: the same key runs again", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-"));
    const d1 = join(folder, "d1");
    const restorePoint = join(folder, "restore-point");
    const key = newKey();
    try {
      const name = await during({ folder }, async (server) => {
        const tenant = await openTenant(server);
        cpSync(d1, restorePoint, { recursive: true });
        expect((await tenant.pay({}, { key })).status).toBe(201);
        // The object writes its copy once it is idle.
        await sleep(300);
        return tenant.name;
      });
      rmSync(d1, { recursive: true });
      cpSync(restorePoint, d1, { recursive: true });
      await during({ folder, vars: { RESTORE_EPOCH: "1" } }, async (server) => {
        const tenant = await newTenant(server, name);
        expect(await tenant.pay({}, { key })).toMatchObject({ status: 201, replayed: false });
        expect(await transfersOf(server, tenant, key)).toHaveLength(1);
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
